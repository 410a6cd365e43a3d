"""Learning task: relative accuracy on every task, and its quadratic mean (Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

from bibench.records import Record
from bibench.tracks.base import Score, average, expected_cells, operators_of, quadratic_mean, ratios, track

NAME = "learning_task"


@track(NAME, "Learning task", "Eq. 2")
def score(records: Sequence[Record]) -> list[Score]:
    """Per task the mean over models of accuracy / full-precision accuracy; OM = √(mean over tasks of squares)."""
    found, _ = ratios(records)
    tasks = list(dict.fromkeys(r.task for r in found))
    operators = operators_of(found)
    rows = []
    for operator in operators:
        values = []
        for task in tasks:
            chosen = [r for r in found if r.operator == operator and r.task == task]
            value, error, count = average(chosen)
            expected = expected_cells(found, operators, task=task)
            note = "" if count == expected else f"{count} of {expected} cells"
            rows.append(Score(NAME, task, operator, value, error, count, expected, note))
            values.append(value)
        present = [v for v in values if v is not None]
        note = "" if len(present) == len(tasks) else f"{len(present)} of {len(tasks)} tasks"
        rows.append(Score(NAME, "om", operator, quadratic_mean(values), None, len(present), len(tasks), note))
    return rows
