"""The bootstrap over seeds and over tasks, vectorized; the same draws for all operators, so that pairs stay pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bibench.errors import BiBenchError
from bibench.statistics.cells import normal_quantile, t_quantile, two_sided_p
from bibench.statistics.layout import Layout

Floats = npt.NDArray[np.float64]

OVER = ("seeds", "tasks")
_BLOCK = 2_000_000
"""Numbers held at once while drawing."""


@dataclass
class Draws:
    """(samples, O) resampled scores, and what is needed to widen them for few replicates.

    Of geometric means they are logarithms: such a score is a ratio, and its interval must not reach zero.
    """

    layout: Layout
    over: str
    samples: Floats
    degrees: float | None

    def scaled(self, values: Any) -> Any:
        """Scores as `samples` holds them."""
        return np.log(values) if self.layout.geometric else values

    def of(self, operator: int, value: float, level: float) -> tuple[float, float] | None:
        """The interval of one operator's score, or None where nothing varies."""
        centre = float(self.scaled(value))
        bounds = _interval(centre, self.samples[:, operator], level, self.degrees_of(operator))
        if bounds is None or not self.layout.geometric:
            return bounds
        return math.exp(bounds[0]), math.exp(bounds[1])

    def p_of_difference(self, one: int, other: int, values: Sequence[float]) -> float | None:
        """Two-sided p-value of two operators' scores `values` being equal, of logarithms for ratios.

        The difference divided by the standard deviation of the resampled one is referred to Student's t, so the number
        of samples limits how exactly the deviation is known (to 1/√(2·samples) of it), not how small p can be. Where
        repetitions all differ by the same amount, p is that of the sign test, 2^(1 - n) of n. None without repetitions.
        """
        count = min(self.repeated(one), self.repeated(other))
        centre = float(self.scaled(values[0]) - self.scaled(values[1]))
        difference = self.samples[:, one] - self.samples[:, other]
        difference = difference[np.isfinite(difference)]
        if count < 2 or not math.isfinite(centre) or len(difference) < 2:
            return None
        if abs(centre) <= 1e-9 * max(1.0, abs(values[0])):
            return 1.0
        error, degrees = float(difference.std(ddof=1)), self.degrees_of(one, other)
        if error <= 1e-12 * max(1.0, abs(centre)) or degrees <= 0:
            return 2.0 ** (1 - count)
        return two_sided_p(abs(centre) / error, degrees)

    def repeated(self, operator: int) -> int:
        """How often an operator was measured anew: seeds of its cells that have two, or tasks; 0 where nothing was."""
        used = self.layout.weights[:, operator] > 0
        if self.degrees is not None:
            tasks = {name for name, there in zip(self.layout.clusters, used, strict=True) if there}
            return len(tasks) if self.degrees > 0 else 0
        count = np.where(used, replicates(self.layout)[:, operator], 0)
        of_place = np.zeros(len(self.layout.places), dtype=np.int64)
        np.maximum.at(of_place, self.layout.place, count)
        return int(of_place[of_place > 1].sum())

    def std_error(self, operator: int) -> float:
        """Standard deviation of an operator's resampled scores."""
        column = self.samples[:, operator]
        return float(np.nanstd(np.exp(column) if self.layout.geometric else column))

    def degrees_of(self, one: int, other: int | None = None) -> float:
        """Degrees of freedom of a score, or of the difference of two."""
        if self.degrees is not None:
            return self.degrees
        return degrees_of_freedom(self.layout, one, other)


def _interval(value: float, column: Floats, level: float, degrees: float) -> tuple[float, float] | None:
    """Percentiles of `column` (samples,), their distance from `value` times t / z for `degrees` of freedom."""
    column = column[np.isfinite(column)]
    if not len(column) or degrees <= 0 or float(np.ptp(column)) <= 1e-12 * max(1.0, abs(value)):
        return None
    low, high = np.quantile(column, [(1 - level) / 2, (1 + level) / 2])
    wider = t_quantile(degrees, level) / normal_quantile(level) if math.isfinite(degrees) else 1.0
    return value + wider * (float(low) - value), value + wider * (float(high) - value)


def draw(layout: Layout, over: str, samples: int, seed: int) -> Draws:
    """Resample `layout` over ``seeds`` or over ``tasks``."""
    if over not in OVER:
        raise BiBenchError(f"over must be one of {', '.join(OVER)}; got {over!r}")
    if samples < 100:
        raise BiBenchError(f"samples must be at least 100 for percentiles to mean anything; got {samples}")
    random = np.random.default_rng(seed)
    if over == "seeds":
        resampled = _over_seeds(layout, samples, random)
        return Draws(layout, over, np.log(resampled) if layout.geometric else resampled, None)
    return _over_tasks(layout, samples, random)


def replicates(layout: Layout) -> npt.NDArray[np.int64]:
    """(C, O) seeds of each cell; those of a spread count as two, since runs pool to one number."""
    count = np.isfinite(layout.values).sum(1)
    for cell, spread in layout.spreads.items():
        count[cell] = np.isfinite(spread.ratios()) * min(2, spread.accuracies.shape[1])
    return count


