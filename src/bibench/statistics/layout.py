"""What a track averages, as arrays: one number per cell, seed and operator, and the weights of its means.

All tracks but for the sensitivity of training are means of means: over seeds, over the cells of a part (a task,
a family of architectures), and at last the quadratic mean over parts. The number of one cell and seed is asked
of the track itself, by scoring the records of that cell and seed alone, so that nothing of a track is computed
twice in two ways.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bibench.comparators.names import is_comparator
from bibench.operators import paper_order
from bibench.records.record import OVERALL_METRIC, TIMED, Record, distinct
from bibench.statistics.spread import Spread, spreads
from bibench.statistics.weights import nested_weights, probed_weights
from bibench.tracks import TRACKS, Score
from bibench.tracks.base import BIBENCH
from bibench.tracks.neural_architecture import FAMILIES

Floats = npt.NDArray[np.float64]

OM, CORRECTED = "om", "_chance_corrected"
KINDS = {
    "learning_task": ("score",),
    "neural_architecture": ("score",),
    "corruption_robustness": ("corruption",),
    "training_consumption": ("score", "cost"),
    "theoretical_complexity": ("complexity",),
    "hardware_inference": ("latency", "complexity"),
}
"""Kinds of records that a track reads, as far as known; of others it gets all."""

PARTS: dict[str, Callable[[Sequence[Record]], Iterable[str]]] = {
    "learning_task": lambda records: dict.fromkeys(r.counts_as for r in records),
    "neural_architecture": lambda records: FAMILIES,
    "corruption_robustness": lambda records: dict.fromkeys(r.task for r in records),
    "hardware_inference": lambda records: ("speedup", "compression"),
}
"""Metrics whose quadratic mean is the overall one; of other tracks: all their metrics."""

CLUSTERS: dict[str, Callable[[Place], str]] = {
    "learning_task": lambda place: place.group,
    "neural_architecture": lambda place: place.task,
    "corruption_robustness": lambda place: place.task,
}
"""What is drawn when tasks are a population; of other tracks a task × model."""

NESTED = ("learning_task", "neural_architecture")
"""Tracks that weigh the models of a group of tasks equally."""
GEOMETRIC = ("training_consumption", "theoretical_complexity", "hardware_inference")
"""Tracks whose parts are geometric means, under our protocol."""
SPREAD = "sensitivity"

_MEASURED_WITH = ("engine", "batch_size", "memory_format", "device", "threads", "cpu", "accelerator")


@dataclass(frozen=True, order=True)
class Place:
    """Where a number belongs: what one draw of seeds is for."""

    task: str
    model: str
    group: str
    family: str
    metric: str = ""
    device: str = ""
    conditions: tuple[str, ...] = ()


@dataclass
class Layout:
    """One metric of a track under one recipe. Axes: C cells (a place within a part), S seeds, O operators.

    Attributes:
        values: (C, S, O) numbers of single seeds, NaN where there is none; logarithms if `geometric`.
        weights: (C, O) of the cell in its part, positive where the operator has the cell; parts are not normalized.
        part, place: (C,) indices of `parts` and `places`.
        spreads: cells whose number is no mean over seeds, by index; their `values` are NaN.
    """

    track: str
    metric: str
    recipe: str
    protocol: str
    source: str
    geometric: bool
    scores: list[Score]
    parts: list[str]
    places: list[Place]
    part: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]
    values: Floats
    weights: Floats
    spreads: dict[int, Spread] = field(default_factory=dict)

    @property
    def operators(self) -> list[str]:
        """In the order of the last axis."""
        return [score.operator for score in self.scores]

    @property
    def quadratic(self) -> bool:
        """Whether parts are summed up by their quadratic mean; else there is one part, the metric."""
        return self.metric.removesuffix(CORRECTED) == OM

    @property
    def tasks_are_parts(self) -> bool:
        """Whether a task is a part of the overall metric, rather than some cells within parts."""
        return self.quadratic and self.track in ("learning_task", "corruption_robustness")

    @property
    def clusters(self) -> list[str]:
        """(C,) the task that each cell is resampled with, when tasks are a population."""
        of = CLUSTERS.get(self.track, lambda place: f"{place.task} {place.model}")
        return [of(self.places[place]) for place in self.place]

    @property
    def groups(self) -> list[str]:
        """(C,) the task that each cell counts as: a group such as GLUE is one."""
        return [self.places[place].group for place in self.place]

    @property
    def strata(self) -> list[str]:
        """(C,) within which tasks are resampled: families of architectures are no sample of anything."""
        by_family = self.track == "neural_architecture"
        return [self.places[place].family if by_family else "" for place in self.place]

    def means(self) -> Floats:
        """(C, O) means over seeds, NaN where there is no number."""
        counts = np.isfinite(self.values).sum(1)
        total = np.where(np.isfinite(self.values), self.values, 0.0).sum(1)
        means = np.divide(total, counts, out=np.full(total.shape, np.nan), where=counts > 0)
        for cell, spread in self.spreads.items():
            means[cell] = self.scaled(spread.ratios())
        return means

    def scaled(self, values: Floats) -> Floats:
        """Numbers as `values` holds them."""
        return np.log(values) if self.geometric else values

    def point(self) -> list[float | None]:
        """The metric of every operator, from all its seeds."""
        return [float(v) if np.isfinite(v) else None for v in self.overall(self.means())]

    def overall(self, means: Floats, multiplicity: Floats | None = None) -> Floats:
        """(..., O) the metric from the means of cells (..., C, O), each cell counted `multiplicity` (..., C) times."""
        known = np.isfinite(means)
        weights = np.where(known, self.weights, 0.0)
        if multiplicity is not None:
            weights = weights * multiplicity[..., None]
        of_part = np.equal(np.arange(len(self.parts))[:, None], self.part).astype(float)  # (P, C)
        weight = np.einsum("pc,...co->...po", of_part, weights)
        total = np.einsum("pc,...co->...po", of_part, weights * np.where(known, means, 0.0))
        values = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
        if self.geometric:
            values = np.exp(values)
        if not self.parts:
            return np.full((*values.shape[:-2], values.shape[-1]), np.nan)
        if not self.quadratic:
            return values[..., 0, :]
        there = np.isfinite(values).astype(float)
        if multiplicity is not None and self.tasks_are_parts:
            there = there * self._times(multiplicity)[..., None]
        squares = np.where(np.isfinite(values), np.maximum(values, 0.0), 0.0) ** 2
        parts = there.sum(-2)
        mean = np.divide((there * squares).sum(-2), parts, out=np.full(parts.shape, np.nan), where=parts > 0)
        return np.sqrt(mean)

    def _times(self, multiplicity: Floats) -> Floats:
        """(..., P) how often each part was drawn, from the multiplicity of its cells, all alike."""
        first = np.array([np.argmax(self.part == p) for p in range(len(self.parts))])
        return multiplicity[..., first]

    def present(self, names: Sequence[str]) -> list[str]:
        """Those of the `names` (C,) of cells that some operator has, each once, sorted."""
        return sorted({name for name, row in zip(names, self.weights > 0, strict=True) if row.any()})

    def only(self, cells: npt.NDArray[np.bool_]) -> Layout:
        """The same without the other cells."""
        return replace(self, weights=np.where(cells[:, None], self.weights, 0.0))

    def shared_by(self, cells: npt.NDArray[np.bool_]) -> Layout:
        """These cells only, each with one weight for all operators, so that what they share is compared."""
        counts = (self.weights > 0).sum(1)
        weight = np.divide(self.weights.sum(1), counts, out=np.zeros(len(counts)), where=counts > 0)
        return replace(self, weights=np.where(cells, weight, 0.0)[:, None] * (self.weights > 0))


def score_of(track: str, records: Sequence[Record], protocol: str) -> list[Score]:
    """The track's own scores."""
    return TRACKS[track].score(records, protocol)


