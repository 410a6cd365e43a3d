r"""Every table that leaves BiBench as a file: JSON, CSV, Markdown and LaTeX, written and escaped in one place.

    render(rows, "csv")                                  # the rows as they are, one line each
    render_tables([Table("Scores", ("operator", "om"), [["bnn", 70.8]])], "markdown")

Nothing in a cell is markup: names and reasons of records are shown as they are written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bibench.foundation.errors import BiBenchError
from bibench.foundation.visible import csv_text, visible
from bibench.records.flags import IN_FORCE

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A titled table; numbers are aligned right and rounded to `digits` (None: written in full)."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    digits: int | None = None
    notes: Sequence[str] = ()
    """Footnotes."""


def render(rows: Iterable[Row], format: str, title: str = "") -> str:
    """Rows of the same fields as text of one of `FORMATS`; the text ends with a newline."""
    listed = IN_FORCE.get().data(list(rows))
    check_format(format)
    if format in DATA:
        return DATA[format](listed)
    columns = list(listed[0]) if listed else []
    return render_tables([Table(title, columns, [[row.get(c) for c in columns] for row in listed])], format)


def render_tables(tables: Sequence[Table], format: str) -> str:
    """Tables as a text of one of the formats for people, ``markdown`` or ``latex``."""
    if format not in DOCUMENTS:
        raise BiBenchError(f"format must be {' or '.join(DOCUMENTS)} for tables; got {format!r}")
    return "\n".join(DOCUMENTS[format](_marked(table)) for table in tables)


def _marked(table: Table) -> Table:
    """With the signs and footnotes of the operators that are in doubt (`bibench.records.flags`)."""
    marks = IN_FORCE.get()
    notes = marks.footnotes([*table.columns, *(cell for row in table.rows for cell in row)])
    columns, rows = marks.row(table.columns), [marks.row(row) for row in table.rows]
    return replace(table, columns=columns, rows=rows, notes=[*table.notes, *notes]) if notes else table


def check_format(format: str) -> None:
    """Raise `BiBenchError` for a format that is none."""
    if format not in FORMATS:
        raise BiBenchError(f"format must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}; got {format!r}")


def to_json(rows: Sequence[Row]) -> str:
    """A list of objects; a number that is not finite has no place in JSON and is refused."""
    try:
        return json.dumps([dict(row) for row in rows], indent=2, allow_nan=False) + "\n"
    except ValueError as error:
        raise BiBenchError(f"a table with NaN or infinity cannot be written as JSON: {error}") from error


def to_csv(rows: Sequence[Row]) -> str:
    """The names of the first row's fields, then a line per row; nothing for no rows. No cell is a formula."""
    return csv_text(rows)


def to_markdown(table: Table) -> str:
    """A heading and a table of GitHub's Markdown."""
    numeric = _numeric(table)
    lines = [f"### {_markdown(table.title)}", ""] if table.title else []
    lines.append(_line(_markdown(str(column)) for column in table.columns))
    lines.append(_line("---:" if right else "---" for right in numeric))
    lines += [_line(_markdown(text) for text in texts) for texts in _texts(table)]
    lines += [line for note in table.notes for line in ("", _markdown(note))]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """A floating table in the style of the package booktabs."""
    aligned = "".join("r" if right else "l" for right in _numeric(table))
    caption = [rf"\caption{{{_latex(table.title)}}}"] if table.title else []
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        *caption,
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        " & ".join(_latex(str(column)) for column in table.columns) + r" \\",
        r"\midrule",
        *(" & ".join(map(_latex, texts)) + r" \\" for texts in _texts(table)),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {_latex(note)}\par}}" for note in table.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def paragraph(text: str, format: str) -> str:
    """A line of text before tables in one of the formats for people, or nothing."""
    return f"{_ESCAPE[format](text)}\n\n" if text else ""


DATA: dict[str, Callable[[Sequence[Row]], str]] = {"json": to_json, "csv": to_csv}
"""Formats for programs: every field of every row, numbers in full."""
DOCUMENTS: dict[str, Callable[[Table], str]] = {"markdown": to_markdown, "latex": to_latex}
"""Formats for people."""
FORMATS = (*DATA, *DOCUMENTS)


def _numeric(table: Table) -> list[bool]:
    """Whether a column has numbers and nothing else but gaps."""
    columns = zip(*table.rows, strict=True) if table.rows else ([] for _ in table.columns)
    return [
        any(_is_number(value) for value in column) and all(value is None or _is_number(value) for value in column)
        for column in map(list, columns)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(table: Table) -> list[list[str]]:
    return [[_text(value, table.digits) for value in row] for row in table.rows]


def _text(value: Any, digits: int | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, float) and math.isfinite(value) and digits is not None:
        return f"{value:.{digits}f}"
    return visible(" ".join(str(value).split()))  # a cell is one line


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    """Nothing of it is a link, emphasis, code, HTML or a new column."""
    return visible(" ".join(text.split())).translate(_MARKDOWN)


_MARKDOWN = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", **{character: rf"\{character}" for character in r"\`*_[]|~#$!"}}
)

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "√": r"\ensuremath{\surd}",
    "×": r"\texttimes{}",
    "±": r"\textpm{}",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    **{character: rf"\{character}" for character in "&%$#_{}"},
    "[": "{[}",  # not the optional argument of the \\ before it
    "]": "{]}",
}
_LATEX_TABLE = str.maketrans(_LATEX)


def _latex(text: str) -> str:
    """Nothing of it is a command; characters beyond ASCII stay, as pdfLaTeX and others read UTF-8."""
    shown = visible(" ".join(text.split()))
    if not shown.isprintable():
        shown = "".join(character for character in shown if character.isprintable())
    return shown.translate(_LATEX_TABLE)


def escaped(text: str, format: str) -> str:
    """The text as it stands in a document of that format, where nothing of it is markup."""
    return _ESCAPE[format](text)


_ESCAPE: dict[str, Callable[[str], str]] = {"markdown": _markdown, "latex": _latex}
