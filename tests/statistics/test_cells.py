"""Means, standard errors and t-intervals against computation by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from bibench.foundation.errors import BiBenchError
from bibench.records.record import Record
from bibench.statistics import cells, comparisons, critical_differences, differences, intervals, ranks

from .worlds import B, X, cell, full

Asked = Callable[[Sequence[Record], float], Sequence[Any]]

LEVELS: dict[str, Asked] = {
    "cells": lambda records, level: cells(records, level=level),
    "differences": lambda records, level: differences(records, level=level),
    "intervals": lambda records, level: intervals(records, "learning_task", level=level),
    "ranks": lambda records, level: ranks(records, "learning_task", level=level),
    "comparisons": lambda records, level: comparisons(records, "learning_task", level=level),
    "critical_differences": lambda records, level: critical_differences(records, "learning_task", level=level),
}
"""All that takes a level of confidence."""


def test_mean_standard_error_and_t_interval() -> None:
    (row,) = cells(cell(B, 0.5, 0.6, 0.7))
    assert (row.mean, row.seeds, row.missing, row.note) == (pytest.approx(60), 3, 0, "")
    assert row.std_error == pytest.approx(10 / 3**0.5)
    assert row.low == pytest.approx(60 - 4.302653 * 10 / 3**0.5, abs=1e-4)  # t(2) of a printed table
    assert row.high == pytest.approx(60 + 4.302653 * 10 / 3**0.5, abs=1e-4)


def test_another_level() -> None:
    (row,) = cells(cell(B, 0.5, 0.7), level=0.5)
    assert row.high - row.mean == pytest.approx(1.0 * 10)  # t(1) at 75 % is tan(π/4)


@pytest.mark.parametrize("asked", LEVELS.values(), ids=LEVELS)
def test_a_level_that_is_none_is_refused(asked: Asked) -> None:
    records = [r for t in ("t", "u") for o, v in ((B, 0.5), (X, 0.6)) for r in cell(o, v, v + 0.1, task=t)]
    records += full(2, ("t", "u"))
    assert asked(records, 0.9)
    for level in (95, 1, 0, -0.5, float("nan")):
        with pytest.raises(BiBenchError, match="level must lie between 0 and 1"):
            asked(records, level)


def test_one_seed_has_no_spread_and_none_no_mean() -> None:
    (row,) = cells(cell(B, 0.5, None))
    assert (row.mean, row.std_error, row.low, row.high) == (50, None, None, None)
    assert row.note == "one seed: no spread is known; 1 of 2 seeds have no score"
    (row,) = cells(cell(B, None))
    assert (row.mean, row.low, row.note) == (None, None, "no score")


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    trials = 600
    hits = 0
    for _ in range(trials):
        (row,) = cells(cell(B, *(0.5 + 0.01 * random.standard_normal(seeds))))
        hits += row.low <= 50 <= row.high
    assert abs(hits / trials - 0.95) < 0.03
