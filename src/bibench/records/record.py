"""Records: one number each, with where it comes from. The one format that tracks and reports read.

A cell writes ``records.jsonl``, one JSON object per line, flat, so that

    polars.read_ndjson("runs/**/records.jsonl", schema=polars.Schema(bibench.records.record.COLUMNS))
    duckdb.sql("from 'runs/**/records.jsonl'")

is a table. The fields are those of `Record`; docs/records.md explains each.
"""

from __future__ import annotations

import json
import reprlib
import typing
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DamagedError, StoreError
from bibench.foundation.files import storing, unreadable, write_text
from bibench.foundation.finding import results
from bibench.foundation.lines import BLANK, read_lines
from bibench.foundation.plain import plain, shown
from bibench.foundation.registry import Registry, check_name
from bibench.foundation.typed_json import LARGEST_INT, fits, refuse_constant
from bibench.records.sealed import DONE, FIX, compare, compare_beside, write_beside

SCHEMA = 5
READABLE = (1, 2, 3, 4, 5)
"""Versions that can be read. Each only added fields (5: `trained_as`); what lacks them has defaults."""

DIVISIONS = ("closed", "open")

RECORDS = "records.jsonl"
"""Name of the files of records in a run folder."""

PUBLISHED = "published"
"""Name and `source` of the paper's own results, which are read like a run folder."""


@dataclass(frozen=True)
class RecordSet:
    """Records that are shipped: what they are, in words that follow "not", and how they are read."""

    title: str
    read: Callable[[], list[Record]]


SETS: Registry[RecordSet] = Registry("set", "bibench.published")
"""By the name that users read them by; a file of `bibench.published` enters its own."""


def record_set(name: str, title: str) -> Callable[[Callable[[], list[Record]]], Callable[[], list[Record]]]:
    """Decorator: enter a function that gives records into the catalogue of sets."""
    check_name("record_set", name)

    def enter(read: Callable[[], list[Record]]) -> Callable[[], list[Record]]:
        SETS.register(name, RecordSet(title, read), where=read)
        return read

    return enter


OVERALL_METRIC = "overall"
"""Metric of a record of kind ``task`` that is the mean of the scores of its group of tasks."""

_IDENTITY = (
    *("source", "kind", "metric", "split", "task", "model", "operator", "recipe", "study", "seed"),
    *("corruption", "severity", "batch_size", "memory_format", "device", "engine"),
)
_MACHINE = ("threads", "cpu", "accelerator")
TIMED = ("cost", "latency")
"""Kinds that depend on the machine, so that its fields say what was measured and not only where."""

