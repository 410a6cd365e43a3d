"""Ranks, ties and the ranking without each task, on records whose answer is known."""

import random as random_

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bibench.statistics import leave_one_out, ranks
from bibench.statistics.leaving_out import kendall
from bibench.statistics.ranking import positions

from ..tracks.records import scored
from .worlds import FP, B, D, X, cell, full, world

LT = "learning_task"


def by_operator(rows: list) -> dict:
    return {row.operator: row for row in rows}


def test_operators_far_apart_have_ranks_of_their_own() -> None:
    found = by_operator(ranks(world({B: {"t": 0.5}, X: {"t": 0.7}, D: {"t": 0.6}}, 5), LT))
    assert {o: (r.rank, r.best, r.worst, r.ties) for o, r in found.items()} == {
        X: (1, 1, 1, ()),
        D: (2, 2, 2, ()),
        B: (3, 3, 3, ()),
    }
    assert len({r.groups for r in found.values()}) in (1, 3)  # no letters at all, or one each


def test_a_difference_whose_interval_contains_zero_is_a_shared_rank() -> None:
    records = (
        full(4) + cell(B, 0.50, 0.52, 0.54, 0.56) + cell(X, 0.51, 0.51, 0.55, 0.55) + cell(D, 0.9, 0.91, 0.9, 0.91)
    )
    found = by_operator(ranks(records, LT))
    assert (found[D].rank, found[B].rank, found[X].rank) == (1, 2, 2)
    assert found[B].ties == (X,) and found[X].ties == (B,) and found[D].ties == ()
    assert found[B].groups == found[X].groups != found[D].groups
    assert (found[B].best, found[B].worst) == (2, 3)


def test_ties_that_are_no_equivalence_share_letters() -> None:
    """b is tied with a and with c, but a is better than c for sure: ranks 1, 1, 2 and letters a, ab, b."""
    noise = (-0.02, -0.007, 0.007, 0.02)
    opposite = tuple(-n for n in noise)
    records = full(4) + cell(B, *(0.60 + n for n in noise)) + cell(X, *(0.58 + n for n in opposite))
    records += cell(D, *(0.56 + n for n in noise))
    found = by_operator(ranks(records, LT))
    assert [found[o].rank for o in (B, X, D)] == [1, 1, 2]
    assert [found[o].groups for o in (B, X, D)] == ["a", "ab", "b"]
    assert found[X].ties == (B, D)


def test_equal_scores_share_a_rank_even_without_any_spread() -> None:
    rows = ranks(full(1) + cell(B, 0.5) + cell(X, 0.5) + cell(D, 0.6), LT)
    assert [(r.operator, r.rank, r.best, r.groups) for r in rows] == [
        (D, 1, None, ""),
        (B, 2, None, ""),
        (X, 2, None, ""),
    ]
    assert all("no interval" in r.note for r in rows)


def test_what_varies_is_seeds_where_there_are_any_and_else_tasks() -> None:
    means = {B: {"t": 0.5, "u": 0.6, "v": 0.4}, X: {"t": 0.7, "u": 0.8, "v": 0.6}}
    assert {r.over for r in ranks(world(means, 3), LT)} == {"seeds"}
    one = ranks(world(means, 1, 0.001), LT)
    assert {r.over for r in one} == {"tasks"}
    assert [(r.operator, r.rank) for r in one] == [(X, 1), (B, 2)]  # 20 points on every task: paired, for sure


def test_operators_are_compared_on_the_cells_that_both_have() -> None:
    """xnor lacks the hard task, so its score is higher; on what both have it is worse."""
    records = world({B: {"t": 0.9, "u": 0.3}, X: {"t": 0.8}}, 4, 0.005)
    found = by_operator(ranks(records, LT))
    assert found[X].value > found[B].value
    assert (found[B].rank, found[X].rank) == (1, 2)
    assert found[X].note == "1 of 2 tasks"


def test_one_seed_of_several_is_said_to_be_one() -> None:
    found = by_operator(ranks(full(2) + cell(B, 0.5, 0.6) + cell(X, 0.4, None), LT))
    assert (found[X].low, found[X].note) == (None, "1 of 2 cells; no interval over seeds: no cell has two")
    assert found[B].note == ""


