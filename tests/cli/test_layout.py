"""Tables in narrow terminals: no number and no word is broken, nothing is lost, and every format is there."""

import io
import json
import re

import pytest
from rich.console import Console

from bibench.cli import output
from bibench.cli.output import console, printing, table
from bibench.foundation.errors import BiBenchError

from .test_cli import Call

WIDTHS = (40, 60, 80)
LONG = "its full-precision baseline was trained anew, by somebody else and with another recipe"


def drawn(made: object, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, color_system=None, highlight=False).print(made)
    return stream.getvalue()


def tokens(text: str) -> set[str]:
    """What has a digit in it, as it is written."""
    return {word for word in re.sub(r"[─\n]", " ", text).split() if re.search(r"\d", word)}


class TestLayout:
    def test_what_fits_is_one_table(self) -> None:
        shown = drawn(table("", ("operator", "om"), [("bnn", "71.25"), ("reactnet", "9.5")], numeric=("om",)), 40)
        assert shown.splitlines() == [
            "operator      om",
            "────────────────",
            "bnn        71.25",
            "reactnet     9.5",
            "",
        ]

    def test_text_is_wrapped_at_words_before_anything_else(self) -> None:
        shown = drawn(table("", ("operator", "om", "note"), [("bnn", "71.25", LONG)], numeric=("om",)), 60)
        assert shown.count("operator") == 1
        assert max(map(len, shown.splitlines())) <= 60
        assert set(LONG.split()) <= set(shown.split())

    def test_columns_that_say_nothing_go_first(self) -> None:
        rows = [("bnn", "1.234567", "-", ""), ("xnor", "2.345678", None, "-")]
        columns = ("operator", "accuracy", "peak memory", "flags and so on")
        assert "peak memory" in drawn(table("", columns, rows), 80)
        narrow = drawn(table("", columns, rows), 30)
        assert "peak" not in narrow
        assert narrow.count("operator") == 1

    def test_columns_that_do_not_fit_stand_below_with_the_first_one(self) -> None:
        columns = ("operator", *(f"metric_{n}" for n in range(6)))
        rows = [(name, *(f"{n}{n}.{n}{n}" for n in range(6))) for name in ("bnn", "xnor")]
        shown = drawn(table("", columns, rows, numeric=columns[1:]), 40)
        assert shown.count("operator") == shown.count("xnor") == 3
        assert tokens(shown) == {*columns[1:], *(one for row in rows for one in row[1:])}

    def test_many_parts_become_a_list_of_each_row(self) -> None:
        columns = ("operator", *(f"a rather long metric {n}" for n in range(9)), "empty")
        rows = [("bnn", *(f"{n}.5 [{n}.25, {n}.75]" for n in range(9)), "")]
        shown = drawn(table("", columns, rows, numeric=columns[1:]), 40)
        assert [line.rstrip() for line in shown.splitlines()[1:3]] == ["bnn", "  a rather long metric 0: 0.5 [0.25,"]
        assert "empty" not in shown

    @pytest.mark.parametrize("width", WIDTHS)
    def test_nothing_is_lost_or_broken(self, width: int) -> None:
        columns = ("operator", "om", "interval", "letters", "note", "ms")
        rows = [
            (f"op{n}[width={n}]", f"{n}23.456", f"{n}0.12 to {n}9.87", "abc", f"{LONG} {n}", f"{n},345,678")
            for n in range(1, 4)
        ]
        shown = drawn(table("A title of 12,345.678 runs", columns, rows, numeric=("om", "interval", "ms")), width)
        assert tokens(shown) >= {word for row in rows for cell in row for word in tokens(cell)}
        assert max(map(len, shown.splitlines())) <= width
        assert "12,345.678" in shown

    def test_no_rows_and_no_columns(self) -> None:
        assert drawn(table("Nothing", ("operator", "om"), []), 40).splitlines()[:2] == ["Nothing", "operator   om"]


class TestVerbs:
    @pytest.mark.parametrize("width", WIDTHS)
    @pytest.mark.parametrize(
        "asked",
        [
            "score published --tasks cifar10",
            "rank published --tracks learning_task --samples 200",
            "coverage published --tasks cifar10",
            "complexity resnet20 --task cifar10 --operators bnn,reactnet",
            "recommend published --task imagenet --device local --no-count-sizes",
            "list devices",
            "plan quick none --tasks digits_photos --operators bnn",
        ],
    )
    def test_numbers_are_whole_at_any_width(
        self,
        call: Call,
        monkeypatch: pytest.MonkeyPatch,
        asked: str,
        width: int,
    ) -> None:
        wide = call(*asked.split())
        monkeypatch.setattr(output, "UNBROKEN", width)
        narrow = call(*asked.split())
        assert wide.code == 0
        assert (narrow.code, narrow.err) == (0, wide.err)
        fitting = {word for word in tokens(wide.out) if len(word) < width - 4}
        assert fitting <= tokens(narrow.out)
        assert max(map(len, narrow.out.splitlines()), default=0) <= width


class TestFormats:
    def test_tables_are_printed_in_the_format_of_the_verb(self, capsys: pytest.CaptureFixture[str]) -> None:
        made = table("Scores", ("operator", "om"), [("bnn_1", 71.5)])
        shown = {}
        for format in ("table", "csv", "markdown", "latex"):
            with printing(format):
                console().print(made)
                console().print("In a sentence.")
            shown[format] = capsys.readouterr()
        assert shown["csv"] == ("operator,om\nbnn_1,71.5\n", "In a sentence.\n")
        assert shown["markdown"].out.startswith("### Scores\n\n| operator | om |")
        assert r"bnn\_1 & 71.5 \\" in shown["latex"].out
        assert "In a sentence." in shown["latex"].out
        assert shown["table"].out.startswith("Scores\noperator   om  \n")
        with printing("latex"):
            console(stderr=True).print("news")
        assert capsys.readouterr() == ("", "news\n")

    @pytest.mark.parametrize(
        "asked",
        [
            *(
                "list operators",
                "list suites",
                "env",
                "plan quick none --operators bnn",
                "deploy matrix --models resnet20 --operators bnn --engines torch",
            ),
            *(
                "complexity resnet20 --task cifar10 --operators bnn",
                "rank published --samples 200",
                "coverage published",
            ),
            *("score published", "versus bnn xnor published --samples 200", "data where"),
            "measure structures --structures mlp --sizes 16 --dims 64 --draws 1 --operators bnn",
            "recommend published --task imagenet --device local --no-count-sizes",
        ],
    )
    def test_every_verb_that_prints_a_table_has_them_all(self, call: Call, asked: str) -> None:
        words = asked.split()
        found = {format: call(*words, "--format", format) for format in ("json", "csv", "markdown", "latex")}
        assert {ended.code for ended in found.values()} == {0}
        assert json.loads(found["json"].out) == call(*words, "--json").json
        assert len(set(map(len, [line.split(",") for line in found["csv"].out.splitlines()[:1]]))) == 1
        assert re.search(r"^\| .* \|\n\| -", found["markdown"].out, re.M)
        assert re.search(r"\\toprule\n.* & .*\\\\\n\\midrule", found["latex"].out)

    def test_two_formats_at_once_are_refused(self) -> None:
        from bibench.cli.formats import _chosen

        assert (_chosen("table", True), _chosen("json", True), _chosen("csv", False)) == ("json", "json", "csv")
        with pytest.raises(BiBenchError, match="--json is --format json, and --format csv is given too"):
            _chosen("csv", True)
