"""Tables 15-16: ResNet-18 on CIFAR-10 under eight settings, five trainings each.

They are settings of ``sensitivity_release``: SGD with steps has no momentum in the paper's configurations,
and its accuracies show it.
"""

from __future__ import annotations

from bibench.foundation.choice import choice
from bibench.published.names import chance, ours
from bibench.published.tables import Row, rows, score
from bibench.records.record import Record

TASK, MODEL, STUDY = "cifar10", "resnet18", "sensitivity_release"
COLUMNS = ("operator", "optimizer", "learning_rate", "scheduler", "trial", "accuracy_percent")
Setting = tuple[str, float, str]


def records() -> list[Record]:
    """Kind ``score``, each setting a recipe of the study."""
    from bibench.tasks.sensitivity import settings

    recipes = {_setting(recipe): recipe for recipe in settings(STUDY)}
    table = rows("sensitivity_cifar10_resnet18.csv", COLUMNS, ("learning_rate", "trial", "accuracy_percent"))
    return [_record(recipes, row) for row in table]


def _setting(recipe: str) -> Setting:
    options = choice(recipe).options
    return options["optimizer"], options["lr"], options["schedule"]


def _record(recipes: dict[Setting, str], row: Row) -> Record:
    return score(
        kind="score",
        metric=ours(TASK).metric,
        value=float(row["accuracy_percent"]) / 100,
        task=TASK,
        chance=chance(TASK),
        model=MODEL,
        operator=row["operator"],
        recipe=recipes[row["optimizer"], float(row["learning_rate"]), row["scheduler"]],
        study=STUDY,
        seed=int(row["trial"]),
    )
