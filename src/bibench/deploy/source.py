"""Where a trained model is found: a cell's folder, its checkpoint, or a checkpoint with the model named beside it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from bibench.comparators.compressor import compressor_of
from bibench.deploy.factory import OPTION, build
from bibench.deploy.parts import deployable_part
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, CheckpointError, naming
from bibench.foundation.files import load_checkpoint
from bibench.models import MODELS
from bibench.nn.state_dicts import fit, misfits, tell_choice
from bibench.operators import FULL_PRECISION
from bibench.records.sealed import compare
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, MODEL, described_cell
from bibench.tasks import TASKS, Task


@dataclass(frozen=True)
class Named:
    """What a checkpoint is of, where it does not say so itself."""

    task: str | None = None
    model: str | None = None
    operator: str | None = None
    pad_value: float = 0.0
    averaged: bool = False
    """Whether averaged weights (EMA, SWA) are taken where there are plain ones, too."""
    factory: str | None = None
    """In the place of `model`: a function that builds it, as ``file.py:function`` (`bibench.deploy.factory`)."""


@dataclass(frozen=True)
class Source:
    """A trained model in evaluation mode, its task, and what its provenance is.

    Attributes:
        task: None for a model of one's own on data of one's own.
        inputs: what the model is called with, where that is not as its task says.
    """

    model: nn.Module
    task: Task | None
    provenance: dict[str, Any]
    inputs: Any = None

    @property
    def example_inputs(self) -> Any:
        """What the model is called with."""
        return self.task.example_inputs() if self.inputs is None and self.task is not None else self.inputs


def trained(path: str | Path, named: Named | None = None, data_root: Path | None = None) -> Source:
    """Load what ``bibench export`` is given.

    Args:
        path: a cell's folder, its ``model.pt``, or a file with a state dictionary (then `named` says of what), which
            may be inside a checkpoint, with prefixes before its names: see `bibench.nn.state_dicts.fit`.
    """
    path = Path(path)
    if path.is_dir():
        _require_nameless(path, named)
        if not (path / CELL).exists():
            raise BiBenchError(f"{path} is no cell: it has no {CELL}; give the folder of one training in a run folder")
        if not (path / MODEL).exists():
            raise BiBenchError(f"{path} has no {MODEL}: the cell is not trained to its end; run it first")
        compare(path, CELL)
        return _of_cell(path / MODEL, described_cell(path / CELL), data_root)
    checkpoint = load_checkpoint(path)
    if "cell" in checkpoint:
        _require_nameless(path, named)
        with naming(path):
            cell = Cell.from_dict(checkpoint["cell"])
        return _of_cell(path, cell, data_root)
    return _of_state(path, checkpoint, named or Named(), data_root)


def _require_nameless(path: Path, named: Named | None) -> None:
    """Raise where a factory is named for what says itself what it is of."""
    if named is not None and named.factory is not None:
        raise BiBenchError(f"{OPTION} {named.factory}: {path} is of a cell, which says what it is of; leave it out")


def _of_cell(path: Path, cell: Cell, data_root: Path | None) -> Source:
    from bibench.train.cell import load_weights

    task = TASKS[cell.task.name](data_root).for_model(cell.model.name)
    return Source(load_weights(path, cell, task), task, {"cell": cell.to_dict(), "checkpoint": path.name})


def _of_state(path: Path, state: dict[str, Any], named: Named, data_root: Path | None) -> Source:
    start = _started(path, named, data_root)
    model, operator = start.model, choice(named.operator or FULL_PRECISION)
    if operator.name != FULL_PRECISION:  # the form may follow from the weights: as far as these are the float model's
        weights = fit(state, model.state_dict(), averaged=named.averaged).state
        with naming(f"{OPTION} {named.factory}") if named.factory else nullcontext():
            compressor_of(operator).restore(model, start.example_inputs, weights, pad_value=named.pad_value)
    own = model.state_dict()
    fitted = fit(state, own, averaged=named.averaged)
    problem = misfits(own, fitted)
    try:
        if not problem:
            model.load_state_dict(fitted.state)
    except (RuntimeError, TypeError, ValueError) as error:
        problem = " ".join(str(error).split())[:300]
    if problem:
        what = f"{named.model} with {operator} on {named.task}"
        if named.factory:
            what = f"{named.factory}" + (f" with {operator}" if named.operator else "")
        raise CheckpointError(f"{path} is not of {what}: {problem}")
    tell_choice(fitted, str(path), averaged=named.averaged, ask="--ema")
    facts = {**start.provenance, "checkpoint": path.name}
    facts |= {"operator": str(operator)} if named.operator or not named.factory else {}
    facts |= {"pad_value": f"{named.pad_value:g}"} if named.pad_value else {}
    facts |= {"weights": "averaged"} if fitted.averaged else {}
    return Source(model.eval(), start.task, facts, start.inputs)


def _started(path: Path, named: Named, data_root: Path | None) -> Source:
    """The model that is named, before its operator and with the weights that it begins with."""
    if named.factory is not None:
        return _built(named.factory, named, data_root)
    if named.task is None or named.model is None:
        raise BiBenchError(
            f"{path} does not say what it is of: give --task, --model and --operator, or for a model of your own "
            f"{OPTION} FILE.py:FUNCTION"
        )
    model = choice(named.model)
    MODELS[model.name].check_options(model.options)
    task = TASKS[named.task](data_root).for_model(model.name)
    return Source(task.model(model.name, model.options), task, {"task": named.task, "model": str(model)})


def _built(factory: str, named: Named, data_root: Path | None) -> Source:
    if named.model is not None:
        raise BiBenchError(f"--model {named.model} and {OPTION} {factory} both say what the model is: give one of them")
    task = None if named.task is None else TASKS[named.task](data_root)
    built = build(factory)
    if task is None and built.example_inputs is None:
        raise BiBenchError(
            f"{OPTION} {factory} returns a model alone, and what it is called with is not known: return (model, "
            "example_inputs) from it, or give --task"
        )
    facts = {"model": built.name, "factory": factory, **({"task": named.task} if named.task else {})}
    return Source(built.model, task, facts, built.example_inputs)


def some_inputs(source: Source, split: str, examples: int) -> tuple[Any, ...]:
    """The first examples of a split, as a deployed model is called with them: in the sizes of the example inputs.

    The example inputs themselves where there is no task.
    """
    if source.task is None:
        return source.example_inputs
    sizes = _sizes(source.example_inputs)
    for batch in source.task.batches(split, batch_size=examples).epoch(0):
        return padded(batch.inputs, sizes)
    raise BiBenchError(f"task {source.task.name!r}: the {split} split is empty")


def calibration(source: Source, batches: int = 8, size: int = 16) -> list[list[Any]]:
    """Batches of training data as stored, not augmented, as the deployed part of the model is called with them.

    Raises:
        BiBenchError: there is no task.
    """
    if source.task is None:
        raise BiBenchError("this engine chooses ranges by training data: give --task")
    _, example, _ = deployable_part(source.model, source.example_inputs)
    sizes, found = _sizes(example), []
    for batch in source.task.batches("train", batch_size=size).epoch(0):
        _, inputs, _ = deployable_part(source.model, tuple(batch.inputs))
        tensors = padded(inputs if isinstance(inputs, tuple) else (inputs,), sizes)
        if _sizes(tensors) == sizes:  # images of detectors are scaled to several sizes
            found.append([x.numpy() for x in tensors])
        if len(found) == batches:
            break
    return found


def padded(inputs: Sequence[Any], sizes: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Tensors with zeros behind them up to `sizes` (of all axes but the batch; what is no number is left open).

    Batches of sentences are padded so to their own longest; a deployed model has one length.
    """
    return tuple(map(_padded, inputs, sizes)) if len(inputs) == len(sizes) else tuple(inputs)


def _padded(x: Any, size: tuple[Any, ...]) -> Any:
    if not isinstance(x, Tensor) or x.dim() != 1 + len(size):
        return x
    missing = [
        max(want - have, 0) if isinstance(want, int) else 0 for want, have in zip(size, x.shape[1:], strict=True)
    ]
    return F.pad(x, [n for want in reversed(missing) for n in (0, want)]) if any(missing) else x


def _sizes(inputs: Any) -> list[tuple[int, ...]]:
    tensors = inputs if isinstance(inputs, tuple | list) else (inputs,)
    return [tuple(x.shape[1:]) if isinstance(x, Tensor) else () for x in tensors]
