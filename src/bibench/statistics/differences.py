"""Paired differences between operators: the same task, model, recipe and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bibench.records import Record
from bibench.statistics.cells import LEVEL


@dataclass(frozen=True)
class Difference:
    """What `operator` scores above `other` on the same seeds.

    Of one cell: `mean` of the differences in percentage points, with the t-interval over the pairs. Overall
    (`task` and `model` empty): mean over the cells, in percent of full precision, and how many cells are
    won and lost. `pairs` seeds entered; None and `note` say where seeds do not pair.
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

    @property
    def tie(self) -> bool | None:
        """Whether the interval contains zero; None where there is no interval."""
        return None if self.low is None or self.high is None else self.low <= 0 <= self.high

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return {**asdict(self), "tie": self.tie}


def differences(records: Sequence[Record], *, against: str | None = None, level: float = LEVEL) -> list[Difference]:
    """All pairs of operators (or all `against` one): a row per task × model, then one over all of them."""
    raise NotImplementedError
