"""Train, evaluate and record one cell, from its directory to its done marker."""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bibench import native
from bibench.auditing import Audit, audit
from bibench.cell import Cell
from bibench.compressor import Compressor, compressor_of
from bibench.data.batches import Batches
from bibench.errors import CheckpointError, require
from bibench.files import load_checkpoint, save_checkpoint, unreadable, write_text
from bibench.layers import progress, set_backward_precision
from bibench.models import MODELS
from bibench.provenance import environment
from bibench.recipe import Recipe
from bibench.records import Record, digest_of_numbers
from bibench.sealed import sealed
from bibench.store import CELL, CHECKPOINT, CURVE, MODEL, RECORDS, TENSORBOARD, CellDirectory
from bibench.tasks import TASKS, Task
from bibench.tasks.base import Evaluation
from bibench.train import loop, sharing
from bibench.train.code import code_of
from bibench.train.monitors import PeakMemory
from bibench.train.seeding import INITIAL_WEIGHTS, OPERATOR_PARAMETERS, TRAINING, seed_all
from bibench.train.stored import read_model
from bibench.train.weights import digest, load_full_precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

COLLAPSE = 0.99
"""A model that gives one answer to this share of the test set is flagged as collapsed."""


@dataclass(frozen=True)
class Settings:
    """How cells are run, as opposed to what they are: nothing here belongs to a cell's identity."""

    runs: Path
    data_root: Path | None = None
    download: bool = False
    device: str = "auto"
    threads: int | None = None
    data_workers: int = 0
    checkpoint_seconds: float = 120.0
    tensorboard: bool = False
    discard_stale: bool = False
    load: tuple[str, ...] = ()


@dataclass
class Hooks:
    """What the caller of a training listens to and asks for."""

    report: Callable[[dict[str, Any]], None] = lambda event: None
    stop: Callable[[], bool] = lambda: False


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


def train_cell(cell: Cell, settings: Settings, hooks: Hooks) -> None:
    """Run one cell to its done marker. The caller holds the cell's lock and handles what is raised."""
    sharing.refuse_while_running(settings.runs, cell)
    directory = CellDirectory(settings.runs, cell)
    started, recipe = time.perf_counter(), cell.resolved_recipe()
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    task = _task(cell, settings)
    fabric = _fabric(settings, recipe, directory)
    peak = PeakMemory(fabric.device)
    code = code_of(cell)
    model = float_model(cell, task)
    teacher, baseline = _start_from_baseline(cell, settings.runs, task, recipe, model)
    initial = digest(model)
    compressor = compressor_for(cell)
    audited = convert(cell, model, task, recipe, compressor)
    made_by = {"code": code, "initial_weights": initial, "baseline_weights": baseline}
    identity = {"cell": cell.to_dict(), **made_by}
    batches = task.batches("train", batch_size=recipe.batch_size, seed=cell.seed)
    shared = sharing.find(settings.runs, cell, initial, baseline, batches)
    origin = shared.cell.path.as_posix() if shared else ""
    directory.describe(**made_by, recipe=recipe.to_dict(), trained_as=origin)
    if settings.discard_stale:
        _discard_stale(directory, identity)
    if shared is None:
        model = arrange(model, task)
        seed_all(cell.seed, TRAINING)
        training = loop.Training(
            model=model,
            task=task,
            recipe=recipe,
            batches=batches,
            validation=_evaluation_batches(task, "validation", recipe) if task.has_validation() else None,
            fabric=fabric,
            directory=directory.path,
            identity=identity,
            teacher=teacher,
            compressor=compressor,
            report=hooks.report,
            stop=hooks.stop,
            checkpoint_seconds=settings.checkpoint_seconds,
        )
        trained = _train(training, audited, peak)
    else:
        model = load_weights(shared.weights, shared.cell, task).to(fabric.device)
        write_text(directory.file(CURVE), shared.curve)
        trained = shared.trained
    judged = loop.evaluate(model, task, _evaluation_batches(task, "test", recipe), fabric, prove=True)
    save_checkpoint(
        directory.file(MODEL),
        {"cell": cell.to_dict(), "model": model.state_dict(), "progress": list(loop.last_progress(recipe))},
    )
    seconds = round(time.perf_counter() - started, 3)
    facts = _facts(cell, task, trained, fabric.device) | {
        "started": began,
        "seconds": seconds,
        "code": "-".join(code.values()),
        "initial_weights": initial,
        "trained_as": origin,
        "flags": ",".join(_flags(trained.diverged, judged)),
    }
    records = [Record(**facts | row) for row in (*_judgement(task, judged), *trained.rows)]
    directory.write_records(records)
    summary = {"weights": digest(model), "score": judged.metrics[task.metric], "numbers": digest_of_numbers(records)}
    summary |= {"train_seconds": trained.seconds, "seconds": seconds}
    directory.finish(sealed(summary, directory.path, (CELL, CURVE, MODEL, RECORDS)))


def _task(cell: Cell, settings: Settings) -> Task:
    """The task of a cell, as its model takes it."""
    found = TASKS[cell.task.name](settings.data_root, download=settings.download, workers=settings.data_workers)
    return found.for_model(cell.model.name)


