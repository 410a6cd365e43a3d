r"""Sheets of the paper as text: LaTeX to paste, Markdown, rows for programs.

The LaTeX needs the package booktabs alone. The best of a row is bold, averages that lack cells have a dagger.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bibench.report.paper_tables import ABSENT, NO, YES, Line, Sheet
from bibench.report.tables import escaped

_SYMBOLS = {YES: r"\ensuremath{\surd}", NO: r"\ensuremath{\times}", ABSENT: "--"}


def latex(sheet: Sheet) -> str:
    """A floating table with caption and label."""
    width = len(sheet.columns)
    words = not any(line.values for line in sheet.lines)
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_tex(' '.join([sheet.title, *_said(sheet)]))}}}",
        rf"\label{{{sheet.label}}}",
        rf"\begin{{tabular}}{{l{('l' if words else 'r') * (width - 1)}}}",
        r"\toprule",
        _row(map(_tex, sheet.columns)),
        r"\midrule",
    ]
    for n, line in enumerate(sheet.lines):
        if not line.cells:
            lines += [r"\midrule"] * (n > 0) + [rf"\multicolumn{{{width}}}{{l}}{{\textit{{{_tex(line.name)}}}}} \\"]
        elif line.heading:
            lines += [r"\midrule", _row(map(_tex, (line.name, *line.cells))), r"\midrule"]
        else:
            lines.append(_row([_named(line.name), *(_cell(line, n) for n in range(len(line.cells)))]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def _said(sheet: Sheet) -> list[str]:
    best = ["The best of a row is bold."] if any(line.best for line in sheet.lines) else []
    return [*best, *sheet.notes]


def _row(cells: Any) -> str:
    return " & ".join(cells) + r" \\"


def _cell(line: Line, n: int) -> str:
    text = _SYMBOLS.get(line.cells[n]) or _tex(line.cells[n])
    if n in line.best:
        return rf"\textbf{{{text}}}"
    return text + (r"\rlap{\textsuperscript{\dag}}" if n in line.lacking else "")


def _named(name: str) -> str:
    """A name, with what follows an underscore after OM lowered, as in the paper."""
    head, bar, tail = name.partition("_")
    return rf"{head}\textsubscript{{{_tex(tail)}}}" if bar and head == "OM" else _tex(name)


def _tex(text: str) -> str:
    return escaped(text, "latex").replace("†", r"\textsuperscript{\dag}").replace(ABSENT, "--")


def markdown(sheet: Sheet) -> str:
    """A table of GitHub's Markdown, headings of rows in italics."""
    right = ["---:" if any(line.values for line in sheet.lines) else "---"] * (len(sheet.columns) - 1)
    lines = [
        f"### Table {sheet.number}: {_md(sheet.title)}",
        "",
        _bars(map(_md, sheet.columns)),
        _bars(["---", *right]),
    ]
    for line in sheet.lines:
        cells = [_starred(line, n) for n in range(len(line.cells))] or [""] * (len(sheet.columns) - 1)
        name = f"*{_md(line.name)}*" if line.heading or not line.cells else _md(line.name)
        lines.append(_bars([name, *cells]))
    return "\n".join([*lines, "", *map(_md, _said(sheet))]).rstrip() + "\n"


def _starred(line: Line, n: int) -> str:
    text = _md(line.cells[n]) + ("†" if n in line.lacking else "")
    return f"**{text}**" if n in line.best else f"*{text}*" if line.heading else text


def _md(text: str) -> str:
    return escaped(text, "markdown")


def _bars(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def rows_of(sheet: Sheet) -> list[dict[str, Any]]:
    """The cells as rows for programs: numbers in full, whether each is the best of its row and lacks cells."""
    found, section, columns = [], "", sheet.columns
    for line in sheet.lines:
        if not line.cells:
            section = line.name
        elif line.heading:
            columns = (line.name, *line.cells)
        for n, text in enumerate(() if line.heading else line.cells):
            value = line.values[n] if line.values else text
            marks = {"best": n in line.best, "lacking": n in line.lacking}
            found.append({"table": sheet.label, "section": section, "row": line.name, "column": columns[n + 1]}
                         | {"value": value} | marks)  # fmt: skip
    return found


WRITTEN: dict[str, Callable[[Sheet], str]] = {"latex": latex, "markdown": markdown}


def plain(sheet: Sheet) -> tuple[Sequence[str], list[list[str]], list[str]]:
    """Columns, rows and notes for a terminal: behind each number a star for the best, a dagger, or a space."""
    rows = []
    for line in sheet.lines:
        cells = list(line.cells) or [""] * (len(sheet.columns) - 1)
        if line.values:
            cells = [
                f"{text}{'*' if n in line.best else '†' if n in line.lacking else ' '}" for n, text in enumerate(cells)
            ]
        rows.append([line.name, *cells])
    stars = any(line.best for line in sheet.lines)
    return sheet.columns, rows, [*(["* the best of a row."] if stars else []), *sheet.notes]
