"""Marks: what puts a number in doubt stands beside every name, with a footnote; without doubts nothing changes."""

from dataclasses import replace

import pytest

from bibench.records.flags import IN_FORCE, Marks, broken, contracts_broken, joined, others_than_marked, outdated
from bibench.report.tables import Table, render, render_tables

from .test_records import make

BROKEN = broken("operator", "padding_follows_the_sign")


def records():
    fine = replace(make(), operator="bnn", cell="a/bnn")
    return [fine, replace(fine, operator="mine", cell="a/mine", flags=joined("diverged", BROKEN))]


@pytest.fixture
def in_force():
    before = IN_FORCE.set(Marks(outdated(records(), {"a/bnn"})))
    yield
    IN_FORCE.reset(before)


def test_flags_are_told_in_words():
    assert contracts_broken(records()) == "breaks the operator contract 'padding follows the sign'"
    assert contracts_broken(records()[:1]) == ""
    assert others_than_marked("diverged 1×, stale 2×, breaks operator x 1×") == "diverged 1×"


def test_only_records_of_the_cells_become_stale():
    found = outdated(records(), {"a/bnn"})
    assert [r.flags for r in found] == ["stale", f"diverged,{BROKEN}"]


def test_names_get_signs_wherever_they_stand_and_nothing_else_does():
    marks = Marks(outdated(records(), {"a/bnn", "a/mine"}), title=str.upper)
    assert marks.row(["bnn", "BNN", "mine (nchw)", "bnnx", "mine-2", 1.5, None]) == [
        *("bnn ‡", "BNN ‡", "mine †‡ (nchw)", "bnnx", "mine-2", 1.5, None)
    ]
    (note,) = marks.footnotes(["bnn", "other"])
    assert note.startswith("‡ bnn: 1 cell is stale") and "--rerun stale" in note
    assert len(marks.footnotes()) == 3
    broken_one, stale = marks.summary
    assert broken_one.startswith("† mine") and "bnn 1, mine 1" in stale


def test_without_flags_nothing_is_marked():
    marks = Marks(records()[:1])
    assert not marks and marks.row(["bnn"]) == ["bnn"] and marks.footnotes() == []
    assert marks.data([{"operator": "bnn"}]) == [{"operator": "bnn"}]


@pytest.mark.usefixtures("in_force")
def test_every_format_says_it():
    rows = [{"operator": "mine", "om": 1.0}, {"operator": "fp32", "om": 2.0}]
    csv = render(rows, "csv").splitlines()
    assert csv[0] == "operator,om,doubts" and "† mine breaks the operator contract" in csv[1] and csv[2] == "fp32,2.0,"
    assert '"doubts": "\\u2020 mine' in render(rows, "json")
    table = Table("T", ["operator", "om"], [["mine", 1.0], ["bnn", 2.0]])
    markdown = render_tables([table], "markdown")
    assert "| mine † |" in markdown and "| bnn ‡ |" in markdown and "\n\n‡ bnn: 1 cell is stale" in markdown
    latex = render_tables([table], "latex")
    assert r"mine \textdagger{} &" in latex and latex.count(r"\par\smallskip{\footnotesize") == 2


@pytest.mark.usefixtures("in_force")
def test_records_have_their_flags_and_no_second_word():
    assert render([{"operator": "mine", "flags": BROKEN}], "csv") == f"operator,flags\nmine,{BROKEN}\n"
