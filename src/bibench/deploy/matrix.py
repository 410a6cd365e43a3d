"""What runs where: operator × model × engine with the reason per layer, before any training.

Derived from what operators state to be left at inference and what engines say of it. Models are on the meta device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from bibench.comparators.compressor import compressor_of
from bibench.deploy.engine import ENGINES, Obstacle
from bibench.deploy.statement import statements
from bibench.foundation.choice import Choice
from bibench.foundation.errors import BiBenchError
from bibench.models import MODELS
from bibench.nn.calls import on_meta
from bibench.operators import FULL_PRECISION
from bibench.tasks import Task


@dataclass(frozen=True)
class Deployability:
    """Of one operator on one model with one engine: `layers` are 1-bit, `obstacles` of them do not run."""

    operator: str
    model: str
    engine: str
    layers: int
    obstacles: tuple[Obstacle, ...] = ()
    problem: str = ""

    @property
    def deployable(self) -> bool:
        """Whether all layers run."""
        return not self.obstacles and not self.problem

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**vars(self), "obstacles": [o._asdict() for o in self.obstacles], "deployable": self.deployable}

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Layers by reason."""
        found: dict[str, list[str]] = {}
        for layer, reason in self.obstacles:
            found.setdefault(reason, []).append(layer)
        return found


def matrix(
    task: Task,
    models: Iterable[Choice],
    operators: Iterable[Choice],
    engines: Iterable[str],
    pad_value: float = 0.0,
) -> Iterator[Deployability]:
    """All combinations, for the shapes of a task. A model that an operator cannot be built for is a `problem`.

    `pad_value`: what 1-bit convolutions see at the border, as in `bibench.binarize`.
    """
    models = list(models)
    for chosen in models:
        MODELS[chosen.name]  # a name that is none is a mistake, and no row
    operators, runners = list(operators), {name: ENGINES[name]() for name in engines}
    for chosen in models:
        for operator in operators:
            layers, problem = 0, ""
            found: dict[str, list[Obstacle]] = {name: [] for name in runners}
            try:
                with torch.device("meta"):
                    model = task.for_model(chosen.name).model(chosen.name, chosen.options)
                    if operator.name != FULL_PRECISION:
                        inputs = on_meta(task.example_inputs())
                        model = compressor_of(operator).outline(model, inputs, pad_value=pad_value)
                layers = len(statements(model))
                found = {name: runner.supports(model) for name, runner in runners.items()}
            except BiBenchError as error:
                problem = str(error)
            for name, obstacles in found.items():
                yield Deployability(str(operator), str(chosen), name, layers, tuple(obstacles), problem)
