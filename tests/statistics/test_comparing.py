"""Comparisons of pairs: their p-values against scipy's, their corrections, and how often they are wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bibench.errors import BiBenchError
from bibench.statistics import comparisons, ranks
from bibench.statistics.correcting import CORRECTIONS, benjamini_hochberg, bonferroni, corrected, holm

from ..tracks.records import scored
from .worlds import B, D, X, cell, full, world

LT = "learning_task"


def test_p_is_that_of_the_paired_t_test_where_there_is_one_cell() -> None:
    one, other = (0.50, 0.53, 0.51, 0.56, 0.52), (0.51, 0.55, 0.515, 0.565, 0.55)
    (pair,) = comparisons(full(5) + cell(B, *one) + cell(X, *other), LT, samples=20_000)
    assert pair.p == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=0.1)
    assert pair.difference == pytest.approx(100 * (np.mean(one) - np.mean(other)))
    assert (pair.adjusted, pair.comparisons, pair.over) == (pair.p, 1, "seeds")


def test_p_over_tasks_is_about_that_of_a_paired_t_test() -> None:
    """The overall metric is a quadratic mean, which is about the mean where scores are close together."""
    random = np.random.default_rng(5)
    values = {o: 0.7 + 0.01 * random.standard_normal(9) for o in (B, X)}
    values[X] += 0.008
    table = {(f"t{t}", "m", o, 0): float(v[t]) for o, v in values.items() for t in range(9)}
    (pair,) = comparisons([*full(1, [f"t{t}" for t in range(9)]), *scored(table)], LT, samples=20_000)
    assert pair.over == "tasks"
    assert pair.p == pytest.approx(stats.ttest_rel(values[B], values[X]).pvalue, rel=0.1)


def test_p_is_smaller_than_one_in_the_number_of_samples() -> None:
    """Of 1000 samples none would be below 0.001; after 28 comparisons at 95 % nothing could be told apart."""
    pairs = comparisons(world({B: {"t": 0.5}, X: {"t": 0.7}}, 5, 0.002), LT, samples=100)
    assert pairs[0].p < 1e-6 and pairs[0].better == X


def test_differences_that_do_not_vary_at_all_are_judged_by_their_signs() -> None:
    """Three seeds that all differ by the same amount: heads three times in a row, p = 2^-2, and no proof."""
    records = full(3) + cell(B, 0.5, 0.5, 0.5) + cell(X, 0.6, 0.6, 0.6) + cell(D, 0.5, 0.5, 0.5)
    found = {(c.operator, c.other): c for c in comparisons(records, LT)}
    assert found[B, X].p == found[X, D].p == 0.25
    assert found[B, D].p == 1.0
    assert {c.better for c in found.values()} == {""}


def test_without_repetitions_there_is_no_test() -> None:
    (pair,) = comparisons(full(1) + cell(B, 0.5) + cell(X, 0.9), LT)
    assert (pair.p, pair.adjusted, pair.better) == (None, None, "")
    assert "no test" in pair.note


def test_less_is_better_where_it_is() -> None:
    records = []
    for seed in range(4):
        for operator, drop in (("fp32", 0.1), (B, 0.3), (X, 0.2)):
            for s in range(3):
                more = {"corruption": "fog" if s else "none", "severity": s, "kind": "corruption"}
                value = 0.9 - (drop + 0.001 * ((7 * seed + len(operator)) % 5)) * s / 2
                records += scored({("t", "m", operator, seed): value}, **more)
    (pair,) = comparisons(records, "corruption_robustness", metric="mce")
    assert pair.difference > 0 and pair.better == X


def test_the_number_of_comparisons_is_that_of_pairs() -> None:
    names = ["bnn", "xnor", "dorefa", "bireal", "xnorpp", "reactnet", "recu", "fda"]
    records = world({o: {"t": 0.5 + n / 100} for n, o in enumerate(names)}, 3, 0.005)
    assert len(comparisons(records, LT)) == 28
    assert {(r.comparisons, r.correction) for r in ranks(records, LT)} == {(28, "holm")}
    by_correction = {c: sum(bool(p.better) for p in comparisons(records, LT, correction=c)) for c in CORRECTIONS}
    assert by_correction["bonferroni"] <= by_correction["holm"] <= by_correction["bh"] <= by_correction["none"]
    assert by_correction["bonferroni"] < by_correction["none"]


def test_equal_operators_are_seldom_told_apart() -> None:
    """28 comparisons of eight equal operators: one by one a twentieth of them would be wrong, in most worlds some."""
    names = ["bnn", "xnor", "dorefa", "bireal", "xnorpp", "reactnet", "recu", "fda"]
    wrong = dict.fromkeys(("holm", "none"), 0)
    for of in range(30):
        records = world({o: {"t": 0.6, "u": 0.6} for o in names}, 4, 0.01, of=of, shared=0.01)
        for correction in wrong:
            wrong[correction] += any(c.better for c in comparisons(records, LT, samples=200, correction=correction))
    assert wrong["holm"] <= 5  # at 5 %, more has a chance of 0.3 %
    assert wrong["none"] >= 10


def test_corrections_by_hand() -> None:
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bonferroni(p) == pytest.approx([0.04, 0.16, 0.12, 0.02])
    assert benjamini_hochberg(p) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert corrected(p, "none") is not p and (corrected(p, "none") == p).all()
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])
    assert len(holm(np.empty(0))) == len(benjamini_hochberg(np.empty(0))) == 0
    with pytest.raises(BiBenchError, match="correction must be one of holm, bonferroni, bh, none; got 'tukey'"):
        corrected(p, "tukey")


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_corrections_are_lawful(values: list[float]) -> None:
    p = np.array(values)
    adjusted = {name: corrected(p, name) for name in CORRECTIONS}
    assert adjusted["bh"] == pytest.approx(stats.false_discovery_control(p))
    assert (adjusted["none"] <= adjusted["bh"] + 1e-12).all() and (adjusted["bh"] <= adjusted["holm"] + 1e-12).all()
    assert (adjusted["holm"] <= adjusted["bonferroni"] + 1e-12).all() and (adjusted["bonferroni"] <= 1).all()
    order = np.argsort(p, kind="stable")
    for found in adjusted.values():
        assert (np.diff(found[order]) >= -1e-12).all()
