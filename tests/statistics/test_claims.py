"""What sentences claim: nothing beyond their numbers, at ties, at one entry and at gaps."""

import pytest

from bibench.statistics import claims
from bibench.statistics.claims import Entry
from bibench.statistics.coverage import Coverage, CoverageRow
from bibench.statistics.measured import Measured, measured
from bibench.statistics.ranking import Rank

from .worlds import B, D, X, cell, full


def rank(
    operator: str,
    place: int | None,
    best: int | None = None,
    worst: int | None = None,
    ties: tuple[str, ...] = (),
    value: float | None = 50.0,
) -> Rank:
    """A row of a ranking with what claims read."""
    value = None if place is None else value
    return Rank("learning_task", "om", "quick", "bibench", operator, place, best, worst, "", ties, value, None, None,
                "seeds", 0.95, 1, 1)  # fmt: skip


SURE = [rank("a", 1, 1, 1), rank("b", 2, 2, 3, ("c",)), rank("c", 3, 2, 3, ("b",))]
NEAR = [rank("a", 1, 1, 2, ("b",)), rank("b", 2, 1, 2, ("a",)), rank("c", 3, 3, 3)]
OPEN = [rank("a", 1), rank("b", 2)]
EQUAL = [rank("a", 1, 1, 2, ("b",)), rank("b", 1, 1, 2, ("a",))]
SHARED = [rank("a", 1, 1, 2, ("b",)), rank("b", 1, 1, 2, ("a",)), rank("c", 3, 3, 3)]
ALONE = [rank("a", 1), rank("b", None)]
NONE = [rank("a", None)]


def percent(value: float) -> str:
    return f"{value:.0f} %"


class TestExtremes:
    def said(self, *entries: Entry) -> str:
        return claims.extremes(entries, ("keeps", "keep"), "most", "least", percent)

    def test_largest_and_smallest(self) -> None:
        entries = Entry("b", 80), Entry("a", 97), Entry("c", 90)
        assert self.said(*entries) == "a keeps most, 97 %; b keeps least, 80 %."

    def test_ties_as_printed(self) -> None:
        assert self.said(Entry("a", 97.1), Entry("b", 96.9), Entry("c", 80)) == (
            "a and b keep most, 97 %; c keeps least, 80 %."
        )
        assert self.said(Entry("a", 97.1), Entry("b", 96.9)) == "Both are alike: 97 %."
        assert self.said(Entry("a", 97), Entry("b", 97), Entry("c", 97)) == "All 3 are alike: 97 %."

    def test_many_ties_are_a_number(self) -> None:
        entries = [Entry(name, 80) for name in "abcde"]
        assert self.said(Entry("z", 97), *entries) == "z keeps most, 97 %; 5 of them keep least, 80 %."

    def test_one_entry_is_no_extreme(self) -> None:
        assert self.said(Entry("a", 97)) == "a alone was measured: 97 %."
        assert self.said() == ""

    def test_gaps_name_no_winner(self) -> None:
        said = self.said(Entry("a", 97, complete=False), Entry("b", 80), Entry("c", 85, complete=False))
        assert said == "From 80 % to 97 %; a and c lack some of the cells."
        assert self.said(Entry("a", 97, False), Entry("b", 97)) == "97 %; a lacks some of the cells."
        assert "keeps" not in said


