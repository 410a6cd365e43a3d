"""Leave one task out: does the ranking rest on a single task?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bibench.records.record import Record
from bibench.statistics.comparing import better
from bibench.statistics.layout import Layout, layouts
from bibench.statistics.ranking import positions


@dataclass(frozen=True)
class LeaveOneOut:
    """The ranking without one task (or group of tasks): position of each operator, best first.

    `tau` is Kendall's τ-b between the scores with and without it (1: the same order); `moved` are the operators
    with another position than with all tasks. `left_out` is empty in the row of all tasks.

    Attributes:
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        recipe: name of the recipe, with its options.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        ranks: position of each operator, 1 the best.
        note: what is missing or odd, in a sentence; empty where nothing is.
        source: the published set that the numbers are from; empty for runs.
    """

    track: str
    metric: str
    recipe: str
    protocol: str
    left_out: str
    ranks: dict[str, int]
    tau: float | None
    moved: tuple[str, ...]
    note: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def leave_one_out(
    records: Sequence[Record], track: str, *, metric: str = "om", protocol: str = "bibench"
) -> list[LeaveOneOut]:
    """For every recipe the ranking of all tasks, then one without each.

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
    """
    return left_out_of(layouts(records, track, metric, protocol))


def left_out_of(made: Iterable[Layout]) -> list[LeaveOneOut]:
    """`leave_one_out` from layouts, for whoever needs these more than once."""
    return [row for layout in made for row in _of_layout(layout)]


def _of_layout(layout: Layout) -> list[LeaveOneOut]:
    group = np.array(layout.groups, dtype=object)
    full = [score.value for score in layout.scores]
    rows = [_row(layout, "", full, full)]
    names = layout.present(layout.groups)
    if len(names) < 2:
        return rows
    for name in names:
        values = layout.only(group != name).point()
        scored = [v if f is not None else None for v, f in zip(values, full, strict=True)]
        rows.append(_row(layout, name, scored, full))
    return rows


def _row(layout: Layout, left_out: str, values: Sequence[float | None], full: Sequence[float | None]) -> LeaveOneOut:
    sign = better(layout.metric)
    own, all_of_them = positions(values, sign), positions(full, sign)
    ranks = {o: rank for o, rank in zip(layout.operators, own, strict=True) if rank is not None}
    lost = [o for o, v, f in zip(layout.operators, values, full, strict=True) if v is None and f is not None]
    return LeaveOneOut(
        track=layout.track,
        metric=layout.metric,
        recipe=layout.recipe,
        protocol=layout.protocol,
        left_out=left_out,
        ranks=dict(sorted(ranks.items(), key=lambda item: item[1])),
        tau=kendall(values, full),
        moved=tuple(o for o, a, b in zip(layout.operators, own, all_of_them, strict=True) if a != b),
        note=f"nothing is left of {', '.join(lost)}" if lost else "",
        source=layout.source,
    )


def kendall(one: Sequence[float | None], other: Sequence[float | None]) -> float | None:
    """Kendall's τ-b over what both have; None for fewer than two, or where all are equal.

    τ-b = (concordant - discordant pairs) / √(pairs untied in one · pairs untied in the other). Written out, since
    the first import of scipy.stats takes longer than a whole ranking.
    """
    pairs = np.array([(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None], dtype=float)
    if len(pairs) < 2:
        return None
    x, y = (np.sign(column[:, None] - column) for column in pairs.T)
    untied = float(np.abs(x).sum()) * float(np.abs(y).sum())
    return round(float((x * y).sum()) / math.sqrt(untied), 12) if untied else None
