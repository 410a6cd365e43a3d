"""Lines of data files: only newlines end them, in every reader that has lines."""

from pathlib import Path

import pytest

from bibench.foundation.lines import read_lines, split_lines
from bibench.records.record import read_file, write_file

from ..records.test_records import make

SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"
"""What `str.splitlines` takes for ends of lines, but for newlines."""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\n\nb", ["a", "", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\rb\n", ["a\rb"]),
        ("a\n\n", ["a", ""]),
        ("\ufeffa\n\ufeffb\n", ["a", "\ufeffb"]),
        *((f"a{c}b\nc\n", [f"a{c}b", "c"]) for c in SEPARATORS),
        *((f"{c}\nc\n", [c, "c"]) for c in SEPARATORS),
    ],
)
def test_only_newlines_end_a_line(text: str, lines: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(text.encode())
    assert split_lines(text) == list(read_lines(file)) == lines


def test_records_keep_separators_in_their_texts(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    record = make(reason=SEPARATORS, value=None, status="failed")
    write_file(file, [record, make()])
    raw = file.read_text("utf-8").replace("\\u2028", "\u2028").replace("\\u2029", "\u2029").replace("\\u0085", "\x85")
    assert "\u2028" in raw
    file.write_bytes(b"\xef\xbb\xbf" + raw.replace("\n", "\r\n").encode())
    assert read_file(file) == [record, make()]