def _fabric(settings: Settings, recipe: Recipe, directory: CellDirectory) -> Fabric:
    require("lightning_fabric", extra="bench", purpose="training")
    from lightning_fabric import Fabric
    from lightning_fabric.loggers.logger import Logger
    from lightning_fabric.loggers.tensorboard import TensorBoardLogger

    device = settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = device.partition(":")
    loggers: list[Logger] = []
    if settings.tensorboard:
        require("tensorboard", extra="bench", purpose="--tensorboard")
        loggers.append(TensorBoardLogger(str(directory.path), name=None, version=TENSORBOARD))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Fabric(
            accelerator=kind,
            devices=[int(index)] if index else 1,
            precision=recipe.precision,  # type: ignore[arg-type]
            loggers=loggers,
        )


def _start_from_baseline(
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


def _discard_stale(directory: CellDirectory, identity: dict[str, Any]) -> None:
    checkpoint = directory.file(CHECKPOINT)
    if checkpoint.exists():
        try:
            if load_checkpoint(checkpoint).get("identity") == identity:
                return
        except CheckpointError as error:
            if unreadable(checkpoint, error):  # it may be read another day
                raise
        directory.discard_checkpoint()


def _evaluation_batches(task: Task, split: str, recipe: Recipe) -> Batches:
    return task.batches(split, batch_size=max(recipe.batch_size, 128))


def precision_of(recipe: Recipe, device: torch.device) -> str:
    """What was computed with: lookups serve on some processors alone, and elsewhere all is as without them."""
    usual = recipe.backward == "float32" or (
        recipe.backward == "lookup" and not (device.type == "cpu" and native.looks_up())
    )
    return recipe.precision if usual else f"{recipe.precision}, backward {recipe.backward}"


def _flags(diverged: bool, judged: Evaluation) -> list[str]:
    flags = []
    if judged.commonest_answer is not None and judged.commonest_answer >= COLLAPSE:
        flags.append("collapsed")
    if diverged:
        flags.append(sharing.DIVERGED)
    return flags


def identity_fields(cell: Cell) -> dict[str, Any]:
    """The record fields that say what a cell is."""
    task = TASKS[cell.task.name]
    return {
        "cell": cell.path.as_posix(),
        "task": cell.task.name,
        "group": task.group,
        "embedded": task.embedded,
        "stands_in_for": task.stands_in_for,
        "chance": task.chance,
        "model": str(cell.model),
        "family": MODELS[cell.model.name].family,
        "operator": str(cell.operator),
        "profile": str(cell.operator.options.get("profile", "default")),
        "recipe": str(cell.recipe),
        "division": cell.division,
        "study": str(cell.study or ""),
        "seed": cell.seed,
    }


def _facts(cell: Cell, task: Task, trained: sharing.Trained, device: torch.device) -> dict[str, Any]:
    """The record fields that say with what a cell is trained: itself, machine, software, precision and data."""
    made = {"precision": trained.precision, "data": task.checksum()[:16], "data_order": trained.data_order}
    return identity_fields(cell) | environment(device) | made


def failure_record(cell: Cell, status: str, reason: str) -> Record:
    """The row of a cell that has no number."""
    return Record(
        kind="score",
        metric=TASKS[cell.task.name].metric,
        value=None,
        split="test",
        status=status,
        reason=reason,
        **identity_fields(cell),
        **environment(),
    )


def _row(kind: str, metric: str, value: float | None, **more: Any) -> list[dict[str, Any]]:
    """What a record says of its own; nothing where there is no number."""
    return [] if value is None else [{"kind": kind, "metric": metric, "value": value, **more}]


def _judgement(task: Task, judged: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for name, value in judged.metrics.items():
        rows += _row("score" if name == task.metric else "task", name, value, split="test")
    return rows


def _train(training: loop.Training, audited: Audit, peak: PeakMemory) -> sharing.Trained:
    """Do a training, and tell of it."""
    task, fabric = training.task, training.fabric
    position = training.run()
    audited = training.compressor.finish(training.model, fabric.to_device(task.example_inputs())) or audited
    curve = position.curve
    seconds = sum(row.seconds for row in curve)
    share = sum(r.data_seconds for r in curve) / max(seconds, 1e-9)
    rows = [
        *_row("task", task.metric, curve[-1].validation, split="validation"),
        *_row("training", "train_loss", curve[-1].train_loss, split="train"),
        *_row("training", "train_seconds", seconds, unit="s"),
        *_row("training", "throughput", sum(r.examples for r in curve) / max(seconds, 1e-9), unit="examples/s"),
        *_row("training", "data_loading_share", share),
        *_row("training", "peak_memory", peak.read(), unit="B"),
        *_row("model", "parameters", audited.parameters),
        *_row("model", "binary_parameters", audited.parameters_by_bits().get(1, 0)),
        *_row("model", "macs", sum(audited.macs_by_bits().values())),
        *_row("model", "binary_macs", audited.macs_by_bits().get((1, 1), 0)),
    ]
    return sharing.Trained(
        tuple(rows),
        data_order=loop.order_of(position.digests),
        precision=precision_of(training.recipe, fabric.device),
        diverged=position.diverged,
    )