_of_timed, _of_others = attrgetter(*_IDENTITY, *_MACHINE), attrgetter(*_IDENTITY)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured number (or the reason why there is none). See docs/records.md.

    Numbers of NumPy and PyTorch (scalars, or arrays and tensors of one element) become Python's.

    Raises:
        StoreError: a field that is of another type than its own, or not finite; it is named.
    """

    schema: int = SCHEMA
    kind: str
    metric: str
    value: float | None
    split: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    samples: int | None = None
    status: str = "ok"
    reason: str = ""
    flags: str = ""
    cell: str
    task: str
    group: str = ""
    embedded: bool
    stands_in_for: str = ""
    chance: float = 0.0
    model: str
    family: str
    operator: str
    profile: str = "default"
    recipe: str
    division: str = "closed"
    study: str = ""
    corruption: str = ""
    severity: int | None = None
    batch_size: int | None = None
    memory_format: str = ""
    device: str = ""
    engine: str = ""
    seed: int
    code: str = ""
    data: str = ""
    initial_weights: str = ""
    data_order: str = ""
    trained_as: str = ""
    started: str = ""
    seconds: float | None = None
    precision: str = ""
    bibench: str = ""
    python: str = ""
    torch: str = ""
    torchvision: str = ""
    numpy: str = ""
    lightning_fabric: str = ""
    torchmetrics: str = ""
    git_commit: str = ""
    git_dirty: bool | None = None
    platform: str = ""
    cpu: str = ""
    cpu_count: int | None = None
    accelerator: str = ""
    kernels: str = ""
    threads: int | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) not in _EXACT[name] or (type(value) in _NUMBERS and not -LARGEST_INT < value < LARGEST_INT):
                object.__setattr__(self, name, self._accepted(name, plain(value)))
        if self.schema not in READABLE:
            known = ", ".join(map(str, READABLE))
            raise StoreError(f"record of {self.cell}: schema {self.schema}, expected one of {known}")
        if self.division not in DIVISIONS:
            raise StoreError(f"record of {self.cell}: unknown division {self.division!r}")
        if self.status not in ("ok", "failed", "unsupported"):
            raise StoreError(f"record of {self.cell}: unknown status {self.status!r}")
        if (self.value is None) == (self.status == "ok"):
            raise StoreError(f"record of {self.cell}: status {self.status!r} with value {self.value!r}")

    @property
    def counts_as(self) -> str:
        """The task it counts as in scores over tasks: its group, or itself."""
        return self.group or self.task

    @property
    def identity(self) -> tuple[Any, ...]:
        """What was measured: two records of one identity are the same cell measured twice."""
        found: tuple[Any, ...] = (_of_timed if self.kind in TIMED else _of_others)(self)
        return found

    def _accepted(self, name: str, value: Any) -> Any:
        """`value` if the field `name` takes it; a `StoreError` naming record and field else."""
        if fits(value, _TYPES[name]):
            return value
        where = f"record {self.metric!r} of {self.cell}"
        if isinstance(value, int) and int in _EXACT[name] and not isinstance(value, bool):
            raise StoreError(f"{where}: {name} is {shown(value)}, expected a whole number below 2^64 in magnitude")
        if isinstance(value, float) and float in _EXACT[name]:
            raise StoreError(f"{where}: {name} is {value}, expected a finite number")
        raise StoreError(f"{where}: field {name!r} is {shown(value)}, expected {COLUMNS[name].__name__}")

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self)}, allow_nan=False)


_TYPES = typing.get_type_hints(Record)
_REQUIRED = [f.name for f in fields(Record) if f.default is MISSING]

_EXACT = {name: frozenset(typing.get_args(kind) or (kind,)) for name, kind in _TYPES.items()}
"""The types that a value of a field usually has, looked up first: reading is most of the time of scoring."""
_NUMBERS = (int, float)

COLUMNS: dict[str, type] = {name: next(iter(typing.get_args(kind)), kind) for name, kind in _TYPES.items()}
"""Type of each field, for readers that would guess it from the first line, where it may be null."""


def parse(line: str, where: str) -> Record:
    """Read one line; `StoreError` naming `where` when it is no valid record of this schema.

    Args:
        line: one object of JSON.

    Raises:
        StoreError: no valid record of a schema that can be read.
    """
    try:
        data = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        raise StoreError(
            f"{where}: not JSON ({error}); the file is damaged, delete the cell's folder and run it again"
        ) from error
    if not isinstance(data, dict):
        raise StoreError(f"{where}: expected an object, got {type(data).__name__}")
    if data.get("schema") not in READABLE:
        raise StoreError(
            f"{where}: schema {reprlib.repr(data.get('schema'))}; this version of BiBench reads "
            f"schema {', '.join(map(str, READABLE[:-1]))} and {READABLE[-1]}"
        )
    for name, value in data.items():
        if name not in _TYPES:
            raise StoreError(f"{where}: unknown field {name!r}")
        usual = type(value) in _EXACT[name] and (type(value) not in _NUMBERS or -LARGEST_INT < value < LARGEST_INT)
        if not usual and not fits(value, _TYPES[name]):
            raise StoreError(f"{where}: field {name!r} is {reprlib.repr(value)}, expected {COLUMNS[name].__name__}")
    if missing := [name for name in _REQUIRED if name not in data]:
        raise StoreError(f"{where}: field {missing[0]!r} is missing")
    try:
        return Record(**data)
    except StoreError as error:
        raise StoreError(f"{where}: {error}") from error


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; of a name that is there twice nobody knows which value is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"field {reprlib.repr(twice)} is there twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=refuse_constant, object_pairs_hook=_fields)


def read_file(path: Path) -> list[Record]:
    """All records of one file.

    Args:
        path: a file of records, one to a line.

    Raises:
        StoreError: a file that cannot be read, or a line that is no record.
    """
    try:
        lines = list(read_lines(path))
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(unreadable(path, error) or f"{path} cannot be read: {error}") from error
    return [parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip(BLANK)]


def read_compared(path: Path) -> list[Record]:
    """As `read_file`, of a file that is what was written: as the done.json or the checksum beside it says, if any.

    Raises:
        DamagedError: it is not, or its score is not the one in done.json.
    """
    said = compare(path.parent, path.name) if path.name == RECORDS else {}
    compare_beside(path)
    records = read_file(path)
    scores = [r.value for r in records if r.kind == "score"]
    if "score" in said and said["score"] not in scores:
        raise DamagedError(f"{path} is damaged: {DONE} has the score {said['score']}, not {scores}; {FIX}")
    return records


def digest_of_numbers(records: Iterable[Record]) -> str:
    """SHA-256 of what was measured and what came out, whatever the machine."""
    rows = [[r.kind, r.metric, r.split, r.unit, r.value, r.status] for r in records]
    return sha256(json.dumps(rows).encode())


def write_file(path: Path, records: Iterable[Record], *, checksum: bool = False) -> None:
    """Write a file of records in the place of one that may be there, atomically; its folder is made.

    Args:
        checksum: leave one beside it, for `read_compared`.
        path: of the file.
        records: in the order in which they are written.
    """
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(record.to_line() + "\n" for record in records)
    (write_beside if checksum else write_text)(path, text)


def read(runs: Iterable[Path]) -> list[Record]:
    """All records below the given run folders (or in the given files); ``published`` is the paper's own results.

    Links are followed, and each real file is read once (`bibench.foundation.finding.results`). Warns of files and
    folders that cannot be read, of a damaged file below a folder, which is left out (one that is given itself is a
    `DamagedError`), and when a folder or file named ``published`` is read instead of the paper's results.

    Args:
        runs: run folders, files of records, or ``published``.

    Raises:
        StoreError: a path that does not exist.
        DamagedError: a file that is given itself and is not what was written.
    """
    found: list[Record] = []
    for path in runs:
        if path.is_file():
            found += read_compared(path)
        elif path.is_dir():
            for file in results(path, RECORDS):
                found += _unless_damaged(file)
        elif str(path) in SETS:
            found += SETS[str(path)].read()
        else:
            raise StoreError(
                f"{path} does not exist; expected a run folder, a records file or {PUBLISHED} (the paper's results)"
            )
        if len(path.parts) == 1 and str(path) in SETS and path.exists():
            warnings.warn(
                f"{path}: took {path.resolve()}, not {SETS[str(path)].title}; rename it to reach them",
                stacklevel=2,
            )
    return found


def _unless_damaged(file: Path) -> list[Record]:
    try:
        return read_compared(file)
    except (DamagedError, StoreError) as error:
        if isinstance(error, StoreError) and not isinstance(error.__cause__, OSError):
            raise
        warnings.warn(f"left out: {error}", stacklevel=3)  # which says what to do
    return []


def is_collapsed(record: Record) -> bool:
    """Whether a cell gives one answer to (almost) everything, or scores no better than the best constant answer.

    Args:
        record: a score.
    """
    return record.value is not None and ("collapsed" in record.flags.split(",") or record.value <= record.chance)


def distinct(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """Each identity once, the latest started (of equal times the last read), and the other records that it displaces.

    The same record read twice (a folder given twice, or inside another) is no second measurement.

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
    """
    latest: dict[tuple[Any, ...], Record] = {}
    displaced = []
    for record in records:
        identity = record.identity
        known = latest.setdefault(identity, record)
        if known is not record and known != record:
            newer = known.started <= record.started
            latest[identity] = record if newer else known
            displaced.append(known if newer else record)
    return list(latest.values()), displaced
