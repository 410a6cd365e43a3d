"""Latencies that were measured by hand, from a CSV file: all of it becomes records, or nothing.

Columns: `REQUIRED`, and any of `OPTIONAL`. `docs/latency.md` describes them.
"""

from __future__ import annotations

import csv
import datetime
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bibench.choice import Choice, choice
from bibench.deploy.devices import DEVICES
from bibench.deploy.engine_names import engine_names
from bibench.deploy.latency import KIND, LATENCY
from bibench.errors import BiBenchError, DataError
from bibench.files import unreadable
from bibench.lines import BLANK, read_lines
from bibench.models import MODELS
from bibench.operators import OPERATORS
from bibench.provenance import versions
from bibench.records import Record
from bibench.registry import Registry
from bibench.tasks import TASKS

REQUIRED = ("device", "threads", "model", "engine", "operator", "latency")
OPTIONAL = ("unit", "low", "high", "samples", "task", "batch_size", "recipe", "seed", "cpu", "note")
UNITS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
ALIASES = {"architecture": "model", "library": "engine", "latency_ms": "latency"}
"""Names of columns that are read too, as in the paper's own table; `latency_ms` has its unit."""
IMPORTED = "imported"
"""Flag of what was measured by hand."""


def read_measurements(file: Path) -> list[Record]:
    """Read and check the whole file; `DataError` names the line and the column of the first fault."""
    try:
        text = "\n".join(read_lines(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            unreadable(file, error) or f"{file} cannot be read ({error}); expected a CSV file in UTF-8"
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    records: list[Record] = []
    seen: dict[Record, int] = {}
    try:
        columns = _columns(next(reader, []), file)
        for cells in reader:
            if not cells:
                continue
            where = f"{file}, line {reader.line_num}"
            if len(cells) != len(columns):
                raise DataError(f"{where}: {len(cells)} columns, the header has {len(columns)}")
            record = _record(dict(zip(columns, (c.strip(BLANK) for c in cells), strict=True)), where, started)
            same = replace(record, value=0.0, low=None, high=None, samples=None, reason="", cpu="")
            if same in seen:
                raise DataError(f"{where}: column 'latency': the same was measured in line {seen[same]}; keep one")
            seen[same] = reader.line_num
            records.append(record)
    except csv.Error as error:
        raise DataError(f"{file}, line {reader.line_num}: no CSV ({error})") from error
    if not records:
        raise DataError(f"{file}: no measurements below the header; expected at least one line")
    return records


def _columns(header: list[str], file: Path) -> list[str]:
    given = [name.strip(BLANK) for name in header]
    columns = [ALIASES.get(name, name) for name in given]
    where = f"{file}, line 1"
    separated = " (columns are separated by commas)" if len(columns) == 1 and set(";\t") & set(columns[0]) else ""
    for name in columns:
        if name not in (*REQUIRED, *OPTIONAL):
            raise DataError(
                f"{where}: unknown column {name[:80]!r}{separated}; expected {', '.join(REQUIRED)} "
                f"and perhaps {', '.join(OPTIONAL)}"
            )
        if columns.count(name) > 1:
            raise DataError(f"{where}: column {name!r} is there twice")
    if missing := [name for name in REQUIRED if name not in columns]:
        raise DataError(f"{where}: column {missing[0]!r} is missing")
    if "latency_ms" in given and "unit" in columns:
        raise DataError(f"{where}: column 'unit' beside 'latency_ms'; name the latter 'latency'")
    if "latency_ms" not in given and "unit" not in columns:
        raise DataError(f"{where}: column 'unit' is missing; add it ({', '.join(UNITS)}), or name 'latency' latency_ms")
    return columns


def _record(row: Mapping[str, str], where: str, started: str) -> Record:
    def cell(name: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
        text = row.get(name, "") or ("" if default is None else default)
        if text == "" and default is None:
            raise DataError(f"{where}: column {name!r} is empty")
        try:
            return parse(text) if text else None
        except (BiBenchError, ValueError) as error:
            raise DataError(f"{where}: column {name!r}: {error}") from error

    factor = cell("unit", _unit, "ms")
    value = cell("latency", _positive)
    low, high = cell("low", _positive, ""), cell("high", _positive, "")
    for name, bound, wrong in (("low", low, low is not None and low > value), ("high", high, high and high < value)):
        if wrong:
            raise DataError(f"{where}: column {name!r}: {bound:g} is on the wrong side of the latency, {value:g}")
    model = cell("model", _model)
    return Record(
        kind=KIND,
        metric=LATENCY,
        unit="ms",
        value=factor * value,
        low=None if low is None else factor * low,
        high=None if high is None else factor * high,
        samples=cell("samples", _count, ""),
        flags=IMPORTED,
        reason=row.get("note", ""),
        cell="",
        task=cell("task", _task, "") or "",
        embedded=bool(row.get("task")) and TASKS[row["task"]].embedded,
        model=str(model),
        family=MODELS[model.name].family,
        operator=str(cell("operator", _operator)),
        recipe=row.get("recipe", ""),
        seed=cell("seed", _seed, "0"),
        device=cell("device", _device),
        engine=cell("engine", _engine),
        threads=cell("threads", _count),
        batch_size=cell("batch_size", _count, "1"),
        cpu=row.get("cpu", ""),
        started=started,
        bibench=versions()["bibench"],
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no number; expected as in 12.3, with a point") from None
    if not (math.isfinite(value) and value > 0) or "_" in text or not text.isascii():
        raise ValueError(f"{text[:40]!r}, expected a number above 0")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text[:9]) > 0 and len(text) < 10):
        raise ValueError(f"{text[:40]!r}, expected a whole number above 0")
    return int(text)


def _seed(text: str) -> int:
    return 0 if text == "0" else _count(text)


def _unit(text: str) -> float:
    if text not in UNITS:
        raise ValueError(f"unknown unit {text[:40]!r}; expected {', '.join(UNITS)}")
    return UNITS[text]


def _engine(text: str) -> str:
    if text not in engine_names():
        raise ValueError(f"unknown engine {text[:40]!r}; expected {', '.join(engine_names())}")
    return text


def _device(text: str) -> str:
    return DEVICES[text].name


def _model(text: str) -> Choice:
    return _known(choice(text), MODELS)


def _operator(text: str) -> Choice:
    return _known(choice(text), OPERATORS)


def _known(asked: Choice, catalogue: Registry[Any]) -> Choice:
    catalogue[asked.name]  # its error has the near misses
    return asked


def _task(text: str) -> str:
    return TASKS[text].name
