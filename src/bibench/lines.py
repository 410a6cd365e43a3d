"""Lines of data files: only a newline ends one, or a carriage return with a newline behind it.

`str.splitlines` and `str.split` also break at U+2028, U+0085, form feeds and others, which occur in sentences,
vocabularies and names, and Python's text files at a lone carriage return: what follows is then numbered wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

BLANK = " \t\r"
"""What may surround a field or fill a blank line; other separators are characters like any."""
BYTE_ORDER_MARK = "\ufeff"


def split_lines(text: str) -> list[str]:
    """The lines of a text without their ends; a byte order mark before the first one is no part of it."""
    found = text.removeprefix(BYTE_ORDER_MARK).split("\n")
    if not found[-1]:  # what follows the last newline
        found.pop()
    return [line.removesuffix("\r") for line in found]


def read_lines(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a file, as `split_lines` gives them, one at a time.

    Raises:
        OSError, UnicodeDecodeError: as reading does; the caller knows what to do about it.
    """
    with path.open(encoding=encoding, newline="\n") as stream:
        for number, line in enumerate(stream):
            whole = line.removesuffix("\n").removesuffix("\r")
            yield whole if number else whole.removeprefix(BYTE_ORDER_MARK)
