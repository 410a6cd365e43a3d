"""Mean ± standard error of every cell over its seeds, with a t-interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bibench.foundation.errors import BiBenchError, require
from bibench.records.accuracies import accuracies
from bibench.records.record import Record

LEVEL = 0.95
"""Confidence of every interval, unless another is asked for."""


@dataclass(frozen=True)
class CellMean:
    """Test score of one task × model × operator × recipe over its seeds, in percent.

    `low` and `high` are the t-interval of the mean; they and `std_error` are None for fewer than two seeds,
    `mean` for none, and `note` says so. `missing` counts seeds that failed.

    Attributes:
        task: name of the task.
        group: group of tasks that counts as one in scores; empty for a task of its own.
        embedded: whether the data comes with BiBench's dependencies and stands in for another set.
        model: name of the model, with its options.
        operator: name of the operator, with its options.
        recipe: name of the recipe, with its options.
        metric: name of the task's metric.
        mean: of the scores, in percent.
        std_error: standard error of the mean, in percent.
        low: lower end of the interval, in percent.
        high: upper end of the interval, in percent.
        level: of confidence, in (0, 1).
        seeds: how many seeds have a score.
        source: the published set that the numbers are from; empty for runs.
    """

    task: str
    group: str
    embedded: bool
    model: str
    operator: str
    recipe: str
    metric: str
    mean: float | None
    std_error: float | None
    low: float | None
    high: float | None
    level: float
    seeds: int
    missing: int
    note: str = ""
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


def cells(records: Iterable[Record], *, level: float = LEVEL) -> list[CellMean]:
    """One row per task × model × operator × recipe: mean, s/√n, and mean ± t(n − 1)·s/√n.

    The interval (Student, 1908) takes the seeds for independent and their scores for normal; with two seeds it is wide
    (t = 12.7 at 95 %), and that is what two seeds tell.

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        level: of confidence, in (0, 1).

    Raises:
        BiBenchError: `level` is not between 0 and 1.
    """
    check_level(level)
    rows = []
    for a in accuracies(records):
        error = None if a.std is None else a.std / math.sqrt(a.seeds)
        half = None if error is None else error * t_quantile(a.seeds - 1, level)
        bounded = a.mean is not None and half is not None
        notes = ["" if a.seeds > 1 else ("one seed: no spread is known" if a.seeds else "no score")]
        notes.append(f"{a.missing} of {a.seeds + a.missing} seeds have no score" if a.missing and a.seeds else "")
        rows.append(
            CellMean(
                task=a.task,
                group=a.group,
                embedded=a.embedded,
                model=a.model,
                operator=a.operator,
                recipe=a.recipe,
                metric=a.metric,
                mean=a.mean,
                std_error=error,
                low=a.mean - half if bounded else None,  # type: ignore[operator]
                high=a.mean + half if bounded else None,  # type: ignore[operator]
                level=level,
                seeds=a.seeds,
                missing=a.missing,
                note="; ".join(filter(None, notes)),
                source=a.source,
            )
        )
    return rows


def check_level(level: float) -> None:
    """Raise `BiBenchError` for a confidence that is none."""
    if not 0 < level < 1:
        raise BiBenchError(f"level must lie between 0 and 1, such as 0.95; got {level}")


def t_quantile(degrees: float, level: float) -> float:
    """Half-width, in standard errors, of the two-sided interval of a mean: t at (1 + level) / 2."""
    require("scipy", extra="bench", purpose="intervals")
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def normal_quantile(level: float) -> float:
    """The same for infinitely many degrees of freedom."""
    require("scipy", extra="bench", purpose="intervals")
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def two_sided_p(t: float, degrees: float) -> float:
    """The chance of Student's |t| beyond `t`, for `degrees` of freedom (infinitely many: of the normal)."""
    require("scipy", extra="bench", purpose="comparisons")
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(t)))
