"""Contracts of tasks. They read data: a task whose data is missing reports that."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch

from bibench.contracts.base import NotApplicable, contract, expect
from bibench.data.batches import Batch, Batches
from bibench.data.location import data_root
from bibench.foundation.choice import choice
from bibench.foundation.errors import DataError
from bibench.models import MODELS
from bibench.tasks import TASKS, Task


def _task(name: str) -> Task:
    task = TASKS[name](data_root())
    if problem := task.missing():
        raise DataError(problem)
    task.prepare()
    return task


class _Few:
    """At most `count` batches of an epoch, evenly spaced: judging a model takes seconds on data of any size."""

    def __init__(self, batches: Batches, count: int) -> None:
        steps = range(0, len(batches), -(-len(batches) // count))
        self._batches = [next(batches.epoch(0, step)) for step in steps]
        self.examples = sum(batch.size for batch in self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        yield from self._batches[start:]

    def digest(self, epoch: int) -> bytes:
        raise NotImplementedError


def _tensors(value: Any) -> list[torch.Tensor]:
    """All tensors in a batch, those in lists and dictionaries included."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [x for item in value for x in _tensors(item)] if isinstance(value, list | tuple) else []


def _same(first: Any, second: Any) -> bool:
    pairs = zip(_tensors(first), _tensors(second), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@contract("task")
def models_and_recipes_exist(name: str) -> None:
    """Its architectures are in the catalogue; it has the recipes ``paper`` and ``quick``, for both stages."""
    task = TASKS[name]
    for model in task.models:
        MODELS[choice(model).name].check_options(choice(model).options)
    missing = {"paper", "quick"} - task.recipes.keys()
    expect(not missing, f"has no recipe {', '.join(sorted(missing))}")
    for recipe in task.recipes.values():
        recipe.for_operator(full_precision=True)
    expect(bool(task.models), "names no model")


@contract("task")
def order_is_reproducible(name: str) -> None:
    """The same seed gives the same batches, from any step on; another epoch another order."""
    task = _task(name)
    batches = task.batches("train", batch_size=4, seed=1)
    again = task.batches("train", batch_size=4, seed=1)
    first = list(islice(batches.epoch(0), 3))
    later = next(iter(again.epoch(0, start=2)))
    expect(_same(first[2], later), "continuing at step 2 gives another batch than going there")
    expect(batches.digest(0) == again.digest(0), "the same seed gives another digest")
    expect(batches.digest(0) != batches.digest(1), "two epochs have the same order")


@contract("task")
def loss_and_model_fit(name: str) -> None:
    """The first model runs on a batch and on the example inputs, and the loss is a finite scalar."""
    chosen = choice(TASKS[name].models[0])
    task = _task(name).for_model(chosen.name)
    model = task.model(chosen.name, chosen.options)
    batch = next(iter(task.batches("train", batch_size=4, seed=1).epoch(0)))
    loss = task.loss(task.forward(model, batch), batch)
    expect(loss.dim() == 0 and bool(torch.isfinite(loss)), f"the loss is {loss}, expected a finite scalar")
    example = task.example_inputs()
    with torch.no_grad():
        model.eval()(*(example if isinstance(example, tuple) else (example,)))


@contract("task")
def score_is_in_range(name: str) -> None:
    """Evaluation gives the task's metric, at least -1 and at most 1."""
    chosen = choice(TASKS[name].models[0])
    task = _task(name).for_model(chosen.name)
    model = task.model(chosen.name, chosen.options).eval()
    with torch.no_grad():
        judged = task.evaluate(model, _Few(task.batches("test", batch_size=32), 4), torch.device("cpu"))
    expect(task.metric in judged.metrics, f"evaluate gives {sorted(judged.metrics)}, not {task.metric!r}")
    value = judged.metrics[task.metric]
    expect(-1 <= value <= 1, f"{task.metric} is {value}, expected a fraction")


@contract("task")
def a_shared_training_is_the_same(name: str) -> None:
    """Where it is `trained_as` another task: the same batches to train and validate on, model and losses."""
    chosen, other = choice(TASKS[name].models[0]), TASKS[name].trained_as
    if not other:
        raise NotApplicable
    expect(not TASKS[other].trained_as, f"is trained as {other!r}, which has no training of its own")
    first, second = (_task(n).for_model(chosen.name) for n in (name, other))
    expect(first.splits() == second.splits(), f"has the splits {first.splits()}, {other!r} {second.splits()}")
    for split in set(first.splits()) - {"test"}:
        fingerprints = [
            task.batches(split, batch_size=4, seed=seed).digest(epoch)
            for seed, epoch in ((1, 0), (1, 1), (None, 0))
            for task in (first, second)
        ]
        expect(fingerprints[::2] == fingerprints[1::2], f"has other batches of the {split} split than {other!r}")
    batch = next(iter(first.batches("train", batch_size=4, seed=1).epoch(0)))
    losses = []
    for task in (first, second):
        torch.manual_seed(0)
        model = task.model(chosen.name, chosen.options)
        outputs = task.forward(model, batch)
        losses.append(float(task.loss(outputs, batch)))
    expect(losses[0] == losses[1], f"has a loss of {losses[0]:g} on a batch, {other!r} of {losses[1]:g}")
