"""Bootstrap intervals of what tracks score: over seeds, or over tasks as a population."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bibench.records import Record
from bibench.statistics.cells import LEVEL

SAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A score of a track (`value`, exactly the track's) with its bootstrap interval, in the track's unit.

    `over` is what varies: ``seeds`` (what running the same cells again would give) or ``tasks`` (what other
    tasks of the kind would give). `low` and `high` are None where nothing varies, and `note` says why.
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
    """Interval of `metric` for every recipe and operator of the records, in the track's order."""
    raise NotImplementedError
