"""The steps of a cell on its way from its directory to its done marker; `train_cell` goes them.

identity   what the cell is, where it is stored, what made it
start      its float model, with the initial weights of its seed or the baseline's
model      compressed: binarized, quantized, pruned
training   done here, or taken over from the cell it shares it with
judging    on the test split
writing    weights, records, and the marker last
"""

from __future__ import annotations

import datetime
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bibench.comparators.compressor import Compressor
from bibench.data.batches import Batches
from bibench.foundation.errors import CheckpointError, require
from bibench.foundation.files import load_checkpoint, save_checkpoint, unreadable, write_text
from bibench.nn.auditing import Audit
from bibench.recipes.recipe import Recipe
from bibench.records.flags import joined
from bibench.records.record import Record, digest_of_numbers
from bibench.records.sealed import sealed
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, CHECKPOINT, CURVE, MODEL, RECORDS, TENSORBOARD, CellDirectory
from bibench.tasks import TASKS, Task
from bibench.tasks.base import Evaluation
from bibench.train import loop, sharing
from bibench.train.monitors import PeakMemory
from bibench.train.networks import arrange, compressor_for, convert, float_model, load_weights, start_from_baseline
from bibench.train.seeding import TRAINING, seed_all
from bibench.train.settings import CodeOf, Hooks, Settings
from bibench.train.telling import facts_of, flags_of, judgement, precision_of, row_of
from bibench.train.weights import digest

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass
class Way:
    """One cell on its way: what it is, and what each step adds.

    Attributes:
        code_of: fingerprints of the code that makes a cell, given by the caller, whose code is among it.
        initial, baseline: fingerprints of the weights that training starts from, and of the baseline's.
        shared: the finished training of another cell that serves this one, if there is one.
    """

    cell: Cell
    settings: Settings
    hooks: Hooks
    code_of: CodeOf
    directory: CellDirectory
    recipe: Recipe
    task: Task
    fabric: Fabric
    peak: PeakMemory
    code: dict[str, str]
    model: nn.Module
    started: float
    began: str
    teacher: nn.Module | None = None
    initial: str = ""
    baseline: str = ""
    compressor: Compressor = field(default_factory=Compressor)
    audited: Audit = field(default_factory=Audit)
    shared: sharing.Shared | None = None
    trained: sharing.Trained | None = None
    judged: Evaluation | None = None

    @property
    def made_by(self) -> dict[str, Any]:
        """The code and the weights that a training's result follows from, beside what the cell is."""
        return {"code": self.code, "initial_weights": self.initial, "baseline_weights": self.baseline}

    @property
    def origin(self) -> str:
        """The cell whose training serves this one; "" where it has its own."""
        return self.shared.cell.path.as_posix() if self.shared else ""


def identity(cell: Cell, settings: Settings, hooks: Hooks, code_of: CodeOf) -> Way:
    """What the cell is, where it is stored and what makes it; with its float model as its seed has it."""
    sharing.refuse_while_running(settings.runs, cell)
    directory = CellDirectory(settings.runs, cell)
    started, recipe = time.perf_counter(), cell.resolved_recipe()
    began = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    task = _task(cell, settings)
    fabric = _fabric(settings, recipe, directory)
    peak, code = PeakMemory(fabric.device), code_of(cell)
    model = float_model(cell, task)
    return Way(
        *(cell, settings, hooks, code_of, directory, recipe, task, fabric, peak, code, model),
        started=started,
        began=began,
    )


def start(way: Way) -> None:
    """The weights that training starts from, and the teacher, if the recipe wants one."""
    found = start_from_baseline(way.cell, way.settings.runs, way.task, way.recipe, way.model)
    way.teacher, way.baseline = found
    way.initial = digest(way.model)


def compress(way: Way) -> None:
    """The model as its operator has it."""
    way.compressor = compressor_for(way.cell)
    way.audited = convert(way.cell, way.model, way.task, way.recipe, way.compressor)