def test_less_is_better_for_the_mean_corruption_error() -> None:
    records = []
    for seed in range(3):
        for operator, drop in ((FP, 0.1), (B, 0.3), (X, 0.2)):
            for s in range(3):
                more = {"corruption": "fog" if s else "none", "severity": s, "kind": "corruption"}
                records += scored({("t", "m", operator, seed): 0.9 - drop * s / 2 - 0.001 * seed * s}, **more)
    assert [r.operator for r in ranks(records, "corruption_robustness", metric="mce")] == [X, B]
    assert [r.operator for r in ranks(records, "corruption_robustness", metric="om")] == [X, B]


def test_an_operator_without_a_score_has_no_rank() -> None:
    rows = ranks(full(2) + cell(B, 0.5, 0.6) + cell(X, None, None), LT)
    assert [(r.operator, r.rank) for r in rows] == [(B, 1), (X, None)]
    assert (rows[1].ties, rows[1].best) == ((), None)


@settings(max_examples=15)
@given(st.randoms(use_true_random=False), st.lists(st.floats(0.1, 0.9), min_size=2, max_size=4))
def test_ranks_are_lawful(shuffle: random_.Random, means: list[float]) -> None:
    names = ["bnn", "xnor", "dorefa", "recu"][: len(means)]
    records = world({name: {"t": m, "u": m / 2} for name, m in zip(names, means, strict=True)}, 3, 0.05)
    rows = ranks(records, LT, samples=100)
    shuffle.shuffle(records)
    for one, other in zip(rows, ranks(records, LT, samples=100), strict=True):
        assert (one.operator, one.rank, one.best, one.worst, one.groups) == (
            *(other.operator, other.rank, other.best, other.worst, other.groups),
        )
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    found = by_operator(rows)
    assert min(r.rank for r in rows) == 1
    for r in rows:
        assert 1 <= r.best <= r.worst <= len(rows)
        for other in r.ties:
            assert r.operator in found[other].ties
            assert set(r.groups) & set(found[other].groups)


def test_positions() -> None:
    assert positions([3.0, None, 5.0, 3.0]) == [2, None, 1, 2]
    assert positions([3.0, 5.0], -1) == [1, 2]


def test_leave_one_out_by_hand() -> None:
    """bnn leads on t alone; without t the order turns round."""
    records = full(1, "tuv")
    for operator, values in ((B, (1.0, 0.3, 0.3)), (X, (0.2, 0.5, 0.5))):
        for task, value in zip("tuv", values, strict=True):
            records += cell(operator, value, task=task)
    rows = {row.left_out: row for row in leave_one_out(records, LT)}
    assert rows[""].ranks == {B: 1, X: 2} and rows[""].tau == 1
    assert rows["t"].ranks == {X: 1, B: 2} and rows["t"].tau == -1
    assert rows["t"].moved == (B, X)
    assert rows["u"].ranks == {B: 1, X: 2} and rows["u"].moved == ()
    assert list(rows) == ["", "t", "u", "v"]


def test_a_group_is_left_out_as_one_task_and_one_task_is_not_left_out() -> None:
    records = full(1, ("g1", "g2"), group="g") + cell(B, 0.5, task="g1", group="g") + cell(B, 0.5, task="g2", group="g")
    assert [r.left_out for r in leave_one_out(records, LT)] == [""]
    records += full(1, "t") + cell(B, 0.6)
    assert [r.left_out for r in leave_one_out(records, LT)] == ["", "g", "t"]


def test_who_has_nothing_left_is_said() -> None:
    records = full(1, "tu") + cell(B, 0.5) + cell(B, 0.5, task="u") + cell(X, 0.6)
    rows = {row.left_out: row for row in leave_one_out(records, LT)}
    assert rows["t"].ranks == {B: 1}
    assert rows["t"].note == "nothing is left of xnor"
    assert rows["t"].tau is None


def test_kendalls_tau_b() -> None:
    assert kendall([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)
    assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / 6**0.5)
    assert kendall([1, None], [1, 2]) is None
