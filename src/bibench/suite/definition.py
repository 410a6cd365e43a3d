"""A suite: axes and filters that resolve to cells, and the tracks scored from them."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bibench.data.remembered import remembered
from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import BiBenchError
from bibench.foundation.registry import Registry
from bibench.operators.names import FULL_PRECISION
from bibench.suite.cell import Cell
from bibench.suite.filters import Filters

SUITES: Registry[Suite] = Registry("suite", "bibench.suites")
"""The suites by name; `suite` enters one."""


@dataclass(frozen=True)
class Suite:
    """Tasks × models × operators × recipes × seeds.

    Attributes:
        tasks: names of tasks.
        models: for each task the models to train; a task that is absent trains those of the paper.
        operators: names, or names by task; None, or a task that is absent, means every registered operator,
            a stranger's included.
        recipe: a recipe that all tasks have, or several, which are an axis: names, with options if need be.
        name: as users write it.
        description: what it is for, in a sentence.
        seeds: the seeds of each cell.
        tracks: names of the tracks that are scored from it.
    """

    name: str
    description: str
    tasks: tuple[str, ...]
    recipe: str | tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    models: Mapping[str, tuple[str, ...]] | None = None
    operators: tuple[str, ...] | Mapping[str, tuple[str, ...]] | None = None
    tracks: tuple[str, ...] = ("learning_task", "neural_architecture")

    def models_of(self, task: str) -> tuple[str, ...]:
        """Models trained on `task`.

        Raises:
            UnknownNameError: no such task.
        """
        from bibench.tasks import TASKS

        return (self.models or {}).get(task, TASKS[task].models)

    def operators_of(self, task: str) -> Sequence[str]:
        """Operators that train on `task`, beside the full-precision baseline."""
        from bibench.operators import known_operators

        named = self.operators.get(task) if isinstance(self.operators, Mapping) else self.operators
        return known_operators() if named is None else named

    @property
    def recipes(self) -> tuple[Choice, ...]:
        """The recipes it trains with."""
        return tuple(map(choice, (self.recipe,) if isinstance(self.recipe, str) else self.recipe))


def suite(build: Callable[[], Suite]) -> Callable[[], Suite]:
    """Decorator: enter the suite that a function returns into the catalogue.

    Args:
        build: a function without arguments; it is called once, now.
    """
    made = build()
    SUITES.register(made.name, made, where=inspect.unwrap(build))
    return build


def cells_of(name: str, filters: Filters | None = None) -> list[Cell]:
    """The `cells` of the suite called `name`; without the catalogues where they were asked before by the same code."""
    asked = hashlib.sha256(repr((name, filters or Filters())).encode()).hexdigest()[:16]
    found = remembered(f"suite-{asked}", lambda: [cell.to_dict() for cell in cells(SUITES[name], filters)])
    return [Cell.from_dict(cell) for cell in found]


def cells(suite: Suite, filters: Filters | None = None) -> list[Cell]:
    """The cells of a suite, baselines first; every filter value must mean something.

    A full-precision baseline belongs to every selection, since scores are relative to it.
    """
    filters = filters or Filters()
    tasks = _select("task", suite.tasks, filters.tasks, suite.name)
    recipes = _chosen_recipes(suite.recipes, filters.recipe)
    seeds = tuple(filters.seeds) or suite.seeds
    if any(seed < 0 for seed in seeds):
        raise BiBenchError(f"seeds must not be negative, got {list(seeds)}")
    models = {task: [choice(m) for m in suite.models_of(task)] for task in suite.tasks}
    found = [
        Cell(choice(task), model, operator, recipe, seed)
        for task in tasks
        for model in _chosen_models(models, task, filters.models)
        for recipe in recipes
        for operator in (Choice(FULL_PRECISION), *map(choice, filters.operators or suite.operators_of(task)))
        for seed in seeds
    ]
    for cell in found:
        cell.validate()
    for text in filters.models:
        if not any(_is_asked(cell.model, choice(text)) for cell in found):
            raise BiBenchError(
                f"--models {text}: suite {suite.name!r} trains it on other tasks than {', '.join(tasks)}, which have "
                f"{', '.join(str(m) for task in tasks for m in models[task])}"
            )
    return sorted(dict.fromkeys(found), key=lambda c: not c.full_precision)


def _chosen_models(models: Mapping[str, Sequence[Choice]], task: str, wanted: Sequence[str]) -> list[Choice]:
    """The models of `task` that are `wanted`; one that the suite trains on no task is new and joins every task."""
    if not wanted:
        return list(models[task])
    from bibench.models import MODELS

    chosen: list[Choice] = []
    for asked in map(choice, wanted):
        MODELS[asked.name]
        chosen += [m for m in models[task] if _is_asked(m, asked)]
        if not any(_is_asked(m, asked) for listed in models.values() for m in listed):
            chosen.append(asked)
    return list(dict.fromkeys(chosen))


def _chosen_recipes(recipes: Sequence[Choice], wanted: str | None) -> list[Choice]:
    """The `recipes` that `wanted` fits, with its options; `wanted` itself if it fits none."""
    if not wanted:
        return list(recipes)
    asked = choice(wanted)
    fitting = [r for r in recipes if r.name == asked.name and not _contradict(r.options, asked.options)]
    return list(dict.fromkeys(choice(r, **asked.options) for r in fitting)) or [asked]


def _contradict(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return any(one[name] != other[name] for name in one.keys() & other.keys())


def _is_asked(model: Choice, asked: Choice) -> bool:
    """Whether `asked` means `model`: the same, or its bare name."""
    return model == asked or (not asked.items and model.name == asked.name)


def _select(kind: str, available: Sequence[str], wanted: Sequence[str], suite: str) -> list[str]:
    for name in wanted:
        if name not in available:
            from bibench.tasks import TASKS

            TASKS[name]  # an unknown name gets the catalogue's own error
            raise BiBenchError(f"{kind} {name!r} is not in suite {suite!r}, which has: {', '.join(available)}")
    return [name for name in available if not wanted or name in wanted]
