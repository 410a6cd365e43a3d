"""Is A better than B: paired by cell, with intervals that hold the truth, and no answer where there is none."""

import math

import numpy as np
import pytest

from bibench.foundation.errors import BiBenchError
from bibench.published import records as published
from bibench.records.record import Record
from bibench.statistics.claims import answer
from bibench.statistics.comparing import Inference
from bibench.statistics.versus import Versus, found_name, versus

from .worlds import B, D, X, cell, full, world

QUICK = Inference(samples=400)


def compared(records: list[Record], one: str = B, two: str = X, **more: object) -> list[Versus]:
    return versus(records, one, two, **{"how": QUICK, **more})  # type: ignore[arg-type]


class TestPairs:
    def test_the_difference_is_of_common_cells_alone(self) -> None:
        """Task v, where bnn would win, has no xnor; seed 2 of t has no bnn."""
        records = [
            *full(3, ("t", "u")),
            *full(1, ("v",)),
            *cell(B, 0.50, 0.52),
            *cell(X, 0.60, 0.62, 0.10),
            *cell(B, 0.3, 0.3, 0.3, task="u"),
            *cell(X, 0.3, 0.3, 0.3, task="u"),
            *cell(B, 0.99, task="v"),
        ]
        *tasks, overall = compared(records)
        assert [(row.task, row.cells, row.seeds) for row in tasks] == [("t", 1, (2, 2)), ("u", 1, (3, 3))]
        assert tasks[0].difference == pytest.approx(-10) and tasks[1].difference == pytest.approx(0)
        assert (overall.task, overall.cells, overall.tasks) == ("", 2, 2)
        assert overall.value == pytest.approx(100 * math.sqrt((0.51**2 + 0.3**2) / 2))

    def test_a_shift_of_all_seeds_cancels(self) -> None:
        """Seeds differ by far more than the operators do, but both of a pair have the same luck."""
        records = world({B: {"t": 0.5, "u": 0.5}, X: {"t": 0.52, "u": 0.52}}, 5, 0.001, shared=0.1)
        *_, overall = compared(records)
        assert overall.better == X and overall.low is not None and overall.high is not None
        assert overall.low < -2 < overall.high < 0

    def test_the_interval_holds_the_truth_as_often_as_it_says(self) -> None:
        held = 0
        for n in range(60):
            *_, overall = compared(world({B: {"t": 0.5}, X: {"t": 0.53}}, 5, 0.02, of=n))
            assert overall.low is not None and overall.high is not None
            held += overall.low <= -3 <= overall.high
        assert held >= 52  # of 60 at 95 %: fewer has a chance under 1 in 100

    def test_interval_and_verdict_agree(self) -> None:
        for n in range(20):
            *_, overall = compared(world({B: {"t": 0.5}, X: {"t": 0.52}}, 4, 0.01, of=n))
            assert overall.low is not None and overall.high is not None
            assert bool(overall.better) == (overall.high < 0 or overall.low > 0)

    def test_turned_round_it_is_the_same(self) -> None:
        records = world({B: {"t": 0.5, "u": 0.4}, X: {"t": 0.6, "u": 0.3}}, 3, 0.02)
        for here, there in zip(compared(records), compared(records, X, B), strict=True):
            assert here.difference == pytest.approx(-there.difference)
            assert (here.p, here.better) == (pytest.approx(there.p), there.better)
            assert (here.low, here.high) == pytest.approx((-(there.high or 0), -(there.low or 0)))
        assert answer(compared(records)[-1]).split(": ")[-1] == answer(compared(records, X, B)[-1]).split(": ")[-1]

    def test_tasks_are_corrected_for_their_number_and_the_overall_row_is_not(self) -> None:
        *tasks, overall = compared(world({B: {"t": 0.5, "u": 0.5}, X: {"t": 0.53, "u": 0.53}}, 4, 0.02))
        assert {row.comparisons for row in tasks} == {2} and overall.comparisons == 1
        assert overall.adjusted == overall.p
        assert all((row.adjusted or 0) >= (row.p or 1) for row in tasks)


