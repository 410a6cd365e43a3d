"""How results are printed: tables that read well without colour and in a pipe, and JSON."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from bibench.cli.app import FAILED
from bibench.records import Record
from bibench.report.tables import to_csv

UNBROKEN = 10_000
TOLD: set[str] = set()
"""Notes of the command that runs; `bibench.cli.app.main` empties it."""


def console(stderr: bool = False) -> Console:
    """A console; in a pipe no line is broken, so that each can be searched for."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNBROKEN
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


@contextmanager
def notes() -> Iterator[None]:
    """What is warned of inside becomes notes on standard error, each once in the run of a command."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            yield
    finally:
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            if text not in TOLD:
                TOLD.add(text)
                sys.stderr.write(f"note: {text}\n")


def print_json(data: Any) -> None:
    """JSON on standard output."""
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def print_csv(rows: Sequence[dict[str, Any]]) -> None:
    """CSV on standard output, with the names of the first row's fields."""
    sys.stdout.write(to_csv(rows))


def print_records(records: Sequence[Record], format: str, show: Callable[[], None]) -> None:
    """Records in the format of ``--format``: whole as JSON or CSV, or what `show` prints of them for people."""
    if format == "table":
        show()
    else:
        (print_json if format == "json" else print_csv)([vars(record) for record in records])


def require_measured(records: Sequence[Record]) -> None:
    """End with the exit code of failures if one of the measurements failed."""
    if any(record.status == "failed" for record in records):
        raise typer.Exit(FAILED)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Iterable[str] = ()) -> Group:
    """A plain table under its title; columns named in `numeric` are aligned right. Nothing is read as markup."""
    right = set(numeric)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text("" if value is None else str(value)) for value in row))
    heading = [Text(title, style="bold")] if title else []
    return Group(*heading, made, Text())


def number(value: float | None, digits: int = 1, missing: str = "-") -> str:
    """A rounded number, or `missing`."""
    return missing if value is None else f"{value:.{digits}f}"


def duration(hours: float | None) -> str:
    """Hours, minutes or seconds, whatever reads best."""
    if hours is None:
        return "?"
    seconds = hours * 3600
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{hours:.1f} h"
