"""Tables for whatever width there is, in which no number and no word is broken.

What does not fit side by side stands in tables below each other; where these would be many, each row is a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as Drawn
from rich.text import Text

from bibench.foundation.visible import visible
from bibench.report.tables import Table

GAP = 3
"""Characters between two columns."""
READABLE = 24
"""Text is not made narrower than this, if it is wider."""
MOST = 3
"""So many parts below each other are still read as one table."""
NOTHING = ("", "-")


class Shown:
    """A table for people under its title; columns named in `right` are aligned right. Nothing is read as markup.

    Every cell is made visible before it is measured, or columns would be too narrow.
    """

    def __init__(self, table: Table, right: Sequence[str] = ()) -> None:
        self.table = table
        self._right = set(right)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.table.title:
            yield _text(self.table.title, "bold")
        columns = [
            _Column(_text(name), [_text(row[n]) for row in self.table.rows], name in self._right)
            for n, name in enumerate(self.table.columns)
        ]
        if _least(columns) > options.max_width:
            columns = [columns[0], *(one for one in columns[1:] if one.says)]
        yield from _laid_out(columns, options.max_width)
        yield Text()


class _Column:
    """A column and the widths that it may have, in characters."""

    def __init__(self, name: Text, cells: Sequence[Text], right: bool) -> None:
        self.name, self.cells, self.right = name, cells, right
        self.says = any(cell.plain not in NOTHING for cell in cells)
        self.full = max(_widest(text.plain.split("\n")) for text in (name, *cells))
        longest = max(_widest(text.plain.split()) for text in (name, *cells))
        self.least = self.full if right else min(self.full, max(READABLE, longest))


def _laid_out(columns: Sequence[_Column], width: int) -> Iterator[RenderableType]:
    parts = _parts(columns, width)
    if len(parts) <= MOST and all(_least(part) <= width for part in parts):
        for n, part in enumerate(parts):
            yield from [Text()] * (n > 0)
            yield _drawn(part, width)
    else:
        yield from _listed(columns)


def _parts(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """What stands side by side; the first column does in every part."""
    parts = [[columns[0]]] if columns else []
    for column in columns[1:]:
        if len(parts[-1]) > 1 and _least([*parts[-1], column]) > width:
            parts.append([columns[0]])
        parts[-1].append(column)
    return parts


def _least(columns: Sequence[_Column]) -> int:
    return sum(column.least for column in columns) + GAP * (len(columns) - 1)


def _drawn(columns: Sequence[_Column], width: int) -> Drawn:
    made = Drawn(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    spare = width - _least(columns)
    for column in columns:
        more = min(spare, column.full - column.least)
        spare -= more
        made.add_column(column.name, justify="right" if column.right else "left", width=column.least + more)
    for row in zip(*(column.cells for column in columns), strict=True):
        made.add_row(*row)
    return made


def _listed(columns: Sequence[_Column]) -> Iterator[RenderableType]:
    """Each row as its first value, and below it the others that there are, with their names."""
    first, *others = columns
    for n, value in enumerate(first.cells):
        yield Text()
        yield value if value.plain else Text("-")
        for column in others:
            if column.cells[n].plain not in NOTHING:
                name = " ".join(column.name.plain.split())
                yield Padding(Text.assemble(f"{name}: " if name else "", column.cells[n]), (0, 0, 0, 2))


def _widest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _text(value: object, style: str = "") -> Text:
    return Text("" if value is None else visible(str(value)), style=style)
