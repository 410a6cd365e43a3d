r"""Tables 2, 3 and 4 by name: what the paper states of them, its names, honest marks, and LaTeX that compiles."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.foundation.errors import BiBenchError
from bibench.published import records as published
from bibench.records.record import Record
from bibench.report.paper_tables import Sheet, best_of, sheets
from bibench.report.typesetting import latex, markdown, plain, rows_of

from ..cli.test_cli import Call, call
from ..statistics.worlds import B, X, cell, full

__all__ = ["call"]

NAMES = ("BNN", "XNOR", "DoReFa", "Bi-Real", "XNOR++", "ReActNet", "ReCU", "FDA")
RECORDS = published()


@pytest.fixture(scope="module", params=["2", "3", "4"])
def sheet(request: pytest.FixtureRequest) -> Sheet:
    (made,) = sheets(request.param, RECORDS, "paper")
    return made


def table(number: str, records: list[Record] = RECORDS, protocol: str = "paper") -> dict[tuple[str, str], str]:
    """Texts by row and column; rows of the same name keep the last."""
    (made,) = sheets(number, records, protocol)
    return {
        (line.name, column): text
        for line in made.lines
        for column, text in zip(made.columns[1:], line.cells, strict=bool(line.cells))
    }


class TestAgainstThePaper:
    """Every statement of the paper's text about these tables that its raw numbers can bear."""

    def test_columns_are_its_operators_in_its_order(self) -> None:
        for number in ("2", "3"):
            (made,) = sheets(number, RECORDS, "paper")
            assert made.columns[1:] == NAMES
        (made,) = sheets("4", RECORDS, "paper")
        assert tuple(line.name for line in made.lines) == ("Larq", "daBNN", "Algorithm", *NAMES)

    def test_table_2(self) -> None:
        found = table("2")
        number = {key: float(text) for key, text in found.items()}
        assert number["GLUE", "FDA"] - number["GLUE", "XNOR++"] == pytest.approx(21.3, abs=0.05)  # 5.1.1
        assert number["ShapeNet", "XNOR"] - number["ShapeNet", "ReCU"] == pytest.approx(33.0, abs=0.05)
        assert found["MLPs", "Bi-Real"] == "87.83"  # 5.1.2
        tasks = ("CIFAR10", "ImageNet", "VOC07", "COCO17", "ModelNet40", "ShapeNet", "GLUE", "SpeechCom.")
        best = {row: max(NAMES, key=lambda n, row=row: number[row, n]) for row in dict.fromkeys(r for r, _ in number)}
        assert sum(best[row] == "ReCU" for row in tasks) == 4  # 5.1.1: most individual tasks
        assert (best["OM_task"], best["OM_arch"], best["CNNs"], best["Transformers"]) == (
            "ReActNet",
            "FDA",
            "FDA",
            "FDA",
        )
        assert {n for n in NAMES if number["OM_robust", n] > 100} == {"ReCU", "XNOR"}  # 5.1.3

    def test_table_3(self) -> None:
        found = table("3")
        assert found["Time Cost", "FDA"] == "20.62"  # 5.2.1
        assert {found["Compression", name] for name in NAMES} == {"–"}  # of devices, which is the last
        (made,) = sheets("3", RECORDS, "paper")
        complexity = next(line for line in made.lines if line.name == "Compression")
        assert dict(zip(NAMES, complexity.cells, strict=True))["BNN"] == "13.27"

    def test_table_4(self) -> None:
        """5.2.3, and the columns that the paper's text still has."""
        (made,) = sheets("4", RECORDS, "paper")
        rows = {line.name: line.cells for line in made.lines}
        assert rows["Larq"] == ("Larq", "Channel-wise", "FP32", "✓", "✗", "✓")
        assert rows["daBNN"] == ("JD", "Channel-wise", "FP32", "✓", "✗", "✗")
        assert {name for name in NAMES if rows[name][0] == "✗"} == {"XNOR", "XNOR++"}
        assert [rows[name][1:3] for name in NAMES] == [
            ("N/A", "N/A"),
            *[("Channel-wise", "FP32")] * 3,
            ("Spatial-wise", "FP32"),
            *[("Channel-wise", "FP32")] * 3,
        ]


