"""Recipes of the sensitivity study: one training under every optimizer, learning rate and schedule.

Tables 15-16 of the paper: SGD at 0.1 and 0.01, Adam at 1e-3 and 1e-4, each with a cosine and a step
schedule (×0.1 at 1/2 and 3/4 of the training: epochs 100 and 150 of 200), from scratch. Full precision
and operators are trained alike. SGD has momentum 0.9 in all of its settings. In the configurations of
the official release the step settings have none, which confounds schedule and momentum; the recipe
``sensitivity_release`` does as they do.
"""

from __future__ import annotations

from bibench.foundation.choice import choice
from bibench.recipes.recipe import Recipe, Setting

_RATES = {"sgd": (0.1, 0.01), "adam": (1e-3, 1e-4)}
_SCHEDULES = ("cosine", "step")


def _grid(step_momentum: float | None = None) -> tuple[Setting, ...]:
    settings = []
    for optimizer, rates in _RATES.items():
        for rate in rates:
            for schedule in _SCHEDULES:
                setting = [("optimizer", optimizer), ("lr", rate), ("schedule", schedule)]
                if step_momentum is not None and (optimizer, schedule) == ("sgd", "step"):
                    setting.append(("momentum", step_momentum))
                settings.append(tuple(setting))
    return tuple(settings)


SENSITIVITY = "sensitivity"
RELEASE = "sensitivity_release"
GRIDS: dict[str, tuple[Setting, ...]] = {SENSITIVITY: _grid(), RELEASE: _grid(step_momentum=0.0)}


def sensitivity_recipes(*, epochs: int, batch_size: int) -> dict[str, Recipe]:
    """The recipes of both variants for a task; their own settings are Adam, 1e-3, cosine.

    Neither the paper nor its tables state a weight decay for the study; there is none.
    """
    return {
        name: Recipe(epochs=epochs, batch_size=batch_size, lr=1e-3, optimizer="adam", init="scratch", grid=grid)
        for name, grid in GRIDS.items()
    }


def settings(name: str) -> tuple[str, ...]:
    """The settings of a variant as recipes of a suite: ``sensitivity[lr=0.1,optimizer=sgd,schedule=cosine]``."""
    return tuple(str(choice(name, **dict(setting))) for setting in GRIDS[name])
