"""Tables on terminals of any width: every number is whole on one line."""

import io

import pytest

from bibench.cli.fitting import Fitting, wrapped
from bibench.cli.output import _Console

ROWS = [
    ["bnn", "vgg_small[width=8]", 1, "12.345 [12.300, 12.400]", "-"],
    ["xnor", "resnet18", 1, "9.876 [9.800, 9.900]", "2.50"],
]
TABLE = Fitting(
    "What was measured",
    ["operator", "model", "threads", "latency ms", "speed-up"],
    ROWS,
    [["busy"], ["busy", "slow"]],
    3,
)


def printed(table: Fitting, width: int) -> list[str]:
    out = io.StringIO()
    table.print(_Console(file=out, width=width, highlight=False, markup=False, emoji=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [200, 80, 70, 60, 50, 40, 30])
def test_no_number_is_broken_and_nothing_is_lost(width: int) -> None:
    lines = printed(TABLE, width)
    assert max(map(len, lines)) <= max(width, len("    latency ms 12.345 [12.300, 12.400]"))
    for row in ROWS:
        for cell in row[:2] + row[3:]:
            assert cell == "-" or any(cell in line for line in lines), (cell, lines)
    text = " ".join(lines)
    assert "threads" in text and "busy" in text and "slow" in text


def test_the_forms() -> None:
    wide = printed(TABLE, 200)
    assert wide[1].split() == ["operator", "model", "threads", "latency", "ms", "speed-up", "note"]
    assert wide[4].endswith("busy; slow")
    narrow = printed(TABLE, 75)
    assert narrow[1].split() == ["operator", "model", "latency", "ms", "speed-up"]
    assert narrow[-4:] == ["all: threads 1", "all: busy", "xnor resnet18: slow", ""]
    stacked = printed(TABLE, 50)
    assert stacked[1:] == [
        "bnn vgg_small[width=8]",
        "  threads 1, latency ms 12.345 [12.300, 12.400]",
        "  busy",
        "xnor resnet18",
        "  threads 1, latency ms 9.876 [9.800, 9.900],",
        "    speed-up 2.50",
        "  busy",
        "  slow",
        "",
    ]


def test_rows_of_one_name_are_told_apart_by_their_other_keys() -> None:
    rows = [["bnn", "m", n, f"{n}.0"] for n in (1, 2)]
    _, _, lines = Fitting("", ["operator", "model", "threads", "ms"], rows, [["slow"], []], 3).narrower()
    assert lines == ["bnn m, threads 1: slow"]


def test_what_follows_a_break_is_further_in() -> None:
    assert wrapped("  one two three four five six", 22) == ["  one two three four", "    five six"]
    assert wrapped("", 80) == [""]
    assert wrapped("a" * 30, 25) == ["a" * 30]