def _over_seeds(layout: Layout, samples: int, random: np.random.Generator) -> Floats:
    """Seeds of every place drawn with replacement, jointly for all operators and parts.

    The deviations from a cell's mean are widened by √(n / (n - 1)), so that the variance of a resampled mean is
    the unbiased s²/n rather than (n - 1)/n of it, which matters for the two to five seeds that people can afford.
    """
    values = _widened(layout)
    cells, seeds, operators = values.shape
    known = np.isfinite(values)
    filled, point = np.where(known, values, 0.0), layout.means()
    counts = np.array([int(known[layout.place == p].any((0, 2)).sum()) for p in range(len(layout.places))])
    chances = np.arange(seeds) < counts[:, None]
    chances = chances / np.maximum(chances.sum(1, keepdims=True), 1)
    if seeds:
        chances[counts == 0, 0] = 1.0
    spreads = {cell: layout.scaled(spread.draw(samples, random)) for cell, spread in layout.spreads.items()}
    block = max(1, _BLOCK // max(1, cells * max(seeds, operators)))
    found = []
    for start in range(0, samples, block):
        size = min(block, samples - start)
        means = np.broadcast_to(point, (size, *point.shape)).copy()
        if seeds:
            times = random.multinomial(counts, chances, size=(size, len(layout.places)))[:, layout.place].astype(float)
            by_cell = times.transpose(1, 0, 2)  # (C, B, S)
            total, weight = by_cell @ filled, by_cell @ known.astype(float)
            # a sample that has none of an operator's seeds keeps its mean: it has nothing to say of them
            np.divide(total.transpose(1, 0, 2), (w := weight.transpose(1, 0, 2)), out=means, where=w > 0)
        for cell, ratios in spreads.items():
            means[:, cell] = ratios[start : start + size]
        found.append(layout.overall(means))
    return np.concatenate(found)


def _widened(layout: Layout) -> Floats:
    count = np.isfinite(layout.values).sum(1, keepdims=True)
    mean = layout.means()[:, None]
    wider = np.sqrt(np.divide(count, count - 1, out=np.ones(count.shape), where=count > 1))
    return np.where(np.isfinite(layout.values), mean + wider * (layout.values - mean), np.nan)


def _over_tasks(layout: Layout, samples: int, random: np.random.Generator) -> Draws:
    """Tasks drawn with replacement, jointly for all operators; seeds stay as they are.

    Deviations are widened by √(N / (N - K)) for N tasks in K strata, and t has N - K degrees of freedom.
    """
    means = layout.means()
    used = np.flatnonzero((layout.weights > 0).any(1))
    names, strata = layout.clusters, layout.strata
    of_stratum = {names[c]: strata[c] for c in reversed(used)}
    members: dict[str, list[str]] = {}
    for name in sorted(of_stratum):
        members.setdefault(of_stratum[name], []).append(name)
    degrees = len(of_stratum) - len(members)
    times = np.zeros((samples, len(layout.part)))
    for clusters in members.values():
        drawn = random.multinomial(len(clusters), [1 / len(clusters)] * len(clusters), size=samples)
        column = {name: drawn[:, i] for i, name in enumerate(clusters)}
        for c in used:
            if names[c] in column:
                times[:, c] = column[names[c]]
    block = max(1, _BLOCK // max(1, means.size))
    found = [
        layout.overall(np.broadcast_to(means, (len(t), *means.shape)), t)
        for t in (times[start : start + block] for start in range(0, samples, block))
    ]
    wider = math.sqrt(len(of_stratum) / degrees) if degrees else 1.0
    made = Draws(layout, "tasks", np.empty(0), float(degrees))
    point = made.scaled(layout.overall(means))
    made.samples = point + wider * (made.scaled(np.concatenate(found)) - point)
    return made


def degrees_of_freedom(layout: Layout, one: int, other: int | None = None) -> float:
    """Welch-Satterthwaite degrees of freedom of a score, or of the difference of two, over seeds.

    The score is linearized: seed j of place i moves it by L_ij; V_i = var_j(L_ij) / n_i is what the place
    contributes to its variance, and ν = (Σ V_i)² / Σ (V_i² / (n_i - 1)). Zero when nothing varies; spreads,
    whose runs are many, count as infinitely many.
    """
    if any(layout.weights[cell].any() for cell in layout.spreads):
        return math.inf
    influence, known = _influence(layout, one)
    if other is not None:
        more, also = _influence(layout, other)
        influence, known = influence - more, known | also
    count = known.sum(1)
    many = count > 1
    variance = (influence[many] ** 2).sum(1) / (count[many] - 1) / count[many]
    total = float(variance.sum())
    return total**2 / float((variance**2 / (count[many] - 1)).sum()) if total > 0 else 0.0


def _influence(layout: Layout, operator: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(places, S) how far each seed's deviation from the mean moves the score, and which seeds there are."""
    means = layout.means()[:, operator]
    weights = np.where(np.isfinite(means), layout.weights[:, operator], 0.0)
    in_part = np.bincount(layout.part, weights, len(layout.parts))
    gradient = np.divide(weights, in_part[layout.part], out=np.zeros(len(weights)), where=in_part[layout.part] > 0)
    values = np.bincount(layout.part, gradient * np.nan_to_num(means), len(layout.parts))
    if layout.geometric:
        values = np.where(in_part > 0, np.exp(values), 0.0)
        gradient = gradient * values[layout.part]
    if layout.quadratic:
        parts = int((in_part > 0).sum())
        overall = math.sqrt(float((np.maximum(values, 0) ** 2).sum()) / parts) if parts else 0.0
        gradient = gradient * (np.maximum(values, 0) / (parts * overall) if overall else 0 * values)[layout.part]
    own = layout.values[:, :, operator]
    moved = np.zeros((len(layout.places), own.shape[1]))
    np.add.at(moved, layout.place, gradient[:, None] * np.where(np.isfinite(own), own - means[:, None], 0.0))
    known = np.zeros(moved.shape, dtype=bool)
    np.logical_or.at(known, layout.place, np.isfinite(own) & (weights > 0)[:, None])
    return moved, known
