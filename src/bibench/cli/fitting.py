"""Tables on terminals of any width: whole, without what all rows share, or a row as a paragraph; no number is broken.

Pure but for what prints.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.measure import Measurement

from bibench.cli.output import UNBROKEN, table
from bibench.foundation.visible import visible
from bibench.records.flags import IN_FORCE

EMPTY = ("", "-")
NO_BREAK = "\u00a0"
LEADING = 2
"""So many columns say in every form what a row is of."""


@dataclass(frozen=True)
class Fitting:
    """A table in several forms.

    Attributes:
        columns: their names; the first `keys` of them say what a row is of, which no other row is.
        rows: as many cells as there are columns.
        notes: what else is to be said of each row, in as many sentences.
        note: name of the column of these where there is room for one.
        numeric: columns that are aligned right.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[Sequence[str]]
    keys: int
    note: str = "note"
    numeric: Sequence[str] = ()

    def print(self, out: Console) -> None:
        """The widest form that is no wider than the console; names that are in doubt are marked, with footnotes."""
        footnotes = IN_FORCE.get().footnotes(cell for row in self.rows for cell in row)
        replace(self, rows=[IN_FORCE.get().row(row) for row in self.rows])._print(
            out, [*footnotes, ""] if footnotes else []
        )

    def _print(self, out: Console, footnotes: Sequence[str]) -> None:
        out.print("\n".join(wrapped(self.title, out.width)), style="bold", soft_wrap=True)
        said = ["; ".join(note) for note in self.notes]
        whole = [[*row, note] for row, note in zip(self.rows, said, strict=True)]
        for columns, rows, lines in (([*self.columns, self.note], whole, []), self.narrower()):
            shown = table("", columns, rows, self.numeric)
            if Measurement.get(out, out.options.update(max_width=UNBROKEN), shown).maximum <= out.width:
                out.print(shown, end="")
                print_wrapped(out, [*([*lines, ""] if lines else []), *footnotes])
                return
        print_wrapped(out, [line for number in range(len(self.rows)) for line in self.paragraph(number)])
        print_wrapped(out, ["", *footnotes])

    def narrower(self) -> tuple[list[str], list[list[str]], list[str]]:
        """The columns in which rows differ; then in lines what all share, and the notes with those they are of."""
        cells = [[_shown(value) for value in row] for row in self.rows]
        shared_by_all = [n for n in range(LEADING, len(self.columns)) if len({row[n] for row in cells}) == 1]
        same = [n for n in shared_by_all if len(cells) > 1 or cells[0][n] in EMPTY]
        left = [n for n in range(len(self.columns)) if n not in same]
        shared = self._pairs(cells[0], same) if cells else []
        lines, some = [f"all: {', '.join(shared)}"] if shared else [], []
        for note in dict.fromkeys(note for notes in self.notes for note in notes):
            of = [row for row, notes in zip(cells, self.notes, strict=True) if note in notes]
            if len(of) == len(cells):
                lines.append(f"all: {note}" if len(cells) > 1 else note)
            else:
                some.append(f"{'; '.join(self._called(row, left) for row in of)}: {note}")
        return [self.columns[n] for n in left], [[row[n] for n in left] for row in cells], lines + some

    def paragraph(self, number: int) -> list[str]:
        """A row as lines: what it is of, every cell after the name of its column, unbroken, and its notes."""
        cells = [_shown(value) for value in self.rows[number]]
        pairs = ", ".join(pair.replace(" ", NO_BREAK) for pair in self._pairs(cells, range(LEADING, len(cells))))
        return [" ".join(cells[:LEADING]), *(f"  {text}" for text in (pairs, *self.notes[number]) if text)]

    def _pairs(self, cells: Sequence[str], which: Iterable[int]) -> list[str]:
        return [f"{self.columns[n]} {cells[n]}" for n in which if cells[n] not in EMPTY]

    def _called(self, cells: Sequence[str], left: Sequence[int]) -> str:
        more = self._pairs(cells, [n for n in left if LEADING <= n < self.keys])
        return ", ".join([" ".join(cells[:LEADING]), *more])


def print_wrapped(out: Console, lines: Iterable[str]) -> None:
    """Lines, each broken between words, with what follows a break further in than its beginning."""
    for line in lines:
        out.print("\n".join(wrapped(line, out.width)), soft_wrap=True)


def wrapped(line: str, width: int) -> list[str]:
    """A line in lines of a width, which begin as far in as it does, and one step further after the first."""
    text = visible(line)
    margin = " " * (len(text) - len(text.lstrip()))
    broken = textwrap.wrap(
        text.strip(),
        max(width, len(margin) + 20),
        initial_indent=margin,
        subsequent_indent=margin + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [text.replace(NO_BREAK, " ") for text in broken] or [""]


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