class TestMarks:
    def test_best(self) -> None:
        assert best_of([1.0, 3.0, 2.0]) == {1}
        assert best_of([1.0, 2.004, 2.001]) == {1, 2}  # as printed
        assert best_of([2.0, 2.001]) == frozenset()  # a tie of all
        assert best_of([2.0, None]) == frozenset() == best_of([])  # one alone
        assert best_of([9.9951, 10.0]) == frozenset() and best_of([9.99, 10.0]) == {1}  # as numbers, not as texts
        assert best_of([1.0, 3.0], {0}) == frozenset()

    def test_averages_that_lack_cells_say_so_and_none_is_best(self) -> None:
        """Task u lacks xnor: its column of the overall metric is over one task."""
        records = [*full(2, ("t", "u")), *cell(B, 0.5, 0.5), *cell(X, 0.6), *cell(B, 0.4, 0.4, task="u")]
        (made,) = sheets("2", records, "bibench")
        rows = {line.name: line for line in made.lines}
        assert (rows["t"].cells, rows["t"].lacking, rows["t"].best) == (("50.00", "60.00"), {1}, frozenset())
        assert rows["u"].cells == ("40.00", "–")
        assert (rows["OM_task"].lacking, rows["OM_task"].best) == ({1}, frozenset())
        assert any(note.startswith("† over some of the cells alone (") and "XNOR" in note for note in made.notes)
        assert "60.00†" in plain(made)[1][1]
        assert r"60.00\rlap{\textsuperscript{\dag}}" in latex(made) and "60.00†" in markdown(made)

    def test_the_protocol_is_stated(self) -> None:
        for protocol in ("paper", "bibench"):
            (made,) = sheets("2", RECORDS, protocol)
            assert made.title.endswith(f"averaged by the protocol {protocol}.")
        assert table("2")["VOC07", "BNN"] != table("2", protocol="bibench")["VOC07", "BNN"]

    def test_an_operator_with_options_keeps_its_name(self) -> None:
        found = table("2", [*full(1), *cell(B, 0.5), *cell("recu[scale_init=weight]", 0.6)], "bibench")
        assert found["t", "recu[scale_init=weight]"] == "60.00" and found["t", "BNN"] == "50.00"

    def test_sources_are_tables_of_their_own(self) -> None:
        own = [*full(1), *cell(B, 0.5)]
        first, second = sheets("2", [*own, *RECORDS], "paper")
        assert ", of published" not in first.title and ", of published" in second.title

    def test_nothing_to_show(self) -> None:
        with pytest.raises(BiBenchError, match="Table 3: none of these records"):
            sheets("3", [*full(1), *cell(B, 0.5)], "paper")
        with pytest.raises(BiBenchError, match="--table 5: expected 2, 3, 4"):
            sheets("5", RECORDS, "paper")


def check_latex(text: str) -> None:
    """Balanced groups and environments, one label, and rows of as many cells as the tabular has columns."""
    bare = re.sub(r"\\[\\%{}&#$_]", lambda m: "  " if m[0] != r"\\" else m[0], text)
    assert bare.count("{") == bare.count("}")
    open_ = [(m[1], m[2]) for m in re.finditer(r"\\(begin|end)\{(\w+)\}", text)]
    assert open_ == [("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table")]
    assert len(re.findall(r"\\label\{tab:[a-z]+\}", text)) == 1
    assert text.index(r"\caption") < text.index(r"\label")  # or references are to the section
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", text)
    body = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line and line != r"\midrule"]
    for row in rows:
        assert row.endswith(r" \\")
        cells = re.sub(r"\\&", "", row).count("&") + 1
        if span := re.match(r"\\multicolumn\{(\d+)\}\{l\}", row):
            assert (int(span[1]), cells) == (len(columns), 1)
        else:
            assert cells == len(columns)
    known = {"textbf", "textit", "textsubscript", "textsuperscript", "rlap", "dag", "ensuremath", "surd", "times"}
    known |= {"multicolumn", "midrule", "texttimes", "textbackslash", "textasciitilde", "textasciicircum", "textless"}
    known |= {"textgreater", "textbar", "textquotedbl", "textpm"}
    assert set(re.findall(r"\\([A-Za-z]+)", body)) <= known  # booktabs and the kernel have them


