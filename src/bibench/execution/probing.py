"""Training times where no record tells: a few steps on inputs of the right shape."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

from bibench.foundation import blame
from bibench.recipes.recipe import make_optimizer
from bibench.suite.cell import Cell
from bibench.tasks import TASKS
from bibench.train.cell import compressor_for, convert, float_model

PROBE_STEPS = 3


def probed(cell: Cell) -> tuple[float | None, str]:
    try:
        return _probe(cell), f"probe of {PROBE_STEPS} steps on this machine"
    except Exception as error:  # of a stranger's operator or model; the plan shows all the others
        return None, f"the probe failed: {blame.told(error)}"


def _probe(cell: Cell) -> float:
    """Hours for the whole cell, from a few training steps on inputs of the right shape."""
    task, recipe = TASKS[cell.task.name](), cell.resolved_recipe()
    model = float_model(cell, task)
    chosen = compressor_for(cell)
    convert(cell, model, task, recipe, chosen)
    optimizer = make_optimizer(model, recipe)
    inputs = _repeat(task.example_inputs(), recipe.batch_size)
    times = []
    for _ in range(PROBE_STEPS + 1):
        start = time.perf_counter()
        chosen.progress(model, 0.0, 1 / recipe.epochs)
        loss = task.trial_loss(model, inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    steps = TASKS[cell.task.name].train_examples * recipe.epochs / recipe.batch_size
    return sorted(times[1:])[PROBE_STEPS // 2] * steps / 3600


def _repeat(inputs: Any, size: int) -> tuple[Tensor, ...]:
    tensors = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    return tuple(x[:1].expand(size, *x.shape[1:]).contiguous() for x in tensors)
