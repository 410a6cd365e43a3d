"""How results are printed: tables that read well without colour and in a pipe, and JSON."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from typer.core import TyperGroup

from bibench.cli.doing import done
from bibench.cli.exit_codes import FAILED
from bibench.cli.layout import Shown
from bibench.foundation.errors import BiBenchError
from bibench.foundation.visible import visible, visible_streams
from bibench.report.tables import DATA, DOCUMENTS, Table, paragraph, render_tables, to_csv

if TYPE_CHECKING:
    from bibench.records.record import Record

UNBROKEN = 10_000
TOLD: set[str] = set()
"""Notes of the command that runs; `bibench.cli.app.main` empties it."""
_FORMAT = ContextVar("format", default="table")
"""Of the tables of the verb that runs."""


class _Console(Console):
    """Shows text as `visible` does, whichever way it comes in; the console's own styles and movements act."""

    def print(self, *objects: Any, **how: Any) -> None:
        done()
        super().print(*(visible(one) if isinstance(one, str) else one for one in objects), **how)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for one in super().render(renderable, options):
            yield one if one.control else Segment(visible(one.text), one.style)


class _Documents(_Console):
    """Writes tables as Markdown, LaTeX or CSV; text between them is a paragraph, or no part of the data."""

    def print(self, *objects: Any, **how: Any) -> None:
        done()
        format = _FORMAT.get()
        for one in objects:
            if isinstance(one, Shown):
                rows = [dict(zip(one.table.columns, row, strict=True)) for row in one.table.rows]
                self.file.write(to_csv(rows) if format == "csv" else render_tables([one.table], format))
            elif isinstance(one, str) and format == "csv":
                sys.stderr.write(f"{one}\n")
            elif isinstance(one, str):
                self.file.write(paragraph(one, format))


@contextmanager
def printing(format: str) -> Iterator[None]:
    """What is printed inside on standard output is in this ``--format``."""
    before = _FORMAT.set(format)
    try:
        yield
    finally:
        _FORMAT.reset(before)


def console(stderr: bool = False) -> Console:
    """A console; in a pipe no line is broken, so that each can be searched for. Nothing is read as markup."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else UNBROKEN
    file = getattr(stream, "rich_proxied_file", stream)
    kind = _Documents if not stderr and _FORMAT.get() in ("csv", *DOCUMENTS) else _Console
    return kind(file=file, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


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
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def print_csv(rows: Sequence[dict[str, Any]]) -> None:
    """CSV on standard output, with the names of the first row's fields."""
    sys.stdout.write(to_csv(rows))


def print_records(records: Sequence[Record], format: str, show: Callable[[], None]) -> None:
    """Records in the format of ``--format``: whole as JSON or CSV, or what `show` prints of them for people."""
    if format in DATA:
        (print_json if format == "json" else print_csv)([vars(record) for record in records])
    else:
        show()


def require_measured(records: Sequence[Record]) -> None:
    """End with the exit code of failures if one of the measurements failed."""
    if any(record.status == "failed" for record in records):
        raise typer.Exit(FAILED)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], numeric: Iterable[str] = ()) -> Shown:
    """A plain table under its title; columns named in `numeric` are aligned right. Nothing is read as markup."""
    return Shown(Table(title, columns, [list(row) for row in rows]), tuple(numeric))


class VisibleGroup(TyperGroup):
    """All verbs, whose output is made visible also where they are not started by `bibench.cli.app.main`."""

    def main(self, *args: Any, **more: Any) -> Any:
        with visible_streams():
            return super().main(*args, **more)

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _told_alike(), _readers_may_leave():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        with _told_alike(), _readers_may_leave():
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
    except (BrokenPipeError, SystemExit) as error:
        if not any(isinstance(one, BrokenPipeError) for one in (error, error.__context__)):  # Rich exits with 1
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)  # what is left in buffers is written at the very end
        os.close(nowhere)
        raise typer.Exit from None


@contextmanager
def _told_alike() -> Iterator[None]:
    """Errors of usage, which Click and Typer draw in frames, as all other mistakes: one line, the same exit code."""
    try:
        yield
    except Exception as error:
        if not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError":
            raise
        near = getattr(error, "possibilities", None)
        text = error.message if near else error.format_message()  # type: ignore[attr-defined]
        text = " ".join(text.split()).rstrip(".").replace(". Did", "; did") + (
            f"; did you mean {' or '.join(near)}?" if near else ""
        )
        of = getattr(getattr(error, "ctx", None), "command_path", "bibench")
        raise BiBenchError(
            f"{text[:1].lower()}{text[1:]}{'' if text.endswith('?') else ';'} see: {of} --help"
        ) from None


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
