"""A suite: axes and filters that resolve to cells, and the tracks scored from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bibench.cell import Cell
from bibench.choice import Choice, choice
from bibench.errors import BiBenchError
from bibench.operators import FULL_PRECISION, known_operators
from bibench.registry import Registry
from bibench.tasks import TASKS

SUITES: Registry[Suite] = Registry("suite", "bibench.suites")


@dataclass(frozen=True)
class Suite:
    """Tasks × models × operators × seeds under one recipe.

    Attributes:
        tasks: names of tasks.
        models: for each task the models to train; a task that is absent trains those of the paper.
        operators: names; None means every registered operator, a stranger's included.
        recipe: name of a recipe that all tasks have.
    """

    name: str
    description: str
    tasks: tuple[str, ...]
    recipe: str
    seeds: tuple[int, ...] = (0,)
    models: Mapping[str, tuple[str, ...]] | None = None
    operators: tuple[str, ...] | None = None
    tracks: tuple[str, ...] = ("learning_task", "neural_architecture")

    def models_of(self, task: str) -> tuple[str, ...]:
        """Models trained on `task`."""
        return (self.models or {}).get(task, TASKS[task].models)


def suite(build: Callable[[], Suite]) -> Callable[[], Suite]:
    """Decorator: enter the suite that a function returns into the catalogue."""
    made = build()
    SUITES.register(made.name, made, where=inspect.unwrap(build))
    return build


@dataclass(frozen=True)
class Filters:
    """What the command line narrows a suite to; empty means everything.

    Operators and models may carry options (``recu[scale_init=weight]``) or be new to the suite.
    """

    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    operators: Sequence[str] = ()
    seeds: Sequence[int] = ()
    recipe: str | None = None


def cells(suite: Suite, filters: Filters | None = None) -> list[Cell]:
    """The cells of a suite, baselines first; every filter value must mean something.

    A full-precision baseline belongs to every selection, since scores are relative to it.
    """
    filters = filters or Filters()
    tasks = _select("task", suite.tasks, filters.tasks, suite.name)
    recipe = choice(filters.recipe or suite.recipe)
    operators = [choice(o) for o in (filters.operators or suite.operators or known_operators())]
    operators = [Choice(FULL_PRECISION), *(o for o in operators if o.name != FULL_PRECISION)]
    seeds = tuple(filters.seeds) or suite.seeds
    if any(seed < 0 for seed in seeds):
        raise BiBenchError(f"seeds must not be negative, got {list(seeds)}")
    found = []
    unmatched = set(filters.models)
    for task in tasks:
        for model in _models(suite, task, filters.models, unmatched):
            for operator in operators:
                found += [Cell(choice(task), model, operator, recipe, seed) for seed in seeds]
    if unmatched:
        known = sorted({m for task in tasks for m in suite.models_of(task)})
        raise BiBenchError(
            f"--models {', '.join(sorted(unmatched))}: not in suite {suite.name!r} for these tasks, which trains "
            f"{', '.join(known)}; write the options too, as in {known[0]}"
        )
    for cell in found:
        cell.validate()
    return sorted(dict.fromkeys(found), key=lambda c: not c.full_precision)


def _models(suite: Suite, task: str, wanted: Sequence[str], unmatched: set[str]) -> list[Choice]:
    models = [choice(m) for m in suite.models_of(task)]
    if not wanted:
        return models
    chosen = []
    for text in wanted:
        asked = choice(text)
        matches = [m for m in models if m == asked or (not asked.items and m.name == asked.name)]
        if not matches and asked.items:
            matches = [asked]  # options of the user's own: a new model of the suite
        if matches:
            unmatched.discard(text)
        chosen += matches
    return list(dict.fromkeys(chosen))


def _select(kind: str, available: Sequence[str], wanted: Sequence[str], suite: str) -> list[str]:
    for name in wanted:
        if name not in available:
            TASKS[name]  # an unknown name gets the catalogue's own error
            raise BiBenchError(f"{kind} {name!r} is not in suite {suite!r}, which has: {', '.join(available)}")
    return [name for name in available if not wanted or name in wanted]
