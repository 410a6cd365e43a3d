"""Corrections of p-values for the number of comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bibench.errors import BiBenchError

Floats = npt.NDArray[np.float64]


def holm(p: Floats) -> Floats:
    """Adjusted p-values (m,) of Holm's step-down procedure: max over j ≤ i of min(1, (m - j + 1)·p_(j)).

    What is at most α after it errs in any of the m comparisons with a chance of at most α, however they depend on
    each other (Holm, "A simple sequentially rejective multiple test procedure", 1979).
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.arange(len(p), 0, -1) * p[order]), 1.0)
    return adjusted


def bonferroni(p: Floats) -> Floats:
    """min(1, m·p): the same bound as Holm's, by less powerful means (Dunn, 1961)."""
    return np.minimum(len(p) * p, 1.0)


def benjamini_hochberg(p: Floats) -> Floats:
    """min over j ≥ i of min(1, m/j·p_(j)): bounds the expected share of false discoveries, not the chance of any.

    Benjamini and Hochberg, "Controlling the false discovery rate", 1995; for comparisons that depend positively.
    """
    order = np.argsort(p, kind="stable")
    stepped = len(p) / np.arange(1, len(p) + 1) * p[order]
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(stepped[::-1])[::-1], 1.0)
    return adjusted


def none(p: Floats) -> Floats:
    """As they are: each comparison alone errs with a chance of α, some of many surely do."""
    return p.copy()


@dataclass(frozen=True)
class Correction:
    """How p-values are adjusted, and what is then said of them."""

    adjust: Callable[[Floats], Floats]
    said: str


CORRECTIONS = {
    "holm": Correction(holm, "corrected by Holm"),
    "bonferroni": Correction(bonferroni, "corrected by Bonferroni"),
    "bh": Correction(benjamini_hochberg, "corrected by Benjamini and Hochberg, which bounds the share of false ones,"),
    "none": Correction(none, "not corrected"),
}


def corrected(p: Floats, correction: str) -> Floats:
    """`p` (m,) adjusted by one of `CORRECTIONS`."""
    check_correction(correction)
    return CORRECTIONS[correction].adjust(p)


def check_correction(correction: str) -> None:
    """Raise `BiBenchError` for a correction that is none."""
    if correction not in CORRECTIONS:
        raise BiBenchError(f"correction must be one of {', '.join(CORRECTIONS)}; got {correction!r}")