class TestFirst:
    @pytest.mark.parametrize(
        ("rows", "lacking", "kind"),
        [
            (SURE, (), "sure"),
            (NEAR, (), "near"),
            (OPEN, (), "open"),
            (EQUAL, (), "equal"),
            (SHARED, (), "shared"),
            (ALONE, (), "alone"),
            (NONE, (), "none"),
            ([], (), "none"),
            (SURE, ("b",), "lacking"),
            (ALONE, ("a",), "alone"),
        ],
    )
    def test_kinds(self, rows: list[Rank], lacking: tuple[str, ...], kind: str) -> None:
        assert claims.kind(rows, lacking) == kind in claims.GLANCE

    @pytest.mark.parametrize(
        ("rows", "lacking", "said"),
        [
            (SURE, (), "A has the highest score, and is told apart from all others."),
            (NEAR, (), "A has the highest score, but cannot be told from B."),
            (OPEN, (), "A has the highest score; nothing tells how sure the order is."),
            (EQUAL, (), "All 2 operators have the same score."),
            (SHARED, (), "A and B share the highest score, and are told apart from all others."),
            (ALONE, (), "A is the only operator with a score; there is nothing to compare it with."),
            (NONE, (), "No rank can be given: no operator has a score."),
            (SURE, ("b",), "Averages of B lack cells that others have, so that nobody is called first."),
        ],
    )
    def test_sentences(self, rows: list[Rank], lacking: tuple[str, ...], said: str) -> None:
        assert claims.best(rows, str.upper, lacking) == said

    def test_told_from_nobody(self) -> None:
        rows = [rank("a", 1, 1, 2, ("b",)), rank("b", 2, 1, 2, ("a",))]
        assert claims.best(rows, str) == "a has the highest score, but no other operator can be told from it."
        many = [rank("a", 1, 1, 6, tuple("bcdef")), *(rank(o, n, 1, 7) for n, o in enumerate("bcdefg", 2))]
        assert claims.best(many, str).endswith("but cannot be told from 5 of the other 6 operators.")

    def test_at_a_glance(self) -> None:
        found = [("One", SURE, ()), ("Two", NEAR, ()), ("Three", SURE, ()), ("Four", ALONE, ()), ("Five", NONE, ())]
        assert claims.glance(found, str.upper) == (
            "A is better than all others for sure in one and three; no operator is first for sure in two; "
            "there is one operator in four; there is no overall score in five."
        )
        assert claims.glance([], str) == ""
        two = [("One", NONE, ()), ("Two", [], ())]
        assert claims.glance(two, str) == "There is no overall score in one or two."

    def test_words_of_leading_need_a_lead(self) -> None:
        """No winner is named of one operator, of a tie, or of averages over different cells."""
        for rows, lacking in ((ALONE, ()), (EQUAL, ()), (NONE, ()), (SURE, ("a",))):
            said = claims.best(rows, str, lacking) + claims.glance([("T", rows, lacking)], str)
            assert "highest" not in said and "better" not in said and "share" not in said


class TestSpanAndCertainty:
    def test_span(self) -> None:
        assert claims.span([rank("a", 1, value=81.76), rank("b", 2, value=70.8)], 1, "percent") == (
            "Scores are from 70.8 to 81.8 (percent)."
        )
        assert (
            claims.span([rank("a", 1, value=1.04), rank("b", 2, value=1.02)], 1, "times")
            == "All scores are 1.0 (times)."
        )
        assert claims.span(ALONE, 1, "percent") == "The score is 50.0 (percent)."
        assert claims.span(NONE, 1, "percent") == ""

    def test_certain(self) -> None:
        def said(*spans: tuple[int, int]) -> str:
            return claims.certain(
                [rank(o, n, *s) for n, (o, s) in enumerate(zip("abcdef", spans, strict=False), 1)], str
            )

        assert said((1, 1), (2, 2)) == "Every rank is certain."
        assert said((1, 1), (2, 3), (2, 3)) == "a has a rank for certain; the others do not."
        assert said((1, 1), (2, 3), (2, 4), (3, 4)) == "a has a rank for certain; the rank of c is least certain."
        assert (
            said((1, 2), (1, 2)) == "No two operators are told apart: every rank from 1 to 2 remains possible for each."
        )
        assert said((1, 2), (1, 2), (3, 4), (3, 4)) == "No rank is certain, and all are about equally open."
        assert said((1, 3), (1, 3), (2, 3)) == "The rank of a or b is least certain."
        assert claims.certain(ALONE, str) == "Nothing was compared."
        assert claims.certain([rank("a", 1, 1, 1)], str) == "There is one operator."

    def test_leaving_out(self) -> None:
        one, two = frozenset({"a"}), frozenset({"b"})
        assert claims.left_out([one, one], [], str) == "Leaving out any one task leaves the order as it is."
        assert (
            claims.left_out([one, one], ["b", "c"], str) == "a stays first, whichever task is left out; b and c move."
        )
        both = frozenset({"a", "b"})
        assert claims.left_out([both, both], ["c"], str) == "a and b stay first, whichever task is left out; c moves."
        assert claims.left_out([one, two], ["a"], str) == "Who is first depends on which task is left out: a or b."

    def test_average_ranks(self) -> None:
        assert (
            claims.average_rank([("b", 2.0), ("a", 1.0)], 8, "task")
            == "a has the best average rank over 8 tasks, 1.00."
        )
        tie = [("a", 1.501), ("b", 1.499), ("c", 3.0)]
        assert claims.average_rank(tie, 1, "task") == "b and a share the best average rank over 1 task, 1.50."
        alike = "All average ranks over 2 task × model pairs are alike: 1.50."
        assert claims.average_rank([("a", 1.5), ("b", 1.5)], 2, "task × model") == alike
        assert claims.average_rank([], 2, "task") == ""


def covered(**states: int) -> Coverage:
    return Coverage((CoverageRow("t", "m", "bnn", "quick", states),), "the plan")


