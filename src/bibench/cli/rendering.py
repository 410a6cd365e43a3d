"""Rows as a table for papers and pull requests: Markdown and LaTeX, everything escaped."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bibench.cli.output import print_csv, print_json
from bibench.errors import BiBenchError

FORMATS = ("table", "json", "csv", "markdown", "latex")

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "τ": r"$\tau$",
    "×": r"$\times$",
    "−": "$-$",
    **{c: f"\\{c}" for c in "&%$#_{}"},
}


def check_rows_format(format: str) -> None:
    """Raise `BiBenchError` for a format that rows cannot be printed in."""
    if format not in FORMATS:
        raise BiBenchError(f"--format must be one of {', '.join(FORMATS)}; got {format!r}")


def print_rows(format: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of plain data in any format but ``table``; CSV, Markdown and LaTeX have the first row's columns."""
    if format == "json":
        print_json(list(rows))
    elif format == "csv":
        print_csv([{name: _flat(value) for name, value in row.items()} for row in rows])
    else:
        render: Callable[..., str] = markdown if format == "markdown" else latex
        columns = list(rows[0]) if rows else []
        lines = [[_short(row.get(name)) for name in columns] for row in rows]
        numeric = [name for name in columns if any(isinstance(row.get(name), int | float) for row in rows)]
        sys.stdout.write(render(columns, lines, numeric))


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> str:
    """A table of GitHub's Markdown."""
    rule = ["---:" if name in numeric else "---" for name in columns]
    escaped = [[re.sub(r"([\\|`*_<>\[\]])", r"\\\1", cell).replace("\n", " ") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in ([c.replace("_", " ") for c in columns], rule, *escaped))


def latex(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> str:
    r"""A tabular for \usepackage{booktabs}."""
    align = "".join("r" if name in numeric else "l" for name in columns)
    head = " & ".join(_tex(c.replace("_", " ")) for c in columns)
    body = "".join(" & ".join(map(_tex, row)) + " \\\\\n" for row in rows)
    return f"\\begin{{tabular}}{{{align}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"


def _tex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text.replace("\n", " "))


def _short(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(_flat(value))


def _flat(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list | tuple) else value
