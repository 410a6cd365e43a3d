"""Bootstrap intervals of what tracks score: over seeds, or over tasks as a population."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bibench.records.record import Record
from bibench.statistics.bootstrap import Draws, draw, replicates
from bibench.statistics.cells import LEVEL, check_level
from bibench.statistics.layout import Layout, layouts

SAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A score of a track (`value`, exactly the track's) with its bootstrap interval, in the track's unit.

    `over` is what varies: ``seeds`` (what running the same cells again would give) or ``tasks`` (what other
    tasks of the kind would give). `low` and `high` are None where nothing varies, and `note` says why.

    Attributes:
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        operator: name of the operator, with its options.
        recipe: name of the recipe, with its options.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        std_error: standard error of the value, in the track's unit; None where nothing varies.
        low: lower end of the interval, in the track's unit.
        high: upper end of the interval, in the track's unit.
        level: of confidence, in (0, 1).
        samples: number of bootstrap samples.
        cells: how many cells entered.
        expected: how many cells there should be.
        source: the published set that the numbers are from; empty for runs.
    """

    track: str
    metric: str
    operator: str
    recipe: str
    protocol: str
    value: float | None
    low: float | None
    high: float | None
    std_error: float | None
    over: str
    level: float
    samples: int
    cells: int
    expected: int
    note: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


def intervals(
    records: Sequence[Record],
    track: str,
    *,
    metric: str = "om",
    protocol: str = "bibench",
    over: str = "seeds",
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Interval]:
    """Interval of `metric` for every recipe and operator of the records, in the track's order.

    Percentiles of the bootstrap (Efron, 1979), widened for few replicates as docs/statistics.md says.

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        track: name of the track (``bibench list tracks``).
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        over: what varies in the bootstrap: ``seeds``, ``tasks``, or ``auto`` where both can be.
        samples: number of bootstrap samples.
        seed: of the random draws.
        level: of confidence, in (0, 1).

    Raises:
        BiBenchError: a `level` outside of (0, 1), fewer than 100 samples, or nothing of the kind to vary `over`.
    """
    check_level(level)
    rows = []
    for layout in layouts(records, track, metric, protocol):
        rows += of_layout(layout, draw(layout, over, samples, seed), level)
    return rows


def of_layout(layout: Layout, draws: Draws, level: float = LEVEL) -> list[Interval]:
    """The intervals of one layout from its draws."""
    rows = []
    point = layout.overall(layout.means())
    for o, score in enumerate(layout.scores):
        bounds, problem = None, "no score"
        if score.value is not None:
            problem = mismatch(score.value, float(point[o]))
            bounds = None if problem else draws.of(o, score.value, level)
            problem = problem or ("" if bounds else nothing_varies(layout, draws.over, o))
        notes = [score.note, problem, some_vary(layout, draws.over, o) if bounds else ""]
        rows.append(
            Interval(
                track=layout.track,
                metric=layout.metric,
                operator=score.operator,
                recipe=layout.recipe,
                protocol=layout.protocol,
                value=score.value,
                low=bounds[0] if bounds else None,
                high=bounds[1] if bounds else None,
                std_error=draws.std_error(o) if bounds else None,
                over=draws.over,
                level=level,
                samples=len(draws.samples),
                cells=score.cells,
                expected=score.expected,
                note="; ".join(filter(None, notes)),
                source=layout.source,
            )
        )
    return rows


def mismatch(value: float, own: float) -> str:
    """What to say when a score is not the mean over cells that is resampled here, or an empty string."""
    if math.isclose(value, own, rel_tol=1e-9, abs_tol=1e-9):
        return ""
    return f"no interval: the score is not the mean of its cells ({value:.6g} against {own:.6g})"


def nothing_varies(layout: Layout, over: str, operator: int) -> str:
    """Why there is no interval of an operator."""
    if over == "tasks":
        return "no interval over tasks: there is one" if len(set(layout.clusters)) < 2 else "tasks do not differ"
    most = replicates(layout)[:, operator].max(initial=0)
    return "no interval over seeds: no cell has two" if most < 2 else "seeds do not differ"


def some_vary(layout: Layout, over: str, operator: int) -> str:
    """What an interval over seeds leaves out, or an empty string."""
    count = replicates(layout)[:, operator][layout.weights[:, operator] > 0]
    single = int((count < 2).sum())
    return (
        f"{single} of {len(count)} cells have one seed: the interval is too narrow"
        if over == "seeds" and single
        else ""
    )
