r"""Tables as files: each format is read back by another program's rules, and nothing in a cell is markup."""

import csv
import io
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.foundation.errors import BiBenchError
from bibench.report.tables import FORMATS, Table, render, render_tables

ROWS = [{"operator": "bnn", "om": 70.8181, "note": "a | b_c"}, {"operator": "recu[x=1]", "om": None, "note": ""}]
TABLE = Table("OM & more", ("operator", "om", "note"), [list(row.values()) for row in ROWS], digits=1)
HOSTILE = (
    r"""<script>alert(1)</script> | `code` [x](javascript:1) *b* _i_ \input{/etc/passwd} $x$ 100% #1 & ~ ^ {} "q" """
)

texts = st.text(max_size=40) | st.sampled_from([HOSTILE, "a\nb", "\\", "|", "\\\\ \\hline"])


def test_json_and_csv_have_every_field_in_full() -> None:
    assert json.loads(render(ROWS, "json")) == ROWS
    read = list(csv.DictReader(io.StringIO(render(ROWS, "csv"))))
    assert read == [{k: "" if v is None else str(v) for k, v in row.items()} for row in ROWS]


def test_no_rows() -> None:
    assert json.loads(render([], "json")) == []
    assert render([], "csv") == ""
    for format in ("markdown", "latex"):
        assert render([], format, "Nothing").endswith("\n")


def test_markdown() -> None:
    assert render_tables([TABLE], "markdown") == (
        "### OM &amp; more\n\n"
        "| operator | om | note |\n"
        "| --- | ---: | --- |\n"
        "| bnn | 70.8 | a \\| b\\_c |\n"
        "| recu\\[x=1\\] | - |  |\n"
    )


def test_latex() -> None:
    text = render_tables([TABLE], "latex")
    assert r"\caption{OM \& more}" in text
    assert r"\begin{tabular}{lrl}" in text
    assert r"bnn & 70.8 & a \textbar{} b\_c \\" in text
    assert r"recu{[}x=1{]} & - &  \\" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


def test_several_tables_follow_each_other() -> None:
    assert render_tables([TABLE, TABLE], "markdown").count("### ") == 2


@given(st.lists(st.lists(texts, min_size=2, max_size=2), min_size=1, max_size=4))
def test_markdown_of_anything_has_its_rows_and_columns(rows: list[list[str]]) -> None:
    lines = render_tables([Table("", ("a", "b"), rows)], "markdown").split("\n")
    assert len(lines) == 2 + len(rows) + 1
    for line in lines[:-1]:
        bare = re.sub(r"\\.", "", line)  # escaped characters are text
        assert bare.count("|") == 3
        assert not set(bare) & set("`*_[]<>~#$!")


@given(st.lists(st.lists(texts, min_size=2, max_size=2), min_size=1, max_size=4))
def test_latex_of_anything_has_no_commands_but_ours(rows: list[list[str]]) -> None:
    text = render_tables([Table("", ("a", "b"), rows)], "latex")
    body = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    assert body.count("\n") == len(rows)
    for line in body.splitlines():
        assert line.endswith(r" \\")
        cell = re.sub(r"\\(text\w+|ensuremath)\{(\\surd)?\}|\\[&%$#_{}]|\{[\[\]]\}", "", line.removesuffix(r" \\"))
        assert cell.count("&") == 1
        assert not set(cell) & set("\\{}$%#_^~[]")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_place_for_what_is_not_finite(value: float) -> None:
    with pytest.raises(BiBenchError, match="NaN or infinity cannot be written as JSON"):
        render([{"a": value}], "json")


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(BiBenchError, match="format must be json, csv, markdown or latex; got 'html'"):
        render(ROWS, "html")
    with pytest.raises(BiBenchError, match="format must be markdown or latex for tables; got 'csv'"):
        render_tables([TABLE], "csv")
    assert FORMATS == ("json", "csv", "markdown", "latex")
