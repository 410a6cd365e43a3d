"""Paired differences between operators: the same task, model, recipe and seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import combinations
from statistics import mean, variance
from typing import Any

from bibench.foundation.errors import BiBenchError
from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.accuracies import is_score
from bibench.records.record import Record, distinct
from bibench.statistics.cells import LEVEL, check_level, t_quantile
from bibench.tracks.base import LARGEST

Seeds = dict[int, float | None]
POINTS, RELATIVE = "percentage points", "percent of full precision"


@dataclass(frozen=True)
class Difference:
    """What `operator` scores above `other` on the same seeds.

    Of one cell: `mean` of the differences in percentage points, with the t-interval over the pairs. Overall
    (`task` and `model` empty): mean over the cells, in percent of full precision, and how many cells are
    won and lost. `pairs` seeds entered; None and `note` say where seeds do not pair.

    Attributes:
        recipe: name of the recipe, with its options.
        unit: what the numbers are in, or what is counted.
        std_error: standard error of the mean, in `unit`; None where nothing varies.
        low: lower end of the interval, in `unit`; None without one.
        high: upper end of the interval, in `unit`; None without one.
        level: of confidence, in (0, 1).
        cells: how many cells the overall row is over.
        won: cells in which the mean is above 0.
        lost: cells in which it is below.
        source: the published set that the numbers are from; empty for runs.
    """

    recipe: str
    task: str
    model: str
    operator: str
    other: str
    unit: str
    mean: float | None
    std_error: float | None
    low: float | None
    high: float | None
    level: float
    pairs: int
    cells: int
    won: int
    lost: int
    note: str = ""
    source: str = ""

    @property
    def tie(self) -> bool | None:
        """Whether the interval contains zero; None where there is no interval."""
        return None if self.low is None or self.high is None else self.low <= 0 <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return {**asdict(self), "tie": self.tie}


def differences(records: Sequence[Record], *, against: str | None = None, level: float = LEVEL) -> list[Difference]:
    """All pairs of operators (or all `against` one): a row per task × model, then one over all of them.

    Rows of a cell carry the t-interval of the mean difference over its pairs of seeds. The overall row is the
    mean over cells of those differences divided by full precision's score of the same seed; its variance is
    Σ s²/n over cells divided by their squared number, with Welch-Satterthwaite degrees of freedom (Welch, 1947).

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        level: of confidence, in (0, 1).

    Raises:
        BiBenchError: `against` is no operator of the records.
    """
    check_level(level)
    found: dict[tuple[str, str], dict[tuple[str, str], dict[str, Seeds]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for r in distinct(r for r in records if r.kind == "score" and r.split == "test")[0]:
        found[r.recipe, r.source][r.task, r.model][r.operator][r.seed] = r.value if is_score(r.value) else None
    names = sorted({r.operator for r in records if r.kind == "score" and r.split == "test"}, key=paper_order)
    if against is not None and against not in names:
        raise BiBenchError(f"against: no record has the operator {against!r}; they have: {', '.join(names)}")
    rows = []
    for (recipe, source), places in found.items():
        there = [o for o in names if any(o in cells for cells in places.values())]
        for one, other in _pairs(there, against):
            rows += [replace(row, source=source) for row in _compared(recipe, places, one, other, level)]
    return rows


def _pairs(names: Sequence[str], against: str | None) -> list[tuple[str, str]]:
    if against is not None:
        return [(name, against) for name in names if name not in (against, FULL_PRECISION)] if against in names else []
    return list(combinations([name for name in names if name != FULL_PRECISION], 2))


def _compared(
    recipe: str, places: Mapping[tuple[str, str], dict[str, Seeds]], one: str, other: str, level: float
) -> list[Difference]:
    rows, relative = [], []
    for (task, model), cells in sorted(places.items()):
        if one not in cells and other not in cells:
            continue
        own, its, full = (cells.get(name, {}) for name in (one, other, FULL_PRECISION))
        pairs = {s: (a, b) for s in own if (a := own[s]) is not None and (b := its.get(s)) is not None}
        values = [100 * (a - b) for a, b in pairs.values()]
        rows.append(_cell(recipe, task, model, one, other, values, level, _lacking(one, own, other, its, len(pairs))))
        usable = {s: f for s, f in full.items() if f is not None and f > 1 / LARGEST}
        relative.append([100 * (a - b) / usable[s] for s, (a, b) in pairs.items() if s in usable])
    return [*rows, _overall(recipe, one, other, rows, relative, level)]


def _lacking(one: str, own: Seeds, other: str, its: Seeds, pairs: int) -> str:
    """Why some seeds do not pair, or an empty string."""
    has = {name: sorted(s for s, v in seeds.items() if v is not None) for name, seeds in ((one, own), (other, its))}
    if has[one] == has[other]:
        return "" if pairs > 1 else "one pair: no spread is known" if pairs else "no score"
    said = "; ".join(f"{name} has {', '.join(map(str, seeds)) or 'none'}" for name, seeds in has.items())
    return f"{'no seeds pair' if not pairs else f'{pairs} pairs only'}: {said}"


def _cell(
    recipe: str, task: str, model: str, one: str, other: str, values: Sequence[float], level: float, note: str
) -> Difference:
    average = math.fsum(values) / len(values) if values else None
    error = math.sqrt(variance(values) / len(values)) if len(values) > 1 else None
    return Difference(
        recipe=recipe,
        task=task,
        model=model,
        operator=one,
        other=other,
        unit=POINTS,
        mean=average,
        std_error=error,
        **_bounds(average, error, len(values) - 1, level),
        pairs=len(values),
        cells=int(bool(values)),
        won=int(average is not None and average > 0),
        lost=int(average is not None and average < 0),
        note=note,
    )


def _overall(
    recipe: str, one: str, other: str, rows: Sequence[Difference], relative: Sequence[Sequence[float]], level: float
) -> Difference:
    known = [values for values in relative if values]
    average = mean(math.fsum(values) / len(values) for values in known) if known else None
    parts = [(variance(values) / len(values), len(values) - 1) for values in known if len(values) > 1]
    total = math.fsum(v for v, _ in parts)
    squares = math.fsum(v * v / n for v, n in parts)
    error = math.sqrt(total) / len(known) if parts else None
    notes = [f"{len(known)} of {len(relative)} cells" if len(known) < len(relative) else ""]
    if len(parts) < len(known):
        notes.append(
            f"{len(known) - len(parts)} cells have one pair" + (": the interval is too narrow" if parts else "")
        )
    return Difference(
        recipe=recipe,
        task="",
        model="",
        operator=one,
        other=other,
        unit=RELATIVE,
        mean=average,
        std_error=error,
        **_bounds(average, error, total * total / squares if squares else math.inf, level),
        pairs=sum(row.pairs for row in rows),
        cells=len(known),
        won=sum(row.won for row in rows),
        lost=sum(row.lost for row in rows),
        note="; ".join(filter(None, notes)),
    )


def _bounds(average: float | None, error: float | None, degrees: float, level: float) -> dict[str, Any]:
    if average is None or error is None:
        return {"low": None, "high": None, "level": level}
    half = error * _quantile(degrees, level)
    return {"low": average - half, "high": average + half, "level": level}


@lru_cache(1024)
def _quantile(degrees: float, level: float) -> float:
    return t_quantile(degrees, level)
