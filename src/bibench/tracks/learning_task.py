"""Learning task: relative accuracy on every task, and its quadratic mean (Eq. 2).

OM_task = √(1/N Σ_i E²(A_bi / A)), with A the score of full precision and A_bi of the operator on the same task,
model and seed, E the mean over the cells of task i. In percent. A group of tasks is one task, named by the
group. Under the protocol ``paper``

voc07           is Faster-RCNN alone, SSD300 is dropped
shapenet_part   is the mean of 17 ratios: its 16 categories and the row "Overall", their mean
any other       is the mean of all its cells, GLUE that of 27
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

from bibench.foundation.choice import recorded
from bibench.records.record import OVERALL_METRIC, Record
from bibench.tracks.base import (
    PAPER,
    Ratio,
    Score,
    chance_corrected,
    nested_mean,
    plain_mean,
    ratios,
    relative_scores,
    track,
)

NAME = "learning_task"

DROPPED = ("voc07", "ssd300")
"""Task and model that the paper's average leaves out."""
WITH_OVERALL = "shapenet_part"
"""Group whose mean the paper's average counts once more."""


@track(NAME, "Learning task", "Eq. 2")
def score(records: Sequence[Record], protocol: str) -> list[Score]:
    """Per task the mean of accuracy / full-precision accuracy; OM = √(mean over tasks of squares).

    ``bibench`` weighs models of a task equally and adds the scores of what is above chance.
    """
    if protocol == PAPER:
        found = [r for r in ratios([*records, *overall(records)]) if (r.task, recorded(r.model).name) != DROPPED]
        return relative_scores(NAME, found, _by_group(found), "tasks", plain_mean)
    found = ratios(records)
    arguments = NAME, found, _by_group(found), "tasks", nested_mean
    return relative_scores(*arguments) + chance_corrected(*arguments)


def _by_group(found: Sequence[Ratio]) -> dict[str, list[Ratio]]:
    groups: dict[str, list[Ratio]] = {}
    for r in found:
        groups.setdefault(r.group, []).append(r)
    return groups


def overall(records: Sequence[Record]) -> list[Record]:
    """The row "Overall" of every model × operator × seed, as printed or else the mean over the categories.

    A model that lacks a category that another has got has none.
    """
    printed = [r for r in records if (r.kind, r.metric, r.group) == ("task", OVERALL_METRIC, WITH_OVERALL)]
    if printed:
        return [replace(r, kind="score", task=f"{r.group}_{OVERALL_METRIC}") for r in printed]
    cells: dict[tuple[str, str, int], list[Record]] = defaultdict(list)
    for r in records:
        if r.kind == "score" and r.split == "test" and r.group == WITH_OVERALL:
            cells[r.model, r.operator, r.seed].append(r)
    most = max(map(len, cells.values()), default=0)
    rows = []
    for parts in cells.values():
        values = [r.value for r in parts if r.value is not None]
        complete = len(values) == most
        value, status, reason = (mean(values), "ok", "") if complete else (None, "failed", "a category is missing")
        row = replace(parts[0], task=f"{WITH_OVERALL}_{OVERALL_METRIC}", metric=OVERALL_METRIC, flags="")
        rows.append(replace(row, value=value, status=status, reason=reason))
    return rows
