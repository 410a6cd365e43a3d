"""Learning task: relative accuracy on every task, and its quadratic mean (Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence

from bibench.records import Record
from bibench.tracks.base import Score, average, expected_cells, operators_of, quadratic_mean, ratios, track

NAME = "learning_task"


@track(NAME, "Learning task", "Eq. 2")
def score(records: Sequence[Record]) -> list[Score]:
    """Per task the mean over models of accuracy / full-precision accuracy; OM = √(mean over tasks of squares).

    A group of tasks is one task, named by the group: its ratio is the mean over its tasks and models. GLUE
    then is the plain mean of its 27 ratios, as in the paper; ShapeNet-part is the mean of its 16 categories,
    where the paper adds the row "Overall", their mean, as a seventeenth.
    """
    found, _ = ratios(records)
    groups = list(dict.fromkeys(r.group for r in found))
    operators = operators_of(found)
    rows = []
    for operator in operators:
        values = []
        for group in groups:
            chosen = [r for r in found if r.operator == operator and r.group == group]
            value, error, count = average(chosen)
            expected = expected_cells(found, operators, group=group)
            note = "" if count == expected else f"{count} of {expected} cells"
            rows.append(Score(NAME, group, operator, value, error, count, expected, note))
            values.append(value)
        present = [v for v in values if v is not None]
        note = "" if len(present) == len(groups) else f"{len(present)} of {len(groups)} tasks"
        rows.append(Score(NAME, "om", operator, quadratic_mean(values), None, len(present), len(groups), note))
    return rows
