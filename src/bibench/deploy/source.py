"""Where a trained model is found: a cell's folder, its checkpoint, or a checkpoint with the model named beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bibench.cell import Cell
from bibench.choice import choice
from bibench.conversion import binarize
from bibench.errors import BiBenchError, CheckpointError
from bibench.files import load_checkpoint, read_json
from bibench.models import MODELS
from bibench.operators import FULL_PRECISION, OPERATORS
from bibench.store import CELL, MODEL
from bibench.tasks import TASKS, Task


@dataclass(frozen=True)
class Named:
    """What a checkpoint is of, where it does not say so itself."""

    task: str | None = None
    model: str | None = None
    operator: str | None = None


@dataclass(frozen=True)
class Source:
    """A trained model in evaluation mode, its task, and what its provenance is."""

    model: nn.Module
    task: Task
    provenance: dict[str, Any]


def trained(path: str | Path, named: Named | None = None, data_root: Path | None = None) -> Source:
    """Load what ``bibench export`` is given.

    Args:
        path: a cell's folder, its ``model.pt``, or a file with a state dictionary (then `named` says of what).
    """
    path = Path(path)
    if path.is_dir():
        if not (path / CELL).exists():
            raise BiBenchError(f"{path} is no cell: it has no {CELL}; give the folder of one training in a run folder")
        if not (path / MODEL).exists():
            raise BiBenchError(f"{path} has no {MODEL}: the cell is not trained to its end; run it first")
        return _of_cell(path / MODEL, read_json(path / CELL).get("cell"), data_root)
    checkpoint = load_checkpoint(path)
    if "cell" in checkpoint:
        return _of_cell(path, checkpoint["cell"], data_root)
    return _of_state(path, checkpoint, named or Named(), data_root)


def _of_cell(path: Path, description: Any, data_root: Path | None) -> Source:
    from bibench.train.cell import load_weights

    if not isinstance(description, dict):
        raise BiBenchError(f"{path.parent / CELL} does not describe a cell")
    cell = Cell.from_dict(description)
    task = TASKS[cell.task.name](data_root).for_model(cell.model.name)
    return Source(load_weights(path, cell, task), task, {"cell": cell.to_dict(), "checkpoint": path.name})


def _of_state(path: Path, state: dict[str, Any], named: Named, data_root: Path | None) -> Source:
    state = state.get("model", state.get("state_dict", state))
    if named.task is None or named.model is None:
        raise BiBenchError(f"{path} does not say what it is of: give --task, --model and --operator")
    model_name, operator = choice(named.model), choice(named.operator or FULL_PRECISION)
    MODELS[model_name.name].check_options(model_name.options)
    task = TASKS[named.task](data_root).for_model(model_name.name)
    model = task.model(model_name.name, model_name.options)
    if not OPERATORS[operator.name].full_precision:
        binarize(model, operator.name, example_inputs=task.example_inputs(), **operator.options)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} is not of {named.model} with {operator} on {named.task}: {reason}") from error
    facts = {"task": named.task, "model": str(model_name), "operator": str(operator), "checkpoint": path.name}
    return Source(model.eval(), task, facts)


def some_inputs(task: Task, split: str, examples: int) -> tuple[torch.Tensor, ...]:
    """The first examples of a split, as the model is called with them."""
    for batch in task.batches(split, batch_size=examples).epoch(0):
        return tuple(batch.inputs)
    raise BiBenchError(f"task {task.name!r}: the {split} split is empty")


def calibration(task: Task, batches: int = 8, size: int = 16) -> list[list[Any]]:
    """Batches of training data as stored, not augmented."""
    found = []
    for batch in task.batches("train", batch_size=size).epoch(0):
        found.append([x.numpy() for x in batch.inputs])
        if len(found) == batches:
            break
    return found