def layouts(records: Sequence[Record], track: str, metric: str = OM, protocol: str = BIBENCH) -> list[Layout]:
    """One layout per recipe (or study) for which the track has the metric."""
    used = _used(records, track)
    scores: dict[tuple[str, str], list[Score]] = defaultdict(list)
    for row in score_of(track, used, protocol):
        if row.metric == metric and not is_comparator(row.operator):
            scores[row.recipe, row.source].append(row)
    if not scores:
        return []
    parts = list(PARTS[track](used)) if track in PARTS else []
    replicates = _replicates(used, track, protocol)
    made = []
    for (recipe, source), rows in scores.items():
        found = _parts(replicates.get((recipe, source), {}), metric, parts)
        own = [r for r in used if r.source == source]
        spread = spreads(own, recipe) if track == "training_consumption" and metric in (OM, SPREAD) else {}
        made.append(_layout(rows, found, metric, protocol, spread))
    return made


def _used(records: Sequence[Record], track: str) -> list[Record]:
    """What a track reads, each measurement once."""
    kinds = KINDS.get(track)
    used, _ = distinct(r for r in records if kinds is None or r.kind in kinds or r.metric == OVERALL_METRIC)
    if track == "hardware_inference" and any(r.kind == "latency" and r.metric == "storage" for r in used):
        return [r for r in used if r.kind == "latency"]  # files that were measured, rather than counted ones
    return used


