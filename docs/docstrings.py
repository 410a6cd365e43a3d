"""Docstrings as reStructuredText: `names` in single backticks become code, sections stay for napoleon."""

from __future__ import annotations

import re
from typing import Any

CODE = re.compile(r"(?<![`:\\\w])`([^`\n]+)`(?![`_])")
SPECIAL = re.compile(r"(?<![\\`\w])\*{1,2}(?=\w)|(?<!\\)\||(?<=\w)_(?=[\s,.;:)\]]|$)")
PAGE = re.compile(r"\bdocs/([\w/]+)\.md\b")
LITERAL = re.compile(r"(``.+?``)")
VALUES = ("attribute", "data", "property")
"""What napoleon takes the words before the first colon of for a type; an empty comment comes before them."""


def restructured(lines: list[str]) -> list[str]:
    """The same lines, in which reStructuredText reads what was meant: code as code, stars, bars and `_` as such."""
    return [_line(line) for line in _spaced(_joined(lines))]


def _line(line: str) -> str:
    parts = LITERAL.split(CODE.sub(r"``\1``", line))
    return "".join(part if at % 2 else _text(part) for at, part in enumerate(parts))


def _text(part: str) -> str:
    return PAGE.sub(r":doc:`docs/\1.md </\1>`", SPECIAL.sub(r"\\\g<0>", part))


def _joined(lines: list[str]) -> list[str]:
    """Code that a line end cuts in two is brought onto one line."""
    joined: list[str] = []
    for line in lines:
        if joined and line.strip() and _open(joined[-1]):
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined


def _open(line: str) -> bool:
    """Whether code begins on a line and does not end on it."""
    return bool(line.count("``") % 2 or line.replace("``", "").count("`") % 2)


def _spaced(lines: list[str]) -> list[str]:
    """Lists and indented blocks after a line of text get the empty line that reStructuredText wants."""
    spaced: list[str] = []
    for line in lines:
        starts = re.match(r"\s*- ", line) and spaced and spaced[-1].strip() and not re.match(r"\s*- ", spaced[-1])
        if starts and not spaced[-1].startswith("    "):
            spaced.append("")
        spaced.append(line)
    return spaced


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [*(("..", "") if what in VALUES else ()), *restructured(lines)]


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry; before napoleon (priority 500), which writes reStructuredText of its own."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
