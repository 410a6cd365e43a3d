"""How sure the Pareto set is: the share of samples of the measurements in which a candidate is in it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bibench.recommend.candidates import Candidate, Wishes
from bibench.records.record import Record

SAMPLES = 1000
Floats = NDArray[np.float64]
"""Of shape (samples, candidates); NaN where nothing was measured."""


def front_shares(found: Sequence[Candidate], scored: Sequence[Record], wishes: Wishes, seed: int) -> dict[int, float]:
    """By index, the share of `SAMPLES` in which a candidate fulfils the wishes undominated; empty if nothing varies."""
    accuracy, latency = _samples(found, scored, seed)
    if not any((np.nan_to_num(np.ptp(values, 0)) > 1e-9).any() for values in (accuracy, latency)):
        return {}
    sizes = np.array([np.nan if c.megabytes is None else c.megabytes for c in found])
    sizes = np.broadcast_to(sizes, accuracy.shape)
    fits = _fits(accuracy, latency, sizes, wishes)
    shares = (fits & _undominated(fits, (-accuracy, latency, sizes))).mean(0)
    return {n: float(share) for n, share in enumerate(shares)}


def _samples(found: Sequence[Candidate], scored: Sequence[Record], seed: int) -> tuple[Floats, Floats]:
    """Accuracies in percent and latencies in ms that might have been measured.

    Accuracy: its seeds resampled, deviations widened by √(n / (n - 1)), the same draw for candidates of one model
    with the same seeds. Latency: normal around the median with its standard error, 1.2533 · IQR / 1.349 / √samples.
    """
    random = np.random.default_rng(seed)
    by_cell: dict[tuple[str, ...], list[tuple[int, float]]] = defaultdict(list)
    for r in scored:
        if r.value is not None:
            by_cell[r.model, r.operator, r.recipe, r.source].append((r.seed, 100 * r.value))
    draws: dict[tuple[str, str, tuple[int, ...]], NDArray[np.int64]] = {}
    accuracy, latency = np.full((2, SAMPLES, len(found)), np.nan)
    for n, c in enumerate(found):
        own = sorted(by_cell.get((c.model, c.operator, c.recipe, c.source), []))
        if own:
            names = c.model, c.recipe, tuple(s for s, _ in own)
            if names not in draws:
                draws[names] = random.integers(0, len(own), (SAMPLES, len(own)))
            values = np.array([v for _, v in own])
            wider = math.sqrt(len(own) / (len(own) - 1)) if len(own) > 1 else 1.0
            accuracy[:, n] = values.mean() + wider * (values[draws[names]].mean(1) - values.mean())
        if c.latency_ms is not None:
            error = median_error(c.latency_low, c.latency_high, c.latency_samples)
            latency[:, n] = c.latency_ms + error * random.standard_normal(SAMPLES)
    return accuracy, latency


def median_error(low: float | None, high: float | None, samples: int | None) -> float:
    """Standard error of the median of so many normal samples with these quartiles; 0 where they are not known."""
    if low is None or high is None or not samples:
        return 0.0
    return 1.2533 * (high - low) / 1.349 / math.sqrt(samples)


def _fits(accuracy: Floats, latency: Floats, sizes: Floats, wishes: Wishes) -> NDArray[np.bool_]:
    fits = ~np.isnan(accuracy)
    if wishes.device:
        fits &= ~np.isnan(latency)
    limits = ((latency, wishes.max_ms, 1), (sizes, wishes.max_mb, 1), (accuracy, wishes.min_accuracy, -1))
    for values, limit, sign in limits:
        if limit is not None:
            fits &= sign * values <= sign * limit
    return fits


def _undominated(fits: NDArray[np.bool_], goals: Sequence[Floats]) -> NDArray[np.bool_]:
    """Where no candidate that fits has all `goals` at most as large and one smaller; what is unknown equals unknown."""
    undominated = np.ones(fits.shape, dtype=bool)
    for n in range(fits.shape[1]):
        worse, less = fits.copy(), np.zeros(fits.shape, dtype=bool)
        for goal in goals:
            mine = goal[:, n : n + 1]
            worse &= (goal <= mine) | (np.isnan(goal) & np.isnan(mine))
            less |= goal < mine
        undominated[:, n] = ~(worse & less).any(1)
    return undominated
