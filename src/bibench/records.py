"""Records: one number each, with where it comes from. The one format that tracks and reports read.

A cell writes ``records.jsonl``, one JSON object per line, flat, so that

    polars.read_ndjson("runs/**/records.jsonl")    or    duckdb: from 'runs/**/records.jsonl'

is a table. The fields are those of `Record`; docs/records.md explains each.
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bibench.errors import StoreError

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured number (or the reason why there is none). See docs/records.md."""

    schema: int = SCHEMA
    kind: str
    metric: str
    value: float | None
    split: str = ""
    unit: str = ""
    status: str = "ok"
    reason: str = ""
    flags: str = ""
    cell: str
    task: str
    embedded: bool
    stands_in_for: str = ""
    chance: float = 0.0
    model: str
    family: str
    operator: str
    profile: str = "default"
    recipe: str
    division: str = "closed"
    seed: int
    code: str = ""
    data: str = ""
    initial_weights: str = ""
    data_order: str = ""
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
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise StoreError(f"record {self.metric!r} of {self.cell}: value is {self.value}, expected a finite number")
        if self.status not in ("ok", "failed", "unsupported"):
            raise StoreError(f"record of {self.cell}: unknown status {self.status!r}")
        if (self.value is None) == (self.status == "ok"):
            raise StoreError(f"record of {self.cell}: status {self.status!r} with value {self.value!r}")

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps({f.name: getattr(self, f.name) for f in fields(self)}, allow_nan=False)


_TYPES = typing.get_type_hints(Record)
_REQUIRED = {f.name for f in fields(Record) if f.name in ("kind", "metric", "value", "cell", "task", "model")}


def parse(line: str, where: str) -> Record:
    """Read one line; `StoreError` naming `where` when it is no valid record of this schema."""
    try:
        data = json.loads(line)
    except ValueError as error:
        raise StoreError(f"{where}: not JSON ({error}); the file is damaged, rerun the cell or delete it") from error
    if not isinstance(data, dict):
        raise StoreError(f"{where}: expected an object, got {type(data).__name__}")
    if data.get("schema") != SCHEMA:
        raise StoreError(f"{where}: schema {data.get('schema')!r}; this version of BiBench reads schema {SCHEMA}")
    for name, value in data.items():
        if name not in _TYPES:
            raise StoreError(f"{where}: unknown field {name!r}")
        if not _fits(value, _TYPES[name]):
            raise StoreError(f"{where}: field {name!r} is {value!r}, expected {_TYPES[name]}")
    if missing := _REQUIRED - data.keys():
        raise StoreError(f"{where}: field {sorted(missing)[0]!r} is missing")
    try:
        return Record(**data)
    except TypeError as error:
        raise StoreError(f"{where}: {error}") from error


def _fits(value: Any, annotation: Any) -> bool:
    if isinstance(annotation, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(annotation))
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation)


def read_file(path: Path) -> list[Record]:
    """All records of one file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    return [parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def read(runs: Iterable[Path]) -> list[Record]:
    """All records below the given run folders (or in the given files)."""
    found: list[Record] = []
    for path in runs:
        if path.is_file():
            found += read_file(path)
        elif path.is_dir():
            for file in sorted(path.rglob("records.jsonl")):
                if "superseded" not in file.parts:
                    found += read_file(file)
        else:
            raise StoreError(f"{path} does not exist; expected a run folder or a records file")
    return found
