"""Ranks with ties: who can be told from whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bibench.records import Record
from bibench.statistics.cells import LEVEL
from bibench.statistics.intervals import SAMPLES


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
    raise NotImplementedError
