"""What a track is, and the relative scores that most tracks are made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from statistics import mean, stdev
from typing import Any

from bibench.operators import FULL_PRECISION, paper_order
from bibench.records import Record
from bibench.registry import Registry

TRACKS: Registry[Track] = Registry("track", "bibench.tracks")


@dataclass(frozen=True)
class Score:
    """One score of one operator under one recipe; `value` in percent, None when nothing can be said.

    `std_error` is over seeds (None for fewer than two); `cells` of `expected` entered the value.
    """

    track: str
    metric: str
    operator: str
    value: float | None
    std_error: float | None = None
    cells: int = 0
    expected: int = 0
    note: str = ""
    recipe: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


@dataclass(frozen=True)
class Track:
    """A track: its title, the equation it follows, and the function from records to scores."""

    name: str
    title: str
    equation: str
    score: Callable[[Sequence[Record]], list[Score]]


def by_recipe(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by recipe, without the settings of studies: those are no results of their own."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        if not record.study:
            parts.setdefault(record.recipe, []).append(record)
    return parts


def by_study(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Records by study, its settings pooled; those of no study by their recipe."""
    parts: dict[str, list[Record]] = {}
    for record in records:
        parts.setdefault(record.study or record.recipe, []).append(record)
    return parts


def track(
    name: str,
    title: str,
    equation: str,
    parts: Callable[[Sequence[Record]], dict[str, list[Record]]] = by_recipe,
) -> Callable[..., Any]:
    """Decorator: enter a function from comparable records to scores into the catalogue.

    What it becomes takes any records: it scores each of `parts` alone, so that numbers of different
    recipes are never averaged.
    """

    def enter(function: Callable[[Sequence[Record]], list[Score]]) -> Any:
        @wraps(function)
        def score(records: Sequence[Record]) -> list[Score]:
            scored = {recipe: function(part) for recipe, part in parts(records).items()}
            return [replace(row, recipe=recipe) for recipe, rows in scored.items() for row in rows]

        TRACKS.register(name, Track(name, title, equation, score), where=function)
        return score

    return enter


@dataclass(frozen=True)
class Ratio:
    """The score of one cell relative to its full-precision baseline (value None: it has no number)."""

    task: str
    model: str
    family: str
    operator: str
    seed: int
    value: float | None


def ratios(records: Iterable[Record]) -> tuple[list[Ratio], list[str]]:
    """Every operator cell's score divided by its baseline's, and what could not be related."""
    scores = [r for r in records if r.kind == "score" and r.split == "test"]
    baselines = {_group(r): r for r in scores if r.operator == FULL_PRECISION}
    found, notes = [], []
    for record in scores:
        if record.operator == FULL_PRECISION:
            continue
        baseline = baselines.get(_group(record))
        value = None
        if record.value is not None:
            if baseline is None or baseline.value is None:
                notes.append(f"{record.cell}: its full-precision baseline has no score")
            elif baseline.value <= 0:
                notes.append(f"{record.cell}: its full-precision baseline scores {baseline.value}")
            else:
                value = record.value / baseline.value
        found.append(Ratio(record.task, record.model, record.family, record.operator, record.seed, value))
    return found, notes


def _group(record: Record) -> tuple[Any, ...]:
    return record.task, record.model, record.recipe, record.seed


def operators_of(found: Iterable[Ratio]) -> list[str]:
    """The operators, the paper's first."""
    return sorted({r.operator for r in found}, key=paper_order)


def expected_cells(found: Sequence[Ratio], operators: Sequence[str], **fixed: str) -> int:
    """How many cells any operator has that match `fixed`: what a complete operator would have."""
    chosen = [r for r in found if all(getattr(r, k) == v for k, v in fixed.items())]
    return max((sum(r.operator == o for r in chosen) for o in operators), default=0)


def average(found: Sequence[Ratio]) -> tuple[float | None, float | None, int]:
    """Mean ratio in percent (models weigh equally), its standard error over seeds, and the count."""
    valid = [r for r in found if r.value is not None]
    if not valid:
        return None, None, 0
    by_model: dict[tuple[str, str], list[float]] = defaultdict(list)
    by_seed: dict[int, list[float]] = defaultdict(list)
    for r in valid:
        assert r.value is not None
        by_model[r.task, r.model].append(r.value)
        by_seed[r.seed].append(r.value)
    value = mean(mean(values) for values in by_model.values())
    seeds = [mean(values) for values in by_seed.values()]
    error = stdev(seeds) / math.sqrt(len(seeds)) if len(seeds) > 1 else None
    return 100 * value, None if error is None else 100 * error, len(valid)


def quadratic_mean(values: Sequence[float | None]) -> float | None:
    """√(mean of squares) over the values that exist (the paper's overall metric)."""
    existing = [v for v in values if v is not None]
    return math.sqrt(mean(v * v for v in existing)) if existing else None
