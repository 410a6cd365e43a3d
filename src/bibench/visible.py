"""Text from outside, such as names in records and messages of a stranger's code, made harmless where it leaves.

A terminal obeys control characters, a reader is misled by text that runs backwards, and a spreadsheet runs formulas.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and new line, delete, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's Bidi_Control
    "\u2028\u2029\ufeff\U000e0000-\U000e007f"  # ends of lines to some, a mark, and tags that nothing shows
    "\ud800-\udfff]"  # halves of characters, as in names of files that are not UTF-8
)
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""First characters of a cell that spreadsheets run (OWASP, CSV Injection)."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]")


def visible(text: str) -> str:
    r"""`text` with every character that acts or hides instead of showing as its escape: ``\x1b``, ``\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def csv_cell(value: Any) -> Any:
    """`value` as a cell that no spreadsheet runs: text like a formula after an apostrophe; numbers stay as they are."""
    if not isinstance(value, str):
        return value
    runs = value.startswith(_FORMULA) and not _NUMBER.fullmatch(value)
    return f"'{visible(value)}" if runs else visible(value)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV: the names of all fields, those of the first row first, then a line per row; nothing for no rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for row in rows for name in row))
    if names:
        writer.writerow(map(csv_cell, names))
        writer.writerows([csv_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


class Visible:
    """A text stream that writes everything as `visible` shows it; in all else the stream that it wraps.

    `rich_proxied_file` is where Rich writes in its place: its own escape sequences are meant to act, and what
    it prints of others is made visible before they are added.
    """

    def __init__(self, stream: Any) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        """Write `text`; its length, as streams return. Raises `TypeError` for bytes, as they do."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.rich_proxied_file.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


@contextmanager
def visible_streams() -> Iterator[None]:
    """Whatever is written to standard output and error inside, by whomever, is written as `visible` shows it."""
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    guards = {name: Visible(stream) for name, stream in before.items() if not isinstance(stream, Visible)}
    for name, guard in guards.items():
        setattr(sys, name, guard)
    try:
        yield
    finally:
        for name, guard in guards.items():
            if getattr(sys, name) is guard:  # and not what somebody put in its place meanwhile
                setattr(sys, name, before[name])
