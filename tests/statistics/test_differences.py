"""Paired differences against computation by hand."""

import random as random_

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bibench.foundation.errors import BiBenchError
from bibench.statistics import Difference, differences

from .worlds import FP, B, D, X, cell, full, world


def rows(records: list, **more: object) -> tuple[list[Difference], list[Difference]]:
    found = differences(records, **more)
    return [d for d in found if d.task], [d for d in found if not d.task]


def test_pairs_of_one_cell_and_their_t_interval() -> None:
    (row,), (overall,) = rows(full(3, value=0.5) + cell(B, 0.50, 0.60, 0.70) + cell(X, 0.48, 0.59, 0.67))
    assert (row.operator, row.other, row.pairs, row.unit) == (B, X, 3, "percentage points")
    assert row.mean == pytest.approx(2)  # of 2, 1 and 3 points
    assert row.std_error == pytest.approx(1 / 3**0.5)
    assert row.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)
    assert row.tie is True
    assert (row.won, row.lost) == (1, 0)
    assert overall.mean == pytest.approx(4)  # full precision has half the points
    assert overall.low == pytest.approx(4 - 2 * 4.302653 / 3**0.5, abs=1e-5)
    assert overall.unit == "percent of full precision"


def test_overall_is_the_mean_over_cells_with_the_variances_of_all() -> None:
    records = (
        full(2, "tu")
        + cell(B, 0.5, 0.6)
        + cell(X, 0.4, 0.4)
        + cell(B, 0.3, 0.3, task="u")
        + cell(X, 0.4, 0.5, task="u")
    )
    _, (overall,) = rows(records)
    assert overall.mean == pytest.approx(0)  # 15 on t, -15 on u
    variance = 50 / 2  # of 10 and 20, and of -10 and -20: s² = 50, n = 2
    assert overall.std_error == pytest.approx((2 * variance) ** 0.5 / 2)
    assert overall.high == pytest.approx(4.302653 * overall.std_error, abs=1e-4)  # two degrees of freedom
    assert (overall.cells, overall.won, overall.lost, overall.pairs) == (2, 1, 1, 4)


def test_seeds_that_do_not_pair_are_said() -> None:
    (row,), (overall,) = rows(full(4) + cell(B, 0.5, 0.6) + cell(X, 0.5, 0.6, first=2))
    assert (row.mean, row.pairs, row.tie) == (None, 0, None)
    assert row.note == "no seeds pair: bnn has 0, 1; xnor has 2, 3"
    assert (overall.mean, overall.note) == (None, "0 of 1 cells")
    (row,), _ = rows(full(3) + cell(B, 0.5, 0.6, None) + cell(X, 0.4, 0.5, 0.6))
    assert (row.pairs, row.note) == (2, "2 pairs only: bnn has 0, 1; xnor has 0, 1, 2")


@pytest.mark.parametrize("score", [0.0, -0.2])
def test_full_precision_that_learned_nothing_is_no_measure(score: float) -> None:
    records = full(2, value=score) + cell(B, 0.5, 0.6) + cell(X, 0.4, 0.4)
    records += full(2, "u", value=0.5) + cell(B, 0.3, 0.3, task="u") + cell(X, 0.2, 0.2, task="u")
    found, (overall,) = rows(records)
    assert [row.mean for row in found] == [pytest.approx(15), pytest.approx(10)]  # points need no measure
    assert (overall.mean, overall.cells, overall.note) == (pytest.approx(20), 1, "1 of 2 cells")


def test_one_pair_has_no_interval() -> None:
    (row,), (overall,) = rows(full(1) + cell(B, 0.5) + cell(X, 0.4))
    assert (row.mean, row.low, row.note) == (pytest.approx(10), None, "one pair: no spread is known")
    assert (overall.low, overall.note) == (None, "1 cells have one pair")


def test_all_pairs_or_against_one() -> None:
    records = world({B: {"t": 0.5}, X: {"t": 0.6}, D: {"t": 0.7}}, 2)
    assert [(d.operator, d.other) for d in rows(records)[1]] == [(B, X), (B, D), (X, D)]
    assert [(d.operator, d.other) for d in rows(records, against=FP)[1]] == [(B, FP), (X, FP), (D, FP)]
    assert [(d.operator, d.other) for d in rows(records, against=X)[1]] == [(B, X), (D, X)]
    with pytest.raises(BiBenchError, match=r"recu.*bnn, xnor"):
        differences(records, against="recu")


def test_models_recipes_and_sources_are_never_paired_with_each_other() -> None:
    records = full(2) + cell(B, 0.5, 0.6) + cell(X, 0.4, 0.5, recipe="other") + cell(D, 0.1, 0.2, source="published")
    assert all(d.mean is None for d in differences(records))


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_truth(seeds: int) -> None:
    hits = 0
    for trial in range(300):
        found = differences(
            world({B: {"t": 0.55, "u": 0.4}, X: {"t": 0.5, "u": 0.4}}, seeds, 0.01, of=trial, shared=0.1)
        )
        hits += found[-1].low <= 2.5 <= found[-1].high
    assert abs(hits / 300 - 0.95) < 0.04


@settings(max_examples=25)
@given(st.randoms(use_true_random=False), st.integers(0, 1000))
def test_order_does_not_matter_and_swapping_turns_the_sign(shuffle: random_.Random, of: int) -> None:
    records = world({B: {"t": 0.5, "u": 0.4}, X: {"t": 0.6, "u": 0.3}}, 3, 0.05, of=of)
    before = differences(records, against=X)
    shuffle.shuffle(records)
    key = lambda d: (d.task, d.operator)  # noqa: E731
    for one, other in zip(sorted(before, key=key), sorted(differences(records, against=X), key=key), strict=True):
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))
    turned = differences(records, against=B)
    assert [d.mean for d in sorted(turned, key=key)] == pytest.approx([-d.mean for d in sorted(before, key=key)])
    assert np.isfinite([d.low for d in before]).all()
