"""Average ranks, the Friedman test and critical differences, against Demšar's tables and worked example and scipy."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bibench.errors import BiBenchError
from bibench.statistics import critical_differences
from bibench.statistics.friedman import critical_value, friedman, groups_of, nemenyi, ranks_within

from ..tracks.records import scored
from .worlds import B, D, X, cell, full, world

LT = "learning_task"

AUC = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
"""Demšar, table 6: C4.5 with m, cf, and both tuned on 14 data sets (0.975 is printed twice, with ranks 2 and 3)."""


def test_the_worked_example() -> None:
    ranks = ranks_within(AUC)
    assert ranks.mean(0) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    found = friedman(ranks)
    assert found.chi2 == pytest.approx(stats.friedmanchisquare(*AUC.T).statistic)
    assert found.chi2_p == pytest.approx(stats.friedmanchisquare(*AUC.T).pvalue)
    assert nemenyi(14, 4) == pytest.approx(1.25, abs=5e-3)
    assert nemenyi(14, 4, 0.90) == pytest.approx(1.12, abs=5e-3)
    assert groups_of(sorted(ranks.mean(0)), nemenyi(14, 4)) == [(0, 3)]
    assert groups_of(sorted(ranks.mean(0)), nemenyi(14, 4, 0.90)) == [(0, 2), (2, 3)]  # 3.143 - 2.000 > 1.12


def test_his_statistics_without_equal_ranks() -> None:
    """χ²_F = 9.28 and F_F = 3.69 of his example, which leave the correction for equal ranks out."""
    n, k, average = 14, 4, np.array([3.143, 2.000, 2.893, 1.964])
    chi2 = 12 * n / (k * (k + 1)) * ((average**2).sum() - k * (k + 1) ** 2 / 4)
    assert chi2 == pytest.approx(9.28, abs=0.01)
    assert (n - 1) * chi2 / (n * (k - 1) - chi2) == pytest.approx(3.69, abs=0.01)
    ranks = np.argsort(np.argsort(np.random.default_rng(0).random((n, k)))) + 1.0
    plain = 12 * n / (k * (k + 1)) * ((ranks.mean(0) ** 2).sum() - k * (k + 1) ** 2 / 4)
    found = friedman(ranks)
    assert found.chi2 == pytest.approx(plain)
    assert found.f == pytest.approx((n - 1) * plain / (n * (k - 1) - plain))
    assert found.f_p == pytest.approx(stats.f.sf(found.f, k - 1, (k - 1) * (n - 1)))


def test_critical_values_are_those_of_his_table() -> None:
    table = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    assert [critical_value(k) for k in range(2, 11)] == pytest.approx(list(table), abs=1.5e-3)
    looser = (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920)
    assert [critical_value(k, 0.90) for k in range(2, 11)] == pytest.approx(list(looser), abs=1.5e-3)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(3, 6), st.integers(0, 999), st.sampled_from([0.5, 0.01]))
def test_ranks_and_statistic_are_scipys(blocks: int, k: int, of: int, step: float) -> None:
    merits = np.round(np.random.default_rng(of).random((blocks, k)) / step) * step
    ranks = ranks_within(merits)
    assert ranks == pytest.approx(stats.rankdata(-merits, axis=1))
    if (np.ptp(merits, axis=1) > 0).any():
        assert friedman(ranks).chi2 == pytest.approx(stats.friedmanchisquare(*merits.T).statistic, abs=1e-9)


def test_edges() -> None:
    agreed = friedman(np.tile([1.0, 2.0, 3.0], (4, 1)))
    assert (agreed.f, agreed.f_p) == (math.inf, 0.0)
    assert friedman(np.full((4, 3), 2.0)).f_p == 1.0
    for blocks, k in ((1, 3), (3, 1)):
        with pytest.raises(BiBenchError, match="at least two operators over at least two tasks"):
            nemenyi(blocks, k)


@given(st.lists(st.floats(1, 9), min_size=2, max_size=9), st.floats(0.1, 9))
def test_groups_join_what_differs_by_less_and_nothing_else(values: list[float], difference: float) -> None:
    ranks = sorted(values)
    groups = groups_of(ranks, difference)
    for a in range(len(ranks)):
        for b in range(a + 1, len(ranks)):
            near = ranks[b] - ranks[a] < difference - 1e-9
            assert near == any(first <= a and b <= last for first, last in groups)
    assert all(x[0] < y[0] and x[1] < y[1] for x, y in pairwise(groups))


def test_average_ranks_of_a_track_are_over_its_tasks() -> None:
    tasks = [f"t{n}" for n in range(12)]
    means = {B: dict.fromkeys(tasks, 0.5), X: dict.fromkeys(tasks, 0.7), D: dict.fromkeys(tasks, 0.6)}
    means[B]["t0"] = 0.9
    (found,) = critical_differences(world(means, 2, 0.001), LT)
    assert found.operators == (X, D, B)
    assert found.average_ranks == pytest.approx((13 / 12, 25 / 12, 34 / 12))
    assert found.blocks == tuple(sorted(tasks))
    assert found.difference == pytest.approx(nemenyi(12, 3))
    assert found.groups == ((D, B),) and found.letters == {X: "a", D: "b", B: "b"}
    assert found.note.startswith("k = 3 is not above 5, so F")
    assert found.title.startswith("Average ranks over 12 tasks; Friedman F(2, 22) = ")


def test_a_group_of_tasks_is_one_and_tasks_that_some_lack_are_left_out() -> None:
    records = full(1, ("g1", "g2"), group="g") + full(1, ("t", "u"))
    for operator, base in ((B, 0.5), (X, 0.6)):
        for task in ("g1", "g2"):
            records += cell(operator, base, task=task, group="g")
        records += cell(operator, base, task="t")
    (found,) = critical_differences(records + cell(B, 0.4, task="u"), LT)
    assert found.blocks == ("g", "t")
    assert "1 of 3 tasks left out, which some operators lack" in found.note


def test_too_little_is_said() -> None:
    (one,) = critical_differences(full(1) + cell(B, 0.5) + cell(X, 0.6), LT)
    assert (one.difference, one.groups, one.letters, one.test) == (None, (), {}, "")
    assert one.note == "no critical difference: it needs two operators and two tasks, there are 2 and 1"
    table = {(t, "m", o, 0): v for t in "tu" for o, v in ((B, 0.5), (X, 0.6), (D, 0.7))}
    (few,) = critical_differences([*full(1, "tu"), *scored(table)], LT)
    assert few.difference == pytest.approx(2.343 * math.sqrt(12 / 12), abs=2e-3)
    assert "average ranks of 3 cannot differ by more than 2, so 2 tasks tell no pair apart" in few.note
    assert "N = 2 is not above 10 and k = 3 is not above 5" in few.note
    assert few.groups == ((D, X, B),) and few.title.startswith("Average ranks over 2 tasks; Friedman F(2, 2) = ∞")
    assert json.loads(json.dumps(few.to_dict(), allow_nan=False))["f"] is None


def test_where_the_friedman_test_finds_nothing_no_pair_is_told_apart() -> None:
    random = np.random.default_rng(2)
    table = {(f"t{t}", "m", o, 0): float(random.uniform(0.4, 0.6)) for t in range(12) for o in (B, X, D)}
    (found,) = critical_differences([*full(1, [f"t{t}" for t in range(12)]), *scored(table)], LT)
    assert found.p > 0.05
    assert len(found.groups) == 1 and len(found.groups[0]) == 3
    assert "finds no difference" in found.note
