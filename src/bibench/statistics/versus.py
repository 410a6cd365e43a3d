"""Is one operator better than another? Their difference on the cells that both have, paired, by task and overall."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bibench.foundation.errors import BiBenchError
from bibench.foundation.wording import listed, meant
from bibench.operators import FULL_PRECISION
from bibench.records.record import Record, distinct
from bibench.statistics.bootstrap import Draws, draw
from bibench.statistics.cells import t_quantile
from bibench.statistics.comparing import USUAL, Inference, better, what_varies
from bibench.statistics.correcting import corrected
from bibench.statistics.layout import CORRECTED, KINDS, OM, Layout, layouts
from bibench.tracks import TRACKS
from bibench.tracks.base import BIBENCH

_PAIRED = (
    *("source", "task", "model", "recipe", "study", "seed", "kind", "metric", "split", "corruption", "severity"),
    *("device", "engine", "threads", "batch_size", "cpu", "accelerator"),
)


@dataclass(frozen=True)
class Versus:
    """What `operator` scores above `other` in one task of a track, or overall (`task` empty).

    Everything is of the cells (task × model × recipe × seed) that both have. `difference` with its interval is
    value − against, in `unit`; for geometric means it is value / against, times. `p` is two-sided, `adjusted` the same
    corrected for the `comparisons` of tasks; the overall row is one comparison. `better` names the operator that is
    better for sure; `note` says why there is no interval.

    Attributes:
        track: name of the track (``bibench list tracks``).
        metric: name of the score, such as ``om``, the track's overall metric.
        recipe: name of the recipe, with its options.
        protocol: how scores are averaged: ``bibench`` or ``paper``.
        unit: what `difference` is in.
        over: what varies: ``seeds``, or ``tasks``.
        level: of confidence, in (0, 1).
        correction: how p-values of tasks are corrected for their number.
        cells: task × model (× device) that both have.
        seeds: fewest and most seeds that a cell has for both.
        source: the published set that the numbers are from; empty for runs.
    """

    track: str
    metric: str
    recipe: str
    protocol: str
    task: str
    operator: str
    other: str
    value: float
    against: float
    difference: float
    unit: str
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None
    better: str
    cells: int
    seeds: tuple[int, int]
    tasks: int
    over: str
    level: float
    correction: str
    comparisons: int
    note: str = ""
    source: str = ""

    @property
    def ratio(self) -> bool:
        """Whether the difference is a ratio of geometric means."""
        return self.unit == TIMES

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        fewest, most = self.seeds
        rest = {name: value for name, value in asdict(self).items() if name != "seeds"}
        return rest | {"fewest_seeds": fewest, "most_seeds": most}


POINTS, TIMES = "points", "times"


def versus(
    records: Sequence[Record],
    operator: str,
    other: str,
    track: str = "learning_task",
    *,
    metric: str = OM,
    protocol: str = BIBENCH,
    how: Inference = USUAL,
) -> list[Versus]:
    """Under every recipe (and source) that both have: a row for each task, then the overall one.

    The difference divided by the standard deviation of the resampled one is referred to Student's t, as in
    `bibench.statistics.comparing`; the interval is the set of differences that this test does not reject.

    Raises:
        BiBenchError: an operator that no record has, or one that is in no score; no common cell; no such score.
    """
    one, two = (found_name(name, records) for name in (operator, other))
    if one == two:
        raise BiBenchError(f"both operators are {one!r}; name two")
    chosen = paired(records, one, two, track)
    made = [found for found in layouts(chosen, track, metric, protocol) if _both(found, one, two)]
    if not made:
        raise BiBenchError(_why_not(records, chosen, one, two, track, metric))
    return [row for layout in made for row in _rows(layout, one, two, how)]


def found_name(name: str, records: Sequence[Record]) -> str:
    """The operator of the records that is meant: of this name, or the only one of it with options."""
    names = sorted({r.operator for r in records})
    if name == FULL_PRECISION:
        raise BiBenchError(f"{name}: scores are relative to full precision; how near an operator comes: bibench score")
    if name in names:
        return name
    fitting = [known for known in names if known.partition("[")[0] == name]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise BiBenchError(f"operator {name!r} is there with several options; name one of {', '.join(fitting)}")
    known = [known for known in names if known != FULL_PRECISION]
    raise BiBenchError(f"no record has the operator {name!r}{meant(name, known)} The records have: {', '.join(known)}.")


def paired(records: Sequence[Record], one: str, two: str, track: str) -> list[Record]:
    """The records of the two where both have a value of the same cell and seed, and those of full precision."""
    kinds = KINDS.get(track)
    used, _ = distinct(r for r in records if r.operator in (FULL_PRECISION, one, two))
    used = [r for r in used if kinds is None or r.kind in kinds or r.kind == "task"]
    there = [{_key(r) for r in used if r.operator == name and r.value is not None} for name in (one, two)]
    both = there[0] & there[1]
    return [r for r in used if r.operator == FULL_PRECISION or _key(r) in both]


def _key(record: Record) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in _PAIRED)


def _both(layout: Layout, one: str, two: str) -> bool:
    return all(any(s.operator == name and s.value is not None for s in layout.scores) for name in (one, two))


def _why_not(records: Sequence[Record], chosen: Sequence[Record], one: str, two: str, track: str, metric: str) -> str:
    kinds = KINDS.get(track, ("score",))
    if any(r.operator in (one, two) and r.kind in kinds for r in chosen):
        return _no_metric(records, one, two, track, metric)
    tasks = {
        name: sorted({f"{r.task} {r.model}" for r in records if r.operator == name and r.kind in kinds})
        for name in (one, two)
    }
    said = "; ".join(
        f"{name} has {listed(own[:5]) + (' …' if len(own) > 5 else '') or 'none'}" for name, own in tasks.items()
    )
    return f"{one} and {two} share no cell (task, model, recipe and seed) that {track} reads: {said}"


def _no_metric(records: Sequence[Record], one: str, two: str, track: str, metric: str) -> str:
    """Why the two, which share cells, have no such score in common, and which scores they have."""
    rows = [r for r in TRACKS[track].score(records) if r.operator in (one, two) and not r.part]
    there = {name: {r.metric for r in rows if r.operator == name and r.value is not None} for name in (one, two)}
    both = sorted(there[one] & there[two])
    notes = []
    for name in (one, two):
        own = [r.note for r in rows if r.operator == name and r.metric == metric and r.value is None and r.note]
        if metric not in there[name]:
            notes.append(f"{name}: {own[0] if own else 'no such score' if there[name] else 'no score of this track'}")
    text = f"{track} has no {metric} of both {one} and {two}" + (f" ({'; '.join(notes)})" if notes else "")
    if not both:
        return text
    near = meant(metric, both)
    ask = f"{near} Ask" if near != "." else "; ask"
    return f"{text}{ask} for another with --metric: {', '.join(both)}"


def _rows(layout: Layout, one: str, two: str, how: Inference) -> Iterator[Versus]:
    pair = _only(layout, one, two)
    over = what_varies(pair) if how.over == "auto" else how.over
    tasks = pair.present(pair.groups)
    groups = np.array(pair.groups)
    rows = [_row(pair.only(groups == task), one, two, how, over, task) for task in tasks]
    known = [n for n, row in enumerate(rows) if row.p is not None]
    adjusted = corrected(np.array([rows[n].p for n in known], dtype=float), how.correction)
    for n, after in zip(known, adjusted, strict=True):
        rows[n] = _judged(replace(rows[n], adjusted=float(after), comparisons=len(known)))
    yield from rows
    overall = _row(pair, one, two, how, over, "")
    yield _judged(replace(overall, adjusted=overall.p, tasks=len(tasks)))


def _only(layout: Layout, one: str, two: str) -> Layout:
    """The layout of the cells that both have."""
    o, p = (layout.operators.index(name) for name in (one, two))
    there = layout.weights > 0
    return layout.shared_by(there[:, o] & there[:, p])


def _row(layout: Layout, one: str, two: str, how: Inference, over: str, task: str) -> Versus:
    o, p = (layout.operators.index(name) for name in (one, two))
    point = layout.overall(layout.means())
    drawn = draw(layout, over, how.samples, how.seed)
    values = float(point[o]), float(point[p])
    difference = values[0] / values[1] if layout.geometric else values[0] - values[1]
    low, high = _interval(drawn, o, p, values, how.level)
    tested = drawn.p_of_difference(o, p, values)
    count = np.isfinite(layout.values[:, :, o]) & np.isfinite(layout.values[:, :, p])
    counts = count.sum(1)[layout.weights[:, o] > 0]
    return Versus(
        track=layout.track,
        metric=layout.metric,
        recipe=layout.recipe,
        protocol=layout.protocol,
        task=task,
        operator=one,
        other=two,
        value=values[0],
        against=values[1],
        difference=difference,
        unit=TIMES if layout.geometric else POINTS,
        low=low,
        high=high,
        p=tested,
        adjusted=None,
        better="",
        cells=len({layout.place[c] for c in np.flatnonzero(layout.weights[:, o] > 0)}),
        seeds=(int(counts.min(initial=10**9)) if len(counts) else 0, int(counts.max(initial=0))),
        tasks=1,
        over=over,
        level=how.level,
        correction=how.correction,
        comparisons=1,
        note="" if tested is not None else _alone(over, bool(task)),
        source=layout.source,
    )


def _alone(over: str, of_task: bool) -> str:
    """Why there is no interval."""
    if over == "seeds":
        return "no interval: no cell has two seeds of both"
    return "no interval within a task: nothing was repeated in it" if of_task else "no interval: one task"


def _interval(
    drawn: Draws, one: int, two: int, values: tuple[float, float], level: float
) -> tuple[float | None, float | None]:
    """The differences (ratios, of geometric means) that the test of `Draws.p_of_difference` does not reject."""
    if min(drawn.repeated(one), drawn.repeated(two)) < 2:
        return None, None
    centre = float(drawn.scaled(values[0]) - drawn.scaled(values[1]))
    resampled = drawn.samples[:, one] - drawn.samples[:, two]
    error, degrees = float(np.nanstd(resampled, ddof=1)), drawn.degrees_of(one, two)
    if degrees <= 0 or not math.isfinite(centre):
        return None, None
    half = error * t_quantile(degrees, level)
    ends = centre - half, centre + half
    return (math.exp(ends[0]), math.exp(ends[1])) if drawn.layout.geometric else ends


def _judged(row: Versus) -> Versus:
    """The row with the operator that is better for sure, if one is."""
    sign = better(row.metric.removesuffix(CORRECTED)) * (
        math.log(row.difference) if row.ratio and row.difference > 0 else row.difference
    )
    sure = row.adjusted is not None and row.adjusted <= 1 - row.level and sign != 0
    return replace(row, better=(row.operator if sign > 0 else row.other) if sure else "")
