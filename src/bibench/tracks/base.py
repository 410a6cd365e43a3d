"""What a track is, and the relative scores that most tracks are made of."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import wraps
from statistics import mean, stdev
from typing import Any

from bibench.compressor import is_comparator
from bibench.operators import FULL_PRECISION, paper_order
from bibench.records import Record
from bibench.registry import Registry

TRACKS: Registry[Track] = Registry("track", "bibench.tracks")


@dataclass(frozen=True)
class Score:
    """One score of one operator under one recipe; `value` in its track's unit, None when nothing can be said.

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
    """A track: its title, the equation it follows, the function from records to scores, and how they are shown."""

    name: str
    title: str
    equation: str
    score: Callable[[Sequence[Record]], list[Score]]
    unit: str = "percent of full precision"
    digits: int = 1


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
    comparators: bool = False,
    **shown: Any,
) -> Callable[..., Any]:
    """Decorator: enter a function from comparable records to scores into the catalogue.

    What it becomes takes any records: it scores each of `parts` alone, so that numbers of different
    recipes are never averaged. Records of comparators reach it only if it asks for `comparators`, so that
    they are in no rank, average or overall metric. `shown`: `unit` and `digits` of its scores.
    """

    def enter(function: Callable[[Sequence[Record]], list[Score]]) -> Any:
        @wraps(function)
        def score(records: Sequence[Record]) -> list[Score]:
            chosen = records if comparators else without_comparators(records)
            scored = {recipe: function(part) for recipe, part in parts(chosen).items()}
            return [replace(row, recipe=recipe) for recipe, rows in scored.items() for row in rows]

        TRACKS.register(name, Track(name, title, equation, score, **shown), where=function)
        return score

    return enter


def without_comparators(records: Sequence[Record]) -> list[Record]:
    """The records of operators and baselines alone."""
    others = {name for name in {r.operator for r in records} if is_comparator(name)}
    return [r for r in records if r.operator not in others]


@dataclass(frozen=True)
class Ratio:
    """The score of one cell relative to its full-precision baseline (value None: it has no number).

    `group` is the task that it counts as: the tasks of a group (GLUE's nine, the categories of ShapeNet-part)
    are one task in the scores.
    """

    task: str
    group: str
    model: str
    family: str
    operator: str
    seed: int
    value: float | None


def ratios(records: Iterable[Record]) -> tuple[list[Ratio], list[str]]:
    """Every operator cell's score divided by its baseline's, and what could not be related."""
    scores = [r for r in records if r.kind == "score" and r.split == "test"]
    baselines = {_comparable(r): r for r in scores if r.operator == FULL_PRECISION}
    found, notes = [], []
    for record in scores:
        if record.operator == FULL_PRECISION:
            continue
        baseline = baselines.get(_comparable(record))
        value = None
        if record.value is not None:
            if baseline is None or baseline.value is None:
                notes.append(f"{record.cell}: its full-precision baseline has no score")
            elif baseline.value <= 0:
                notes.append(f"{record.cell}: its full-precision baseline scores {baseline.value}")
            else:
                value = record.value / baseline.value
        found.append(
            Ratio(
                task=record.task,
                group=record.counts_as,
                model=record.model,
                family=record.family,
                operator=record.operator,
                seed=record.seed,
                value=value,
            )
        )
    return found, notes


def _comparable(record: Record) -> tuple[Any, ...]:
    return record.task, record.model, record.recipe, record.seed


def operators_of(found: Iterable[Ratio]) -> list[str]:
    """The operators, the paper's first."""
    return sorted({r.operator for r in found}, key=paper_order)


def expected_cells(found: Sequence[Ratio], operators: Sequence[str], **fixed: str) -> int:
    """How many cells any operator has that match `fixed`: what a complete operator would have."""
    chosen = [r for r in found if all(getattr(r, k) == v for k, v in fixed.items())]
    return max((sum(r.operator == o for r in chosen) for o in operators), default=0)


def average(found: Sequence[Ratio]) -> tuple[float | None, float | None, int]:
    """Mean ratio in percent, its standard error over seeds, and the count.

    Models of a group of tasks weigh equally (a task that stands for itself is its own group), within a
    model the tasks of the group, within a task the seeds. So a family of architectures is not ruled by the
    task that has most rows; where every model has every task, it is the plain mean of all, as in the paper.
    """
    valid = [r for r in found if r.value is not None]
    if not valid:
        return None, None, 0
    seeds = sorted({r.seed for r in valid})
    by_seed = [_nested_mean([r for r in valid if r.seed == seed]) for seed in seeds]
    error = stdev(by_seed) / math.sqrt(len(by_seed)) if len(by_seed) > 1 else None
    return 100 * _nested_mean(valid), None if error is None else 100 * error, len(valid)


def _nested_mean(valid: Sequence[Ratio]) -> float:
    values: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for r in valid:
        assert r.value is not None
        values[r.group, r.model][r.task].append(r.value)
    return mean(mean(mean(seeds) for seeds in tasks.values()) for tasks in values.values())


def quadratic_mean(values: Sequence[float | None]) -> float | None:
    """√(mean of squares) over the values that exist (the paper's overall metric).

    Where a correlation is negative, so is its ratio; it counts as 0, since its square would be a merit.
    """
    existing = [max(v, 0.0) for v in values if v is not None]
    return math.sqrt(mean(v * v for v in existing)) if existing else None
