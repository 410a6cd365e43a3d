"""The model of a cell: as its seed has it, as its baseline left it, as its operator has it, and as it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from bibench.comparators.compressor import Compressor, compressor_of
from bibench.foundation.errors import CheckpointError
from bibench.nn.auditing import Audit, audit
from bibench.nn.layers import progress, set_backward_precision
from bibench.recipes.recipe import Recipe
from bibench.suite.cell import Cell
from bibench.suite.store import MODEL, CellDirectory
from bibench.tasks import Task
from bibench.train.seeding import INITIAL_WEIGHTS, OPERATOR_PARAMETERS, seed_all
from bibench.train.stored import read_model
from bibench.train.weights import digest, load_full_precision

if TYPE_CHECKING:
    pass


def float_model(cell: Cell, task: Task) -> nn.Module:
    """The full-precision model of a cell, with the initial weights of its seed."""
    seed_all(cell.seed, INITIAL_WEIGHTS)
    return task.model(cell.model.name, cell.model.options)


def compressor_for(cell: Cell) -> Compressor:
    """What a training does to the model of a cell; nothing to that of a baseline."""
    return Compressor() if cell.full_precision else compressor_of(cell.operator)


def convert(cell: Cell, model: nn.Module, task: Task, recipe: Recipe, compressor: Compressor | None = None) -> Audit:
    """Prepare the model of a cell for training; the audit of a baseline has nothing binarized."""
    compressor = compressor or compressor_for(cell)
    seed_all(cell.seed, OPERATOR_PARAMETERS)
    inputs = task.example_inputs()
    audited = compressor.prepare(model, inputs, pad_value=recipe.pad_value) or audit(model, inputs)
    set_backward_precision(model, recipe.backward)
    return audited


def arrange(model: nn.Module, task: Task) -> nn.Module:
    """`model` with its weights in the memory format in which the task serves its data."""
    if not task.channels_last:
        return model
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, unused-ignore]


def load_trained(runs: Path, cell: Cell, task: Task) -> nn.Module:
    """The trained model of a finished cell, in evaluation mode."""
    return load_weights(CellDirectory(runs, cell).file(MODEL), cell, task)


def load_weights(path: Path, cell: Cell, task: Task) -> nn.Module:
    """The model of a cell with the trained weights of the file `path`, in evaluation mode."""
    model, inputs = float_model(cell, task), task.example_inputs()
    saved = read_model(path)
    recipe = cell.resolved_recipe()
    compressor_for(cell).restore(model, inputs, saved.get("model", {}), pad_value=recipe.pad_value)
    set_backward_precision(model, recipe.backward)
    try:
        model.load_state_dict(saved["model"])
        progress(model, *saved["progress"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).split("\n", 1)[0]
        raise CheckpointError(f"{path} does not hold the model of {cell} ({reason}); train the cell again") from error
    return arrange(model, task).eval()


def start_from_baseline(
    cell: Cell, runs: Path, task: Task, recipe: Recipe, model: nn.Module
) -> tuple[nn.Module | None, str]:
    """Load the baseline's weights into `model` if the recipe says so.

    Returns the frozen teacher if the recipe wants one, and the fingerprint of the baseline's weights.
    """
    baseline = cell.baseline
    if baseline is None or not cell.starts_from_baseline:
        return None, ""
    path = CellDirectory(runs, baseline).file(MODEL)
    trained = task.model(cell.model.name, cell.model.options)
    load_full_precision(trained, read_model(path), str(path))
    if recipe.init == "fp32":
        model.load_state_dict(trained.state_dict())
    teacher = trained.eval().requires_grad_(False) if recipe.distillation != "none" else None
    return teacher, digest(trained)
