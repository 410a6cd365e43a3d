"""What pages are made of: text, tables whose numbers link to their cells, figures, formulas."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = str | float | int | None


@dataclass(frozen=True)
class Cell:
    """One entry of a table. `value` is sorted and exported, `text` shown; `href` is relative to the site's root."""

    value: Value
    text: str = ""
    href: str = ""
    note: str = ""
    tone: str = ""

    @property
    def shown(self) -> str:
        """What the reader sees."""
        return self.text or ("–" if self.value is None else str(self.value))


@dataclass(frozen=True)
class Column:
    """One column of a table; `note` explains it."""

    name: str
    numeric: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A sortable table, also written as CSV, Markdown and LaTeX under its `id`."""

    id: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    kind: str = "table"
    notes: Sequence[str] = ()

    def names(self) -> list[str]:
        """Names of the columns for the exports, each once."""
        found: list[str] = []
        for column in self.columns:
            found.append(column.name if column.name not in found else f"{column.name} ({len(found) + 1})")
        return found

    def plain(self) -> list[dict[str, Value]]:
        """Rows for the exports: exact values."""
        names = self.names()
        return [dict(zip(names, (cell.value for cell in row), strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Figure:
    """An interactive plot. `takeaway` is what it shows in a sentence, `alt` what it is for those who cannot see it."""

    id: str
    title: str
    takeaway: str
    alt: str
    data: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any] = field(default_factory=dict)
    height: int = 360
    kind: str = "figure"


@dataclass(frozen=True)
class Multiples:
    """Small figures of one kind side by side."""

    figures: Sequence[Figure]
    kind: str = "multiples"


@dataclass(frozen=True)
class Heading:
    """A section."""

    title: str
    id: str
    kind: str = "heading"


@dataclass(frozen=True)
class Text:
    """A paragraph; `tone`: ``note`` or ``warning`` set it apart."""

    text: str
    tone: str = ""
    kind: str = "text"


@dataclass(frozen=True)
class Links:
    """Links to other pages: (label, href, what is there)."""

    items: Sequence[tuple[str, str, str]]
    kind: str = "links"


@dataclass(frozen=True)
class Tiles:
    """Large numbers with what they count."""

    items: Sequence[tuple[str, str]]
    kind: str = "tiles"


@dataclass(frozen=True)
class Formula:
    """A formula: MathML, and the LaTeX it came from (shown when `mathml` is empty)."""

    latex: str
    mathml: str
    kind: str = "formula"


@dataclass(frozen=True)
class Facts:
    """Names and values, a short list."""

    items: Sequence[tuple[str, str]]
    kind: str = "facts"


@dataclass(frozen=True)
class Runs:
    """A group of cells with all their records, folded."""

    title: str
    id: str
    cells: Sequence[Any]
    kind: str = "runs"


Block = Table | Figure | Multiples | Heading | Text | Links | Tiles | Formula | Facts | Runs


def number(value: float | None, digits: int = 1, spread: float | None = None, **more: Any) -> Cell:
    """A rounded number, with ± its spread where there is one."""
    if value is None:
        return Cell(None, **{"tone": "missing", **more})
    text = f"{value:,.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")
    return Cell(value, text.replace("-", "−"), **more)


MAX_SLUG = 80


def slug(text: str) -> str:
    """`text` fit for a file name and an anchor; what is too long, or has no such letters, is told by a digest."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if plain and len(plain) <= MAX_SLUG:
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[:MAX_SLUG]}-{digest}".strip("-")