def _parts(found: Found, metric: str, parts: Sequence[str]) -> Found:
    """The cells of the parts that make up the metric; corrected for chance where there is a chance level."""
    if not metric.endswith(CORRECTED):
        wanted = parts if metric == OM and parts else [name for name, _ in found if (name == metric) != (metric == OM)]
        return {key: values for key, values in found.items() if key[0] in wanted}
    plain = _parts(found, metric.removesuffix(CORRECTED), parts)
    chosen: Found = {}
    for (name, place), values in plain.items():
        corrected = found.get((name + CORRECTED, place))
        chosen[name, place] = corrected or {key: max(value, 0.0) for key, value in values.items()}
    return chosen


Found = dict[tuple[str, Place], dict[tuple[str, int], float]]


def _replicates(records: Sequence[Record], track: str, protocol: str) -> dict[tuple[str, str], Found]:
    """(recipe, source) → (part, place) → (operator, seed) → the track's number of that cell and seed alone."""
    chunks: dict[tuple[Place, int], list[Record]] = defaultdict(list)
    for r in records:
        if not (track == "training_consumption" and r.kind == "score"):
            chunks[_place(r), r.seed].append(r)
    found: dict[tuple[str, str], Found] = defaultdict(lambda: defaultdict(dict))
    for (place, seed), chunk in chunks.items():
        for row in score_of(track, chunk, protocol):
            if row.value is not None:
                found[row.recipe, row.source][row.metric, place][row.operator, seed] = row.value
    return found


def _place(record: Record) -> Place:
    conditions: tuple[str, ...] = ()
    if record.kind in TIMED:
        conditions = tuple(str(getattr(record, name)) for name in _MEASURED_WITH)
    metric = record.metric if record.metric == OVERALL_METRIC else ""
    return Place(record.task, record.model, record.counts_as, record.family, metric, record.device, conditions)


def _layout(scores: list[Score], found: Found, metric: str, protocol: str, spread: dict[Any, Spread]) -> Layout:
    scores = sorted(scores, key=lambda s: paper_order(s.operator))
    operators = {s.operator: o for o, s in enumerate(scores)}
    cells = sorted(found, key=lambda key: (key[0], key[1]))
    cells += [(SPREAD, Place(task, model, task, "")) for task, model in sorted(spread)]
    parts, places = sorted({part for part, _ in cells}), sorted({place for _, place in cells})
    seeds = {p: sorted({seed for c in cells if c[1] == p for _, seed in found.get(c, {})}) for p in places}
    values = np.full((len(cells), max(map(len, seeds.values()), default=0), len(operators)), np.nan)
    for c, cell in enumerate(cells):
        for (operator, seed), value in found.get(cell, {}).items():
            if operator in operators:
                values[c, seeds[cell[1]].index(seed), operators[operator]] = value
    made = Layout(
        track=scores[0].track,
        metric=metric,
        recipe=scores[0].recipe,
        protocol=protocol,
        source=scores[0].source,
        geometric=scores[0].track in GEOMETRIC and protocol == BIBENCH,
        scores=scores,
        parts=parts,
        places=places,
        part=np.array([parts.index(part) for part, _ in cells], dtype=np.int64),
        place=np.array([places.index(place) for _, place in cells], dtype=np.int64),
        values=np.empty(0),
        weights=np.ones((len(cells), len(operators))),
        spreads={
            c: spread[place.task, place.model].of(list(operators))
            for c, (part, place) in enumerate(cells)
            if part == SPREAD and (place.task, place.model) in spread
        },
    )
    made.values = made.scaled(np.where(values > 0, values, np.nan) if made.geometric else values)
    made.weights = _weights(made, cells)
    return made


def _weights(layout: Layout, cells: Sequence[tuple[str, Place]]) -> Floats:
    there = np.isfinite(layout.means())
    if layout.track in NESTED and layout.protocol == BIBENCH:
        return nested_weights([(part, p.group, p.model) for part, p in cells], there)
    if layout.track in NESTED:
        return probed_weights(cells, there, lambda rows: score_of(layout.track, rows, layout.protocol), layout.recipe)
    if layout.track not in GEOMETRIC:
        return there.astype(float)
    count = np.maximum(np.isfinite(layout.values).sum(1), there)  # every measurement counts, whatever its seed
    if layout.track == "hardware_inference" and layout.protocol == BIBENCH:
        return count * nested_weights([(part, p.device) for part, p in cells], count)
    return count.astype(float)