class TestCounts:
    def test_trainings(self) -> None:
        assert claims.trained(covered(done=1)) == "1 of 1 cell."
        assert claims.trained(covered(done=2), claims.STUDY) == "Runs of the study: 2 of 2 cells."
        assert claims.trained(covered(done=2, failed=1)).startswith("Incomplete: 2 of 3 cells: 1 failed.")
        stale = claims.trained(covered(done=1, stale=1))
        assert stale.startswith("Out of date: 2 of 2 cells: 1 stale.") and "bibench run SUITE --rerun stale" in stale
        assert claims.trained(covered()) == "No training has a test score among these records."

    def test_measurements(self) -> None:
        assert claims.measurements(Measured("latency", 2, 2), str) == "2 of 2 latencies."
        assert (
            claims.measurements(Measured("latency", 1, 2, {"bnn": (0, 1)}), str.upper)
            == "1 of 2 latencies: BNN lacks 1."
        )
        lacking = dict.fromkeys("abcde", (0, 1))
        assert claims.measurements(Measured("cost", 0, 5, lacking), str) == (
            "0 of 5 ratios of training times: 5 operators lack some."
        )
        assert claims.measurements(Measured("cost", 1, 1), str) == "1 of 1 ratio of training times."
        assert claims.measurements(Measured("cost", 0, 0), str) == ""

    def test_all_measured(self) -> None:
        found = [Measured("latency", 2, 2), Measured("cost", 0, 0), Measured("cost", 0, 1, {"a": (0, 1)})]
        assert claims.all_measured(found, str) == (
            "Measured: 2 of 2 latencies; 0 of 1 ratio of training times: a lacks 1."
        )
        assert claims.all_measured([], str) == ""

    def test_what_is_measured_is_counted_where_any_operator_is(self) -> None:
        """Latencies: two of fp32 and bnn, one of xnor, which is expected where bnn is."""
        more = {"kind": "latency", "metric": "latency_ms", "device": "d", "engine": "e"}
        records = [r for task in ("t", "u") for r in [*full(1, (task,), 2.0, **more), *cell(B, 1.0, task=task, **more)]]
        records += cell(X, 1.0, **more)
        found = measured(records, "latency")
        assert (found.done, found.expected, found.operators) == (5, 6, {X: (1, 2)})
        assert claims.measurements(found, str) == "5 of 6 latencies: xnor lacks 1."
        assert measured(records, "cost").expected == 0

    def test_a_failed_measurement_is_expected_and_not_there(self) -> None:
        records = [*full(1), *cell(B, 0.5), *cell(D, None)]
        assert (measured(records, "score").done, measured(records, "score").operators) == (2, {D: (0, 1)})

    def test_incomplete_places(self) -> None:
        assert claims.incomplete(0, 4) == "Every operator has a result for every cell of every task."
        assert claims.incomplete(1, 4) == "1 of 4 task × operator pairs is incomplete."
        assert claims.incomplete(2, 4) == "2 of 4 task × operator pairs are incomplete."
        assert claims.incomplete(0, 0) == "There is no cell."

    def test_wins(self) -> None:
        assert claims.wins([(1, False), (2, False)]) == "It has the best score in 1 of 2 task × model pairs"
        assert claims.wins([(1, True), (None, False)]) == (
            "It has the best score in 0 of 2 task × model pairs, and shares it in 1"
        )
        assert claims.wins([]) == "There is nothing to compare it with"

    def test_kept(self) -> None:
        assert claims.kept([80.0, 90.0], 2) == "keeps 85 % of full precision on average over 2 task × model pairs"
        assert claims.kept([80.0, 90.0], 3) == "keeps 85 % of full precision on average over 2 of 3 task × model pairs"
        assert claims.kept([80.0], 1) == "keeps 80 % of full precision"
        assert claims.kept([], 3) == ""


class TestBesideOthers:
    def test_apart(self) -> None:
        assert claims.apart([1.0, 3.0], [3.0], "the paper") == (
            "Over 2 common cells ours are 2.0 points above the paper on average (+3.0 for binarized ones)."
        )
        assert claims.apart([-1.0], [-1.0], "the paper") == "Over 1 common cell ours is 1.0 points below the paper."
        assert "to 0.1 points" in claims.apart([0.02, -0.02], [], "them")

    def test_the_protocol_of_the_papers_own_averages(self) -> None:
        assert claims.averaged_alike("the paper", "paper") == "Both sides are averaged here by the protocol paper."
        other = claims.averaged_alike("the paper", "bibench")
        assert "by the protocol bibench." in other and other.endswith("bibench report --protocol paper.")
        assert claims.averaged_alike("runs", "bibench") == "Both sides are averaged here by the protocol bibench."

    def test_why_there_is_no_test(self) -> None:
        assert claims.without_test("no critical difference: one task") == "There is no critical difference: one task."
        assert claims.without_test("ties are many") == "Ties are many."