class TestFormats:
    def test_latex(self, sheet: Sheet) -> None:
        text = latex(sheet)
        check_latex(text)
        assert "notes" not in text and "Table 2" not in text  # LaTeX numbers tables itself
        assert all(name in text for name in NAMES)

    @given(st.text(max_size=20) | st.sampled_from(["a&b", "x\\y", "{", "50 %", "[x=1]", "OM_{", "recu[s_i=weight]"]))
    def test_latex_of_any_names(self, name: str) -> None:
        records = [*full(1), *cell(B, 0.5), *cell(X, 0.6)]
        (made,) = sheets("2", records, "paper")
        lines = tuple(type(line)(name, line.cells, line.values, line.best) for line in made.lines)
        check_latex(latex(Sheet("2", name, "tab:a", ("", name, name), lines)))

    def test_decimals_are_even(self) -> None:
        for number in ("2", "3"):
            (made,) = sheets(number, RECORDS, "paper")
            texts = [text for line in made.lines for text in line.cells]
            assert all(re.fullmatch(r"\d+\.\d\d|–", text) for text in texts)

    def test_markdown_and_plain_have_a_row_for_each_line(self, sheet: Sheet) -> None:
        bars = [line for line in markdown(sheet).splitlines() if line.startswith("|")]
        assert len(bars) == len(sheet.lines) + 2
        assert {re.sub(r"\\.", "", bar).count("|") for bar in bars} == {len(sheet.columns) + 1}
        columns, rows, _ = plain(sheet)
        assert {len(row) for row in rows} == {len(columns)} and len(rows) == len(sheet.lines)

    def test_the_best_is_bold_in_both(self) -> None:
        (made,) = sheets("2", RECORDS, "paper")
        assert r"\textbf{96.72}" in latex(made) and "**96.72**" in markdown(made)
        assert "96.72*" in plain(made)[1][1]

    def test_rows_have_numbers_in_full(self) -> None:
        (made,) = sheets("3", RECORDS, "paper")
        rows = rows_of(made)
        (one,) = (
            r for r in rows if (r["section"], r["row"], r["column"]) == ("Hardware Inference (×)", "Speedup", "BNN")
        )
        assert one["value"] == pytest.approx(5.54, abs=0.005) and f"{one['value']:.2f}" != str(one["value"])
        assert sum(r["lacking"] for r in rows) == 1


def test_the_verb(call: Call) -> None:
    out = call("score", "published", "--table", "2").out
    assert out.startswith("Table 2: Accuracy tracks, of published, averaged by the protocol paper.")
    assert "notes" not in out and "* the best of a row." in out
    bibench = call("score", "published", "--table", "2", "--protocol", "bibench").out
    assert "averaged by the protocol bibench." in bibench
    check_latex(call("score", "published", "--table", "3", "--format", "latex").out.removeprefix("%"))
    rows = list(csv.DictReader(io.StringIO(call("score", "published", "--table", "4", "--format", "csv").out)))
    assert next(r["value"] for r in rows if r["row"] == "ReActNet") == "✓"
    some = call("score", "published", "--table", "2", "--operators", "bnn,xnor").out
    assert "ReCU" not in some and "XNOR" in some
    assert "expected 2, 3, 4" in call("score", "published", "--table", "two").err
