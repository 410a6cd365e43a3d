"""Characters that act or hide become escapes, cells of CSV files are never formulas, and all else stays as it is."""

import csv
import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.foundation.visible import Visible, csv_cell, csv_text, visible, visible_streams

BIDI = [chr(n) for n in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))]
ESCAPES = {
    "\x1b[2J": r"\x1b[2J",
    "\x1b]0;owned\x07": r"\x1b]0;owned\x07",
    "\x9b31m": r"\x9b31m",
    "\x00\x08\x7f": r"\x00\x08\x7f",
    "a\rb": r"a\rb",
    "\ud800\udcff": r"\ud800\udcff",
    "a\u202eb": r"a\u202eb",
    "\u2028": r"\u2028",
    "\U000e0041": r"\U000e0041",
    "a\r\nb\tc\n": "a\nb\tc\n",
    "é ± 日本 עברית 👩‍🔬 \\x1b": "é ± 日本 עברית 👩‍🔬 \\x1b",
}


@pytest.mark.parametrize("text", ESCAPES)
def test_escapes(text: str) -> None:
    assert visible(text) == ESCAPES[text]


def test_every_control_character_is_shown() -> None:
    for code in range(sys.maxunicode + 1):
        one = chr(code)
        acts = unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in "\t\n"
        if acts or unicodedata.bidirectional(one) in ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"):
            assert visible(one).isascii() and visible(one).startswith("\\"), hex(code)
        elif one.isprintable():
            assert visible(one) == one, hex(code)
    assert all(visible(one) != one for one in BIDI)


@given(st.text())
def test_twice_is_once(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "-0.5 ± 0.1", "=", "+cmd|' /C calc'!A0"],
)
def test_text_like_a_formula_follows_an_apostrophe(text: str) -> None:
    assert csv_cell(text) == f"'{visible(text)}"


@pytest.mark.parametrize(
    "value", [-1, -0.5, 1e-9, None, True, "-0.5", "+1", "-1e-05", "-", "", "bnn", "a=b", "12.3", "±"]
)
def test_numbers_and_other_text_stay(value: object) -> None:
    assert csv_cell(value) is value or csv_cell(value) == value


def test_a_table_with_hostile_names_and_rows_of_several_fields() -> None:
    rows = [{"=a": -1, "b": "=x\x1b"}, {"=a": 2.5, "b": 'say "so", twice', "c": "\rz"}]
    text = csv_text(rows)
    assert text == '\'=a,b,c\n-1,\'=x\\x1b,\n2.5,"say ""so"", twice",\'\\rz\n'
    assert list(csv.reader(io.StringIO(text)))[2] == ["2.5", 'say "so", twice', "'\\rz"]
    assert csv_text([]) == ""


class TestStreams:
    def test_whatever_is_written_inside_is_visible(self, capsys: pytest.CaptureFixture[str]) -> None:
        before = sys.stdout, sys.stderr
        with visible_streams():
            print("a\x1b[2Jb")
            sys.stderr.writelines(["c\x07", "d\n"])
            with visible_streams():  # once is enough
                print(r"e\x1b")
            assert isinstance(sys.stdout, Visible)
        assert (sys.stdout, sys.stderr) == before
        assert capsys.readouterr() == ("a\\x1b[2Jb\ne\\x1b\n", "c\\x07d\n")

    def test_what_takes_its_place_inside_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = io.StringIO()
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        with visible_streams():
            sys.stdout = other
        assert sys.stdout is other

    def test_it_is_the_stream_in_all_else(self) -> None:
        stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        guard = Visible(stream)
        assert guard.write("a\x1b") == 2
        guard.flush()
        assert (guard.encoding, guard.isatty(), stream.buffer.getvalue()) == ("utf-8", False, rb"a\x1b")
        with pytest.raises(TypeError):
            guard.write(b"bytes")  # type: ignore[arg-type]
