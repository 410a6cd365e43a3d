"""Ratios of standard deviations against computation by hand."""

from statistics import stdev

import numpy as np
import pytest

from bibench.statistics.spread import Spread

from .worlds import FP, B

FULL, OWN = [0.9, 0.8, 0.7, 0.86], [0.5, 0.7, 0.62]


def test_deviations_are_those_of_samples_where_runs_are_missing() -> None:
    accuracies = np.array([FULL, [*OWN, np.nan]]).T.reshape(2, 2, 2)  # two settings of two seeds
    (ratio,) = Spread([FP, B], accuracies).ratios()
    assert ratio == pytest.approx(100 * stdev(FULL) / stdev(OWN))


def test_without_two_runs_or_any_spread_there_is_no_ratio() -> None:
    alone = np.array([FULL, [0.5, *[np.nan] * 3]]).T.reshape(2, 2, 2)
    equal = np.array([FULL, [0.5] * 4]).T.reshape(2, 2, 2)
    for accuracies in (alone, equal, np.flip(equal, -1)):
        assert np.isnan(Spread([FP, B], accuracies).ratios()).all()


def test_a_draw_takes_the_same_seeds_of_all_operators() -> None:
    accuracies = np.array([FULL, [*OWN, 0.4]]).T.reshape(2, 2, 2)
    (ratio,) = Spread([FP, B], accuracies).ratios(np.array([[1, 1], [0, 1]]))
    assert ratio == pytest.approx(100 * stdev([0.8, 0.8, 0.7, 0.86]) / stdev([0.7, 0.7, 0.62, 0.4]))