class TestWithoutAnAnswer:
    def test_a_tie(self) -> None:
        records = [*full(2), *cell(B, 0.5, 0.5), *cell(X, 0.5, 0.5)]
        *_, overall = compared(records)
        assert (overall.difference, overall.better, overall.p) == (0, "", 1.0)
        assert answer(overall).startswith("bnn and xnor are not told apart: bnn and xnor score the same to 1 digit (")

    def test_one_cell_of_one_seed(self) -> None:
        task, overall = compared([*full(1), *cell(B, 0.5), *cell(X, 0.6)])
        for row in (task, overall):
            assert (row.p, row.low, row.better, row.seeds) == (None, None, "", (1, 1))
        assert overall.note == "no interval: one task"
        said = "One seed: xnor scores 10.0 points above bnn on 1 cell; another seed may say otherwise."
        assert answer(overall) == said

    def test_no_common_cell(self) -> None:
        records = [*full(1, ("t", "u")), *cell(B, 0.5), *cell(X, 0.6, task="u")]
        with pytest.raises(BiBenchError, match=r"share no cell .*: bnn has t m; xnor has u m"):
            compared(records)

    def test_a_failed_cell_is_none(self) -> None:
        with pytest.raises(BiBenchError, match="share no cell"):
            compared([*full(1), *cell(B, 0.5), *cell(X, None)])

    def test_two_seeds_say_how_little_they_are(self) -> None:
        records = world({B: {"t": 0.5}, X: {"t": 0.7}}, 2, 0.001)
        assert "two seeds or fewer" in answer(compared(records)[-1])
        assert "two seeds" not in answer(compared(world({B: {"t": 0.5}, X: {"t": 0.7}}, 3, 0.001))[-1])

    def test_the_same_operator_twice(self) -> None:
        with pytest.raises(BiBenchError, match="both operators are 'bnn'; name two"):
            compared([*full(1), *cell(B, 0.5)], B, B)


class TestNames:
    RECORDS = [*full(1), *cell(B, 0.5), *cell("recu[scale_init=weight]", 0.6), *cell("dorefa[a=1]", 0.6)]
    RECORDS += cell("dorefa[a=2]", 0.6)

    def test_a_name_alone_means_the_only_one_with_options(self) -> None:
        assert found_name("recu", self.RECORDS) == "recu[scale_init=weight]"

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("recv", r"no record has the operator 'recv'; did you mean 'recu\[scale_init=weight\]'\?"),
            ("BNN", "no record has the operator 'BNN'; did you mean 'bnn'"),
            ("dorefa", r"'dorefa' is there with several options; name one of dorefa\[a=1\], dorefa\[a=2\]"),
            ("fp32", "scores are relative to full precision"),
            ("quaternion", r"no record has the operator 'quaternion'\. The records have: bnn"),
        ],
    )
    def test_others_are_refused_with_the_likely_one(self, name: str, said: str) -> None:
        with pytest.raises(BiBenchError, match=said):
            found_name(name, self.RECORDS)


class TestPublished:
    RECORDS = published()

    def test_one_seed_is_said_and_tasks_tell_the_rest(self) -> None:
        *tasks, overall = compared(self.RECORDS, "reactnet", "recu")
        assert (len(tasks), overall.cells, overall.seeds, overall.over) == (8, 55, (1, 1), "tasks")
        said = answer(overall)
        assert said.startswith("One seed: reactnet scores 5.7 points above recu on 55 cells;")
        assert "Over 8 tasks they are not told apart (95 % interval −" in said

    def test_the_sentence_turns_the_interval_to_who_is_ahead(self) -> None:
        row = compared(self.RECORDS, "bnn", "xnor")[-1]
        assert row.low is not None and row.high is not None and row.low < row.high
        assert f"(95 % interval −{row.high:.1f} to +{-row.low:.1f})" in answer(row)

    def test_ratios_are_factors_and_need_no_seeds(self) -> None:
        row = compared(self.RECORDS, "reactnet", "bnn", track="hardware_inference", metric="speedup")[-1]
        assert row.ratio and row.difference < 1 and row.high is not None
        said = answer(row)
        assert said.startswith(f"bnn is better than reactnet by a factor of {1 / row.difference:.2f} (")
        assert f"interval {1 / row.high:.2f} to " in said and said.endswith(", 174 cells).")

    def test_less_is_better_where_it_is(self) -> None:
        row = compared(self.RECORDS, "bnn", "reactnet", track="corruption_robustness", metric="mce")[-1]
        assert row.value > row.against
        assert "reactnet scores 8.9 points (less is better) below bnn" in answer(row)

    def test_a_missing_metric_names_others_and_why(self) -> None:
        with pytest.raises(BiBenchError, match=r"needs time_cost .*with --metric: sensitivity"):
            compared(self.RECORDS, "bnn", "xnor", track="training_consumption")
        with pytest.raises(BiBenchError, match=r"no spedup .* did you mean 'speedup'"):
            compared(self.RECORDS, "bnn", "reactnet", track="hardware_inference", metric="spedup")
        with pytest.raises(BiBenchError, match="recu: no score of this track"):
            compared(self.RECORDS, "reactnet", "recu", track="hardware_inference")


def test_operators_that_lack_a_task_are_compared_on_the_others() -> None:
    random = np.random.default_rng(0)
    values = 0.5 + 0.01 * random.standard_normal((2, 4))
    records = [*full(4, ("t", "u")), *cell(B, *values[0]), *cell(X, *values[1]), *cell(D, *values[1], task="u")]
    assert [row.task for row in compared(records)] == ["t", ""]
