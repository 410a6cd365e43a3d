"""How results are printed: tables that read well without colour and in a pipe, and JSON."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich import box
from rich.console import Console, ConsoleOptions, Group
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from bibench.cli.doing import done
from bibench.cli.exit_codes import FAILED
from bibench.foundation.visible import visible, visible_streams
from bibench.records.flags import IN_FORCE
from bibench.report.tables import to_csv

if TYPE_CHECKING:
    from bibench.records.record import Record

UNBROKEN = 10_000
TOLD: set[str] = set()
"""Notes of the command that runs; `bibench.cli.app.main` empties it."""


class _Console(Console):
    """Shows text as `visible` does, whichever way it comes in; the console's own styles and movements act."""

    def print(self, *objects: Any, **how: Any) -> None:
        done()
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **how)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for one in super().render(renderable, options):
            yield one if one.control else Segment(visible(one.text), one.style)


def console(stderr: bool = False) -> Console:
    """A console; in a pipe no line is broken, so that each can be searched for. Nothing is read as markup."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNBROKEN
    file = getattr(stream, "rich_proxied_file", stream)
    return _Console(file=file, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def tell_of_absent_core(out: Console) -> None:
    """One line before work that is slower without the compiled core, where that is not there."""
    from bibench.kernels.absence import sentence

    if said := sentence():
        out.print(f"note: {said}")


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
    sys.stdout.write(json.dumps(IN_FORCE.get().data(data), indent=2, allow_nan=False) + "\n")


def print_csv(rows: Sequence[dict[str, Any]]) -> None:
    """CSV on standard output, with the names of the first row's fields."""
    sys.stdout.write(to_csv(IN_FORCE.get().data(rows)))


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
    rows, marks = list(rows), IN_FORCE.get()
    footnotes = marks.footnotes([*columns, *(cell for row in rows for cell in row)])
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        made.add_column(_text(marks.name(column)), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_text, marks.row(row)))
    heading = [_text(title, "bold")] if title else []
    return Group(*heading, made, *map(_text, footnotes), Text())


def _text(value: Any, style: str = "") -> Text:
    """Made visible before it is measured, or columns would be too narrow."""
    return Text("" if value is None else visible(str(value)), style=style)


class VisibleGroup(TyperGroup):
    """All verbs, whose output is made visible also where they are not started by `bibench.cli.app.main`."""

    def main(self, *args: Any, **more: Any) -> Any:
        with visible_streams():
            return super().main(*args, **more)

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _visible_usage(), _readers_may_leave():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        with _visible_usage(), _readers_may_leave():
            try:
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
            finally:
                done()


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    """Whoever reads our output may have had enough, as `head` has: that ends the verb and is no error."""
    try:
        yield
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # what is left in buffers is written at the very end
        os.close(nowhere)
        raise typer.Exit from None


@contextmanager
def _visible_usage() -> Iterator[None]:
    """Errors of usage quote what was typed, or what a pattern of the shell found, and Typer prints them by itself."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message") and isinstance(getattr(error, "message", None), str):
            error.message = visible(error.message)  # type: ignore[attr-defined]
        raise


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