def learn(way: Way) -> None:
    """Train, from a checkpoint if one waits, or take over the training that the cell shares with another."""
    cell, recipe, task = way.cell, way.recipe, way.task
    batches = task.batches("train", batch_size=recipe.batch_size, seed=cell.seed)
    way.shared = sharing.find(way.settings.runs, cell, way.initial, way.baseline, batches, way.code_of)
    way.directory.describe(**way.made_by, recipe=recipe.to_dict(), trained_as=way.origin)
    identity = {"cell": cell.to_dict(), **way.made_by}
    if way.settings.discard_stale:
        _discard_stale(way.directory, identity)
    if way.shared is not None:
        way.model = load_weights(way.shared.weights, way.shared.cell, task).to(way.fabric.device)
        write_text(way.directory.file(CURVE), way.shared.curve)
        way.trained = way.shared.trained
        return
    way.model = arrange(way.model, task)
    seed_all(cell.seed, TRAINING)
    training = loop.Training(
        model=way.model,
        task=task,
        recipe=recipe,
        batches=batches,
        validation=_evaluation_batches(task, "validation", recipe) if task.has_validation() else None,
        fabric=way.fabric,
        directory=way.directory.path,
        identity=identity,
        teacher=way.teacher,
        compressor=way.compressor,
        report=way.hooks.report,
        stop=way.hooks.stop,
        checkpoint_seconds=way.settings.checkpoint_seconds,
    )
    way.trained = _train(training, way.audited, way.peak)


def judge(way: Way) -> None:
    """The task's metrics on the test split, by a model whose 1-bit layers are proved to run."""
    batches = _evaluation_batches(way.task, "test", way.recipe)
    way.judged = loop.evaluate(way.model, way.task, batches, way.fabric, prove=True)


def write(way: Way) -> None:
    """Weights, records and, last, the marker with the checksums of all."""
    cell, task, trained, judged = way.cell, way.task, way.trained, way.judged
    assert trained is not None and judged is not None
    last = list(loop.last_progress(way.recipe))
    save_checkpoint(
        way.directory.file(MODEL), {"cell": cell.to_dict(), "model": way.model.state_dict(), "progress": last}
    )
    seconds = round(time.perf_counter() - way.started, 3)
    facts = facts_of(cell, task, trained, way.fabric.device) | {
        "started": way.began,
        "seconds": seconds,
        "code": "-".join(way.code.values()),
        "initial_weights": way.initial,
        "trained_as": way.origin,
        "flags": joined(*flags_of(trained.diverged, judged), *cell.marks),
    }
    records = [Record(**facts | row) for row in (*judgement(task, judged), *trained.rows)]
    way.directory.write_records(records)
    summary = {"weights": digest(way.model), "score": judged.metrics[task.metric]}
    summary |= {"numbers": digest_of_numbers(records), "train_seconds": trained.seconds, "seconds": seconds}
    way.directory.finish(sealed(summary, way.directory.path, (CELL, CURVE, MODEL, RECORDS)))


STEPS = (start, compress, learn, judge, write)
"""Behind `identity`, in this order."""


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


def _train(training: loop.Training, audited: Audit, peak: PeakMemory) -> sharing.Trained:
    """Do a training, and tell of it."""
    task, fabric = training.task, training.fabric
    position = training.run()
    audited = training.compressor.finish(training.model, fabric.to_device(task.example_inputs())) or audited
    curve = position.curve
    seconds = sum(row.seconds for row in curve)
    share = sum(r.data_seconds for r in curve) / max(seconds, 1e-9)
    rows = [
        *row_of("task", task.metric, curve[-1].validation, split="validation"),
        *row_of("training", "train_loss", curve[-1].train_loss, split="train"),
        *row_of("training", "train_seconds", seconds, unit="s"),
        *row_of("training", "throughput", sum(r.examples for r in curve) / max(seconds, 1e-9), unit="examples/s"),
        *row_of("training", "data_loading_share", share),
        *row_of("training", "peak_memory", peak.read(), unit="B"),
        *row_of("model", "parameters", audited.parameters),
        *row_of("model", "binary_parameters", audited.parameters_by_bits().get(1, 0)),
        *row_of("model", "macs", sum(audited.macs_by_bits().values())),
        *row_of("model", "binary_macs", audited.macs_by_bits().get((1, 1), 0)),
    ]
    return sharing.Trained(
        tuple(rows),
        data_order=loop.order_of(position.digests),
        precision=precision_of(training.recipe, fabric.device),
        diverged=position.diverged,
    )
