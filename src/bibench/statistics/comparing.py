"""Pairs of operators: how sure the difference of their scores is, corrected for the number of pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from bibench.records.record import Record
from bibench.statistics.bootstrap import Draws, Floats, draw, replicates
from bibench.statistics.cells import LEVEL, check_level
from bibench.statistics.correcting import check_correction, corrected
from bibench.statistics.intervals import SAMPLES, Interval, mismatch, of_layout
from bibench.statistics.layout import Layout, layouts

CORRECTION = "holm"

LESS_IS_BETTER = ("mce", "relative_mce")
"""Metrics of tracks of which the smallest value is the first."""


@dataclass(frozen=True)
class Inference:
    """How intervals are drawn, and when operators are told apart.

    Attributes:
        over: what varies in the bootstrap: ``seeds``, ``tasks``, or ``auto``: seeds if any cell has two.
        samples: number of bootstrap samples.
        seed: of the random draws.
        level: of confidence, in (0, 1).
        correction: how p-values are corrected for many comparisons: ``holm`` or another of
            `bibench.statistics.correcting`.
    """

    over: str = "auto"
    samples: int = SAMPLES
    seed: int = 0
    level: float = LEVEL
    correction: str = CORRECTION

    def __post_init__(self) -> None:
        check_level(self.level)

    def draw(self, layout: Layout) -> Draws:
        """The bootstrap of a layout."""
        return draw(layout, what_varies(layout) if self.over == "auto" else self.over, self.samples, self.seed)


USUAL = Inference()


@dataclass(frozen=True)
class Comparison:
    """Two operators of a track on the `cells` that both have.

    `difference` is the score of `operator` minus that of `other`, in the track's unit, both on those cells. `p` is the
    two-sided p-value of equal scores (None where nothing was repeated, so that there is no test) and `adjusted` the
    same corrected for all `comparisons` of the track. `better` names the operator that is better for sure, and is
    empty where they are not told apart; `note` says where the overall scores stand in the other order.

    Attributes:
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        recipe: name of the recipe, with its options.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        over: what varies in the bootstrap: ``seeds``, ``tasks``, or ``auto`` where both can be.
        level: of confidence, in (0, 1).
        correction: how p-values are corrected for many comparisons: ``holm`` or another of
            `bibench.statistics.correcting`.
        source: the published set that the numbers are from; empty for runs.
    """

    track: str
    metric: str
    recipe: str
    protocol: str
    operator: str
    other: str
    difference: float | None
    p: float | None
    adjusted: float | None
    better: str
    cells: int
    over: str
    level: float
    correction: str
    comparisons: int
    note: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


@dataclass(frozen=True)
class Pair:
    """A comparison by the indices of operators: `verdict` 1 the first is better for sure, -1 the second, 0 neither.

    `contrary`: on the cells that both have they are told apart in the other order than by their overall scores.
    """

    one: int
    other: int
    difference: float
    cells: int
    p: float | None
    adjusted: float
    verdict: int
    contrary: bool


def better(metric: str) -> int:
    """The sign of a difference that is a merit: -1 where less is better."""
    return -1 if metric in LESS_IS_BETTER else 1


def what_varies(layout: Layout) -> str:
    """``seeds`` where any cell has two, else ``tasks``."""
    return "seeds" if replicates(layout).max(initial=0) > 1 else "tasks"


def comparisons(
    records: Sequence[Record],
    track: str,
    *,
    metric: str = "om",
    protocol: str = "bibench",
    over: str = "auto",
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
    correction: str = CORRECTION,
) -> list[Comparison]:
    """All pairs of the operators that have a score, under every recipe.

    The resampled difference is referred to Student's t; `correction` by default is that of Holm, 1979.

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        over: what varies in the bootstrap: ``seeds``, ``tasks``, or ``auto`` where both can be.
        samples: number of bootstrap samples.
        seed: of the random draws.
        level: of confidence, in (0, 1).
        correction: how p-values are corrected for many comparisons: ``holm`` or another of
            `bibench.statistics.correcting`.
    """
    how = Inference(over, samples, seed, level, correction)
    return comparisons_of(layouts(records, track, metric, protocol), how)


def comparisons_of(made: Iterable[Layout], how: Inference = USUAL) -> list[Comparison]:
    """`comparisons` from layouts, for whoever needs these more than once."""
    rows = []
    for layout in made:
        drawn = how.draw(layout)
        pairs = pairs_of(layout, drawn, of_layout(layout, drawn, how.level), how)
        rows += [_row(layout, drawn, pair, how, len(pairs)) for pair in pairs]
    return rows


def pairs_of(layout: Layout, drawn: Draws, rows: Sequence[Interval], how: Inference) -> list[Pair]:
    """Every two operators with a score, told apart at a level after correction; pairs without a test count as well.

    Operators that lack cells are compared on the cells that both have, weighed alike.
    """
    check_correction(how.correction)
    there = layout.weights > 0
    whole = drawn, layout.overall(layout.means())
    # of a score that is not made up of the cells that are resampled, these tell nothing
    described = [row.value is not None and not mismatch(row.value, float(whole[1][o])) for o, row in enumerate(rows)]
    common: dict[bytes, tuple[Draws, Floats]] = {}
    found: list[tuple[int, int, float, int, float | None]] = []
    for one, other in combinations([o for o, row in enumerate(rows) if row.value is not None], 2):
        (use, point), both = whole, there[:, one] & there[:, other]
        if not (there[:, one] == there[:, other]).all():
            key = both.tobytes()
            if key not in common:
                shared = layout.shared_by(both)
                again = draw(shared, drawn.over, len(drawn.samples), how.seed)
                common[key] = again, shared.overall(shared.means())
            use, point = common[key]
        values = float(point[one]), float(point[other])
        p = use.p_of_difference(one, other, values) if described[one] and described[other] else None
        found.append((one, other, values[0] - values[1], int(both.sum()), p))
    adjusted = corrected(np.array([1.0 if p is None else p for *_, p in found]), how.correction)
    sign = better(layout.metric)
    return [_pair(rows, row, float(after), how.level, sign) for row, after in zip(found, adjusted, strict=True)]


def _pair(
    rows: Sequence[Interval], found: tuple[int, int, float, int, float | None], adjusted: float, level: float, sign: int
) -> Pair:
    one, other, difference, cells, p = found
    overall = sign * ((rows[one].value or 0.0) - (rows[other].value or 0.0))
    sure = p is not None and adjusted <= 1 - level and difference != 0
    agree = overall * sign * difference > 0
    verdict = int(math.copysign(1, overall)) if sure and agree else 0
    return Pair(one, other, difference, cells, p, adjusted, verdict, sure and not agree)


def _row(layout: Layout, drawn: Draws, pair: Pair, how: Inference, count: int) -> Comparison:
    names = layout.operators[pair.one], layout.operators[pair.other]
    ahead = names[(pair.difference * better(layout.metric)) < 0]
    note = "" if pair.p is not None else f"no test: over {drawn.over} nothing was repeated, or no cell is shared"
    if pair.contrary:
        note = f"{ahead} is better on the cells that both have, though not overall: not told apart"
    return Comparison(
        track=layout.track,
        metric=layout.metric,
        recipe=layout.recipe,
        protocol=layout.protocol,
        operator=names[0],
        other=names[1],
        difference=pair.difference if math.isfinite(pair.difference) else None,
        p=pair.p,
        adjusted=None if pair.p is None else pair.adjusted,
        better={1: names[0], -1: names[1]}.get(pair.verdict, ""),
        cells=pair.cells,
        over=drawn.over,
        level=how.level,
        correction=how.correction,
        comparisons=count,
        note=note,
        source=layout.source,
    )
