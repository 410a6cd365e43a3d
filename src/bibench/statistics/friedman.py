"""The Friedman test of ranks within tasks, and Nemenyi's critical difference of average ranks.

Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006: section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bibench.errors import BiBenchError, require
from bibench.statistics.cells import LEVEL

Floats = npt.NDArray[np.float64]

ENOUGH_BLOCKS, ENOUGH_OPERATORS = 10, 5
"""Beyond these the Friedman statistic is about χ² (Demšar, section 3.2.2: "as a rule of a thumb, N > 10 and k > 5")."""


@dataclass(frozen=True)
class Friedman:
    """The test that N tasks rank k operators at random.

    `chi2` with k - 1 degrees of freedom, corrected for equal scores, and `f` with k - 1 and (k - 1)(N - 1), which
    is the less conservative of the two (Iman and Davenport, 1980; infinite where all tasks agree), with p-values.
    """

    chi2: float
    chi2_p: float
    f: float
    f_p: float


def ranks_within(merits: Floats) -> Floats:
    """(N, k) ranks within every row, 1 for the largest; equal ones share the average of their ranks."""
    more = (merits[:, None, :] > merits[:, :, None]).sum(-1)
    same = (merits[:, None, :] == merits[:, :, None]).sum(-1)
    return 1 + more + (same - 1) / 2


def friedman(ranks: Floats) -> Friedman:
    """The Friedman test of ranks (N, k) within tasks.

    χ²_F = (k - 1) Σ_j (Σ_i r_ij - N(k + 1)/2)² / Σ_ij (r_ij - (k + 1)/2)², which without equal scores is Demšar's
    12N/(k(k + 1)) (Σ_j R_j² - k(k + 1)²/4), and F_F = (N - 1) χ²_F / (N(k - 1) - χ²_F).
    """
    blocks, k = ranks.shape
    _check(blocks, k)
    middle = (k + 1) / 2
    spread = float(((ranks - middle) ** 2).sum())
    if spread == 0:  # equal scores throughout
        return Friedman(0.0, 1.0, 0.0, 1.0)
    chi2 = (k - 1) * float(((ranks.sum(0) - blocks * middle) ** 2).sum()) / spread
    rest = blocks * (k - 1) - chi2
    f = math.inf if rest <= 1e-9 * chi2 else (blocks - 1) * chi2 / rest
    require("scipy", extra="bench", purpose="the Friedman test")
    from scipy.special import chdtrc, fdtrc

    free = k - 1
    f_p = 0.0 if math.isinf(f) else float(fdtrc(free, free * (blocks - 1), f))
    return Friedman(chi2, float(chdtrc(free, chi2)), f, f_p)


def nemenyi(blocks: int, k: int, level: float = LEVEL) -> float:
    """Critical difference of average ranks: CD = q_α √(k(k + 1)/(6N)) for N `blocks` (tasks) and k operators.

    q_α is the studentized range of k values with infinitely many degrees of freedom, divided by √2.
    """
    _check(blocks, k)
    return critical_value(k, level) * math.sqrt(k * (k + 1) / (6 * blocks))


@lru_cache(64)
def critical_value(k: int, level: float = LEVEL) -> float:
    """q_α of Demšar's table 5(a)."""
    require("scipy", extra="bench", purpose="critical differences")
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(level, k, math.inf)) / math.sqrt(2)


def groups_of(average_ranks: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """First and last index of the largest runs of ascending average ranks that differ by less than `difference`."""
    found: list[tuple[int, int]] = []
    for first, start in enumerate(average_ranks):
        near = [i for i, rank in enumerate(average_ranks) if i >= first and rank - start < difference - 1e-9]
        last = max(near, default=first)
        if last > first and not (found and found[-1][1] >= last):
            found.append((first, last))
    return found


def _check(blocks: int, k: int) -> None:
    if blocks < 2 or k < 2:
        raise BiBenchError(f"ranks of at least two operators over at least two tasks are needed; got {k} over {blocks}")
