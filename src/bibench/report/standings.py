"""Who wins where: accuracies relative to full precision, ranks by place, and weak cells."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bibench.operators import FULL_PRECISION
from bibench.records.accuracies import Accuracy
from bibench.records.record import Record
from bibench.tracks.base import LARGEST


@dataclass(frozen=True)
class Standing:
    """An operator on one task × model × recipe: its accuracy, in percent of full precision, and its rank there.

    `of` operators have one; `shared`: whether others have the same accuracy.
    """

    accuracy: Accuracy
    relative: float | None
    rank: int | None
    of: int
    shared: bool = False


def standings(rows: Sequence[Accuracy]) -> list[Standing]:
    """One per accuracy of an operator; `relative` is None where full precision has no score above (next to) zero."""
    places: dict[tuple[str, ...], list[Accuracy]] = defaultdict(list)
    for row in rows:
        places[row.task, row.model, row.recipe, row.source].append(row)
    found = []
    for place in places.values():
        full = next((row.mean for row in place if row.operator == FULL_PRECISION), None)
        own = [row for row in place if row.operator != FULL_PRECISION]
        values = [row.mean for row in own if row.mean is not None]
        for row in own:
            usable = row.mean is not None and full is not None and full / 100 > 1 / LARGEST
            relative = 100 * row.mean / full if usable else None  # type: ignore[operator]
            rank = None if row.mean is None else 1 + sum(value > row.mean for value in values)
            found.append(
                Standing(row, relative, rank, len(values), row.mean is not None and values.count(row.mean) > 1)
            )
    return found


WEAK = 60.0
"""Percent of full precision below which a cell counts as weak."""


def weakness(record: Record, relative: float | None) -> str:
    """Why a cell is weak, or an empty string."""
    if record.status != "ok":
        return f"{record.status}: {record.reason}" if record.reason else record.status
    parts = [flag for flag in record.flags.split(",") if flag in ("collapsed", "diverged")]
    if relative is not None and relative < WEAK:
        parts.append(f"{relative:.0f} % of full precision")
    return ", ".join(parts)


def weak_cells(records: Sequence[Record]) -> list[tuple[Record, str]]:
    """Cells that failed, collapsed, diverged or lost more than two fifths of full precision's score."""
    full = {(r.task, r.model, r.recipe, r.seed): r.value for r in records if r.operator == FULL_PRECISION}
    found = []
    for record in records:
        if record.operator == FULL_PRECISION:
            continue
        baseline = full.get((record.task, record.model, record.recipe, record.seed))
        usable = record.value is not None and baseline is not None and baseline > 1 / LARGEST
        relative = 100 * record.value / baseline if usable else None  # type: ignore[operator]
        if why := weakness(record, relative):
            found.append((record, why))
    return found
