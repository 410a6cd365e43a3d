"""Leave one task out: does the ranking rest on a single task?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bibench.records import Record


@dataclass(frozen=True)
class LeaveOneOut:
    """The ranking without one task (or group of tasks): position of each operator, best first.

    `tau` is Kendall's τ-b between the scores with and without it (1: the same order); `moved` are the operators
    with another position than with all tasks. `left_out` is empty in the row of all tasks.
    """

    track: str
    metric: str
    recipe: str
    protocol: str
    left_out: str
    ranks: dict[str, int]
    tau: float | None
    moved: tuple[str, ...]
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def leave_one_out(
    records: Sequence[Record], track: str, *, metric: str = "om", protocol: str = "bibench"
) -> list[LeaveOneOut]:
    """For every recipe the ranking of all tasks, then one without each."""
    raise NotImplementedError
