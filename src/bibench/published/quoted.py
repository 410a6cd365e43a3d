"""Numbers that the paper states without the raw ones: `where` names the place.

FDA's time of a training, relative to full precision; speed-up and compression of ResNet-18 by the paper's count.
"""

from __future__ import annotations

from bibench.published.sensitivity import STUDY
from bibench.published.tables import RECIPE, Row, record, rows
from bibench.records.record import Record

COLUMNS = ("kind", "metric", "task", "architecture", "operator", "value", "where")
RECIPES = {"cost": STUDY}
"""Of what training the number is, where it is of another than the paper's main one."""


def records() -> list[Record]:
    """Kinds ``cost`` and ``complexity``."""
    return [_record(row) for row in rows("quoted.csv", COLUMNS, ("value",))]


def _record(row: Row) -> Record:
    return record(
        kind=row["kind"],
        metric=row["metric"],
        value=float(row["value"]),
        reason=row["where"],
        task=row["task"],
        model=row["architecture"],
        operator=row["operator"],
        recipe=RECIPES.get(row["kind"], RECIPE),
    )
