"""Coverage: which cells exist, are done, failed, cannot work, are stale or never ran. Shown before any average."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bibench.plan import PlanRow
from bibench.records import Record

NEVER = "never ran"


@dataclass(frozen=True)
class CoverageRow:
    """State of the cells of one task × model × operator × recipe (or study): counts over seeds, and reasons."""

    task: str
    model: str
    operator: str
    recipe: str
    states: dict[str, int]
    reasons: tuple[str, ...] = ()

    @property
    def expected(self) -> int:
        """How many cells there should be."""
        return sum(self.states.values())

    @property
    def done(self) -> int:
        """How many have a result that counts in averages (stale ones do, and are said to be stale)."""
        return self.states.get("done", 0) + self.states.get("stale", 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "done": self.done, "expected": self.expected}


@dataclass(frozen=True)
class Coverage:
    """All rows; `line` is the sentence to stand before an average."""

    rows: tuple[CoverageRow, ...]
    basis: str

    @property
    def states(self) -> dict[str, int]:
        """Cells by state, over all rows."""
        return {
            s: sum(r.states.get(s, 0) for r in self.rows) for s in dict.fromkeys(s for r in self.rows for s in r.states)
        }

    @property
    def expected(self) -> int:
        """All cells."""
        return sum(row.expected for row in self.rows)

    @property
    def done(self) -> int:
        """Those with a result."""
        return sum(row.done for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether every cell has a result of the present code."""
        return self.states.get("done", 0) == self.expected

    @property
    def line(self) -> str:
        """Like ``57 of 60 cells: 2 failed, 1 never ran``."""
        others = [f"{n} {state}" for state, n in self.states.items() if state != "done" and n]
        return f"{self.done} of {self.expected} cells" + (": " + ", ".join(others) if others else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "done": self.done,
            "expected": self.expected,
            "line": self.line,
            "basis": self.basis,
            "states": self.states,
            "rows": [row.to_dict() for row in self.rows],
        }


def coverage(records: Sequence[Record], plan: Sequence[PlanRow] | None = None, *, kind: str = "score") -> Coverage:
    """What there is of `plan`, or, without one, of the grid that the records themselves span."""
    raise NotImplementedError
