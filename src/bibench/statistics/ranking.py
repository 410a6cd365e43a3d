"""Ranks with ties: who can be told from whom."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bibench.records import Record
from bibench.statistics.bootstrap import Draws, draw, replicates
from bibench.statistics.cells import LEVEL, normal_quantile, t_quantile
from bibench.statistics.intervals import SAMPLES, Interval, check_level, of_layout
from bibench.statistics.layout import Layout, layouts

LESS_IS_BETTER = ("mce", "relative_mce")
"""Metrics of tracks of which the smallest value is the first."""


@dataclass(frozen=True)
class Rank:
    """The place of one operator.

    `rank` is 1 + the number of operators that are better for sure: whose interval of the difference to this
    one does not contain zero. `best` and `worst` bound the rank by the bootstrap (None without one). Operators
    that cannot be told apart share a letter of `groups`; when being tied is not transitive they may share a
    letter and have different ranks. `value`, `low`, `high`: the score and its interval, in the track's unit.
    """

    track: str
    metric: str
    recipe: str
    protocol: str
    operator: str
    rank: int | None
    best: int | None
    worst: int | None
    groups: str
    ties: tuple[str, ...]
    value: float | None
    low: float | None
    high: float | None
    over: str
    level: float
    cells: int
    expected: int
    note: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return {**asdict(self), "ties": ",".join(self.ties)}


def ranks(
    records: Sequence[Record],
    track: str,
    *,
    metric: str = "om",
    protocol: str = "bibench",
    over: str = "auto",
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> list[Rank]:
    """Ranks of the operators under every recipe, best first. `over` auto: seeds where any cell has two, else tasks."""
    made = layouts(records, track, metric, protocol)
    return ranks_of(made, over=over, samples=samples, seed=seed, level=level)


def ranks_of(
    made: Iterable[Layout], *, over: str = "auto", samples: int = SAMPLES, seed: int = 0, level: float = LEVEL
) -> list[Rank]:
    """`ranks` from layouts, for whoever needs these more than once."""
    check_level(level)
    rows = []
    for layout in made:
        drawn = draw(layout, what_varies(layout) if over == "auto" else over, samples, seed)
        rows += _ranked(layout, drawn, level, seed)
    return rows


def what_varies(layout: Layout) -> str:
    """``seeds`` where any cell has two, else ``tasks``."""
    return "seeds" if replicates(layout).max(initial=0) > 1 else "tasks"


def better(metric: str) -> int:
    """The sign of a difference that is a merit: -1 where less is better."""
    return -1 if metric in LESS_IS_BETTER else 1


def positions(values: Sequence[float | None], sign: int = 1) -> list[int | None]:
    """1 + the number of better values, so that equal ones share a position; None has none."""
    known = [v for v in values if v is not None]
    return [None if v is None else 1 + sum(sign * other > sign * v for other in known) for v in values]


def _ranked(layout: Layout, drawn: Draws, level: float, seed: int) -> list[Rank]:
    rows, sign = of_layout(layout, drawn, level), better(layout.metric)
    scored = [o for o, row in enumerate(rows) if row.value is not None]
    told = _told_apart(layout, drawn, rows, scored, level, seed)
    plain = positions([row.value for row in rows], sign)
    bounds = _rank_bounds(drawn, rows, scored, level, sign)
    ties = {o: [p for p in scored if p != o and told.get((o, p)) == 0] for o in scored}
    letters = _letters(ties, sorted(scored, key=lambda o: (plain[o] or 0, o)))
    found = []
    for o, row in enumerate(rows):
        rank = plain[o]
        if o in scored and told:
            rank = 1 + sum(told.get((o, p), 0) < 0 for p in scored)
        best, worst = bounds.get(o, (None, None))
        found.append(
            Rank(
                track=layout.track,
                metric=layout.metric,
                recipe=layout.recipe,
                protocol=layout.protocol,
                operator=row.operator,
                rank=rank,
                best=best,
                worst=worst,
                groups=letters.get(o, ""),
                ties=tuple(rows[p].operator for p in ties.get(o, ())),
                value=row.value,
                low=row.low,
                high=row.high,
                over=drawn.over,
                level=level,
                cells=row.cells,
                expected=row.expected,
                note=row.note,
                source=layout.source,
            )
        )
    return sorted(found, key=lambda r: (r.rank is None, r.rank, -sign * (r.value or 0)))


def _told_apart(
    layout: Layout, drawn: Draws, rows: Sequence[Interval], scored: Sequence[int], level: float, seed: int
) -> dict[tuple[int, int], int]:
    """For each pair of operators: 1 the first is better for sure, -1 the second is, 0 tied; empty without draws.

    Operators that lack cells are compared on the cells that both have, weighed alike.
    """
    there = layout.weights > 0
    common: dict[bytes, Draws] = {}
    told: dict[tuple[int, int], int] = {}
    if not any(row.low is not None for row in rows):
        return told
    for n, one in enumerate(scored):
        for other in scored[n + 1 :]:
            use = drawn
            both = there[:, one] & there[:, other]
            if not (there[:, one] == there[:, other]).all():
                key = both.tobytes()
                use = common.get(key) or draw(layout.shared_by(both), drawn.over, len(drawn.samples), seed)
                common[key] = use
            point = use.layout.overall(use.layout.means())
            pair = float(point[one]), float(point[other])
            difference = pair[0] - pair[1]
            bounds = use.of_difference(one, other, pair, level) if math.isfinite(difference) else None
            if bounds is None:  # no spread at all: equal numbers are tied, others differ for sure
                sure = math.isfinite(difference) and abs(difference) > 1e-9
            else:
                sure = not bounds[0] <= 0 <= bounds[1]
            verdict = int(math.copysign(1, difference)) * better(layout.metric) if sure else 0
            told[one, other], told[other, one] = verdict, -verdict
    return told


def _rank_bounds(
    drawn: Draws, rows: Sequence[Interval], scored: Sequence[int], level: float, sign: int
) -> dict[int, tuple[int, int]]:
    """Percentiles of the rank in the samples, their deviations widened by t / z of the fewest degrees of freedom."""
    degrees = [d for o in scored if rows[o].low is not None and (d := drawn.degrees_of(o)) > 0]
    if not degrees:
        return {}
    fewest = min(degrees)
    wider = t_quantile(fewest, level) / normal_quantile(level) if math.isfinite(fewest) else 1.0
    value = drawn.scaled(np.array([rows[o].value for o in scored], dtype=float))
    samples = sign * (value + wider * (drawn.samples[:, scored] - value))
    rank = 1 + (samples[:, None, :] > samples[:, :, None]).sum(-1)  # (samples, operators)
    low = np.quantile(rank, (1 - level) / 2, axis=0, method="lower")
    high = np.quantile(rank, (1 + level) / 2, axis=0, method="higher")
    return {o: (int(low[i]), int(high[i])) for i, o in enumerate(scored)}


def _letters(ties: dict[int, list[int]], order: Sequence[int]) -> dict[int, str]:
    """Compact letter display: one letter per largest set of operators that are all tied with each other."""
    cliques: list[set[int]] = []

    def extend(clique: set[int], candidates: set[int], done: set[int]) -> None:
        if not candidates and not done:
            cliques.append(clique)
        for o in sorted(candidates, key=order.index):
            near = set(ties[o])
            extend(clique | {o}, candidates & near, done & near)
            candidates, done = candidates - {o}, done | {o}

    if any(ties.values()):
        extend(set(), set(order), set())
    cliques.sort(key=lambda clique: sorted(order.index(o) for o in clique))
    return {o: "".join(_letter(n) for n, clique in enumerate(cliques) if o in clique) for o in order}


def _letter(n: int) -> str:
    return chr(ord("a") + n) if n < 26 else f"({n + 1})"
