"""Which operators the tables of a command mark, and why: broken contracts, and cells that other code trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bibench.records.flags import IN_FORCE, Marks, outdated
from bibench.records.record import Record

if TYPE_CHECKING:
    from bibench.execution.plan import PlanRow


def marked(records: Sequence[Record], plan: Sequence[PlanRow] | None = None) -> list[Record]:
    """The records, those of stale cells flagged; from now on every table, JSON and CSV marks what is flagged.

    Args:
        plan: the state of the cells of the records, where it is known.
    """
    stale = {row.cell.path.as_posix() for row in plan or () if row.state == "stale"}
    found = outdated(records, stale)
    IN_FORCE.set(Marks(found))
    return found
