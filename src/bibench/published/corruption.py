"""Tables 9, 13 and 14: CIFAR10-C, ResNet-18 under every operator and ResNet-20 in full precision."""

from __future__ import annotations

from bibench.operators import FULL_PRECISION
from bibench.published.names import chance, ours
from bibench.published.tables import Row, rows, score
from bibench.records.record import Record

TASK = "cifar10"
COLUMNS = ("corruption", "severity", "operator", "accuracy_percent")


def records() -> list[Record]:
    """Kind ``corruption``."""
    resnet18 = rows("cifar10c_resnet18.csv", COLUMNS, ("severity", COLUMNS[-1]))
    columns = tuple(column for column in COLUMNS if column != "operator")
    resnet20 = rows("cifar10c_resnet20_fp32.csv", columns, ("severity", COLUMNS[-1]))
    return [_record("resnet18", row) for row in resnet18] + [_record("resnet20", row) for row in resnet20]


def _record(model: str, row: Row) -> Record:
    return score(
        kind="corruption",
        metric=ours(TASK).metric,
        value=float(row["accuracy_percent"]) / 100,
        task=TASK,
        chance=chance(TASK),
        model=model,
        operator=row.get("operator", FULL_PRECISION),
        corruption=row["corruption"],
        severity=int(row["severity"]),
    )
