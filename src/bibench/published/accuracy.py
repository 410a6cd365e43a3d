"""Tables 10-12: scores of thirteen architectures on nine data sets."""

from __future__ import annotations

from bibench.published.names import OVERALL, chance, collapsed, our_model, our_task, ours
from bibench.published.tables import RECIPE, Row, rows, score
from bibench.records.record import OVERALL_METRIC, Record

COLUMNS = ("task", "subtask", "architecture", "operator", "score_percent")


def records() -> list[Record]:
    """Kind ``score``; the row "Overall" of ShapeNet-part is no score of its own: kind ``task``, `OVERALL_METRIC`."""
    return [_record(row) for row in rows("accuracy.csv", COLUMNS, COLUMNS[-1:])]


def _record(row: Row) -> Record:
    value = float(row["score_percent"]) / 100
    if row["subtask"] == OVERALL:
        return score(
            kind="task",
            metric=OVERALL_METRIC,
            value=value,
            task=row["task"],
            group=row["task"],
            model=our_model(row["task"], row["architecture"], row["task"]),
            operator=row["operator"],
        )
    task = our_task(row["task"], row["subtask"])
    return score(
        kind="score",
        metric=ours(task).metric,
        value=value,
        task=task,
        group=ours(task).group,
        chance=chance(task),
        flags="collapsed" if collapsed(task, value) else "",
        model=our_model(row["task"], row["architecture"], task),
        operator=row["operator"],
        recipe=RECIPE,
    )
