"""The training loop: short, on Lightning Fabric, exact when it continues after an interruption."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bibench.comparators.compressor import Compressor
from bibench.data.batches import Batch, Batches
from bibench.foundation.checksums import carries, sha256
from bibench.foundation.errors import CheckpointError, TrainingError
from bibench.foundation.files import load_checkpoint, save_checkpoint, write_text
from bibench.nn.layers import constrain_
from bibench.nn.proving import proved_at_first_call
from bibench.recipes.distillation import Distillation
from bibench.recipes.recipe import Recipe, learning_rate, make_optimizer
from bibench.tasks.base import Evaluation, Task
from bibench.train.seeding import random_state, set_random_state
from bibench.train.weights import first_not_finite

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CHECK_EVERY = 50
"""Steps between looks at the loss; each look waits for the device."""


class Interrupted(Exception):
    """Training stopped on request; a checkpoint was written."""


@dataclass
class Epoch:
    """One row of the training curve."""

    epoch: int
    learning_rate: float
    train_loss: float
    seconds: float
    data_seconds: float
    examples: int
    validation: float | None = None
    validation_loss: float | None = None


@dataclass
class Position:
    """Where training stands; everything but weights, optimizer and random state."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    data_seconds: float = 0.0
    curve: list[Epoch] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    @property
    def diverged(self) -> bool:
        """Whether the loss rose from the first epoch to the last."""
        return self.curve[-1].train_loss > self.curve[0].train_loss


def digest_of(batches: Batches, epoch: int) -> str:
    """A fingerprint of what an epoch serves and in which order."""
    return batches.digest(epoch).hex()[:16]


def order_of(digests: Sequence[str]) -> str:
    """A fingerprint of a whole training's data and its order, from those of the epochs."""
    return sha256("".join(digests).encode())[:16]


def last_progress(recipe: Recipe) -> tuple[float, float]:
    """What operators are told in the last epoch: `t` and `dt` of `bibench.progress`."""
    return (recipe.epochs - 1) / recipe.epochs, 1 / recipe.epochs


def evaluate(model: nn.Module, task: Task, batches: Batches, fabric: Fabric, *, prove: bool = False) -> Evaluation:
    """The task's evaluation of the model as it is now; `TrainingError` when a number is not finite.

    With `prove`, the first batch also proves that the 1-bit layers are what runs; `ProofError` if they are not.
    """
    constrain_(model)
    model.eval()
    with torch.inference_mode(), fabric.autocast(), proved_at_first_call(model) if prove else nullcontext():
        judged = task.evaluate(model, batches, fabric.device)
    for name, value in judged.metrics.items():
        if not math.isfinite(value):
            raise TrainingError(f"the {name} in evaluation is {value}; lower the learning rate")
    return judged


@dataclass
class Training:
    """One training: call `run`. The caller provides a converted model on the right device.

    Args:
        validation: batches judged after every epoch, or None.
        teacher: the frozen model of a recipe with distillation.
        compressor: told the progress of the training before each step.
        directory: where checkpoint and curve go.
        report: called about once a second with the position, for displays.
        stop: asked after every step; True saves a checkpoint and raises `Interrupted`.
    """

    model: nn.Module
    task: Task
    recipe: Recipe
    batches: Batches
    validation: Batches | None
    fabric: Fabric
    directory: Path
    identity: dict[str, Any]
    teacher: nn.Module | None = None
    compressor: Compressor = field(default_factory=Compressor)
    report: Callable[[dict[str, Any]], None] = lambda event: None
    stop: Callable[[], bool] = lambda: False
    checkpoint_seconds: float = 120.0
    position: Position = field(default_factory=Position)

    def __post_init__(self) -> None:
        optimizer = make_optimizer(self.model, self.recipe)
        self.wrapped, self.optimizer = self.fabric.setup(self.model, optimizer)
        if self.teacher is not None:
            self.teacher.to(self.fabric.device)
        self._distilled = Distillation(self.recipe.distillation, self.model, self.teacher)
        self._saved = self._reported = time.monotonic()
        self._loss_sum: Tensor | float = 0.0
        self._proved = False

    @property
    def checkpoint(self) -> Path:
        """Where training in progress is kept."""
        return self.directory / "checkpoint.pt"

    def run(self) -> Position:
        """Train to the end, from the checkpoint if there is one."""
        if self.checkpoint.exists():
            self.load()
        try:
            while self.position.epoch < self.recipe.epochs:
                self._epoch()
        finally:
            self._distilled.close()
        self.compressor.progress(self.model, *last_progress(self.recipe))
        return self.position

    # -- one epoch ---------------------------------------------------------------------------------

    def _epoch(self) -> None:
        at, epochs = self.position, self.recipe.epochs
        self.wrapped.train()
        self._loss_sum = at.loss_sum
        if at.step == 0:
            at.digests.append(digest_of(self.batches, at.epoch))
        steps, started = len(self.batches), time.perf_counter()
        stream, fetched = self.batches.epoch(at.epoch, at.step), started
        for batch in stream:
            at.data_seconds += time.perf_counter() - fetched
            self.compressor.progress(self.model, at.epoch / epochs, 1 / epochs)
            self._step(batch, (at.epoch * steps + at.step) / (epochs * steps))
            at.step += 1
            if at.step % CHECK_EVERY == 0 or at.step == steps:
                self._check_loss()
            if self._housekeeping(time.perf_counter() - started):
                started = time.perf_counter()
            fetched = time.perf_counter()
        at.seconds += time.perf_counter() - started
        self._close_epoch(steps)

    def _step(self, batch: Batch, t: float) -> None:
        rate = learning_rate(t, self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self._to_device(batch)
        outputs = self.task.forward(self.wrapped, batch)
        loss = self.task.loss(outputs, batch)
        loss = self._distilled(loss, outputs, batch, self.task, self.fabric.autocast)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        if self.recipe.clip_grad_norm > 0:
            self.fabric.clip_gradients(
                self.wrapped, self.optimizer, max_norm=self.recipe.clip_grad_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        self._loss_sum = self._loss_sum + loss.detach()

    def _to_device(self, batch: Batch) -> Batch:
        if self.fabric.device.type == "cpu":
            return batch
        return Batch(self.fabric.to_device(batch.inputs), self.fabric.to_device(batch.targets))

    def _check_loss(self) -> None:
        at = self.position
        at.loss_sum = float(self._loss_sum)
        if not math.isfinite(at.loss_sum):
            raise TrainingError(
                f"the loss is no longer finite (epoch {at.epoch}, step {at.step}); lower the learning rate, "
                "set clip_grad_norm in the recipe, or use a profile or scale_init that keeps outputs in range"
            )

    def _close_epoch(self, steps: int) -> None:
        at = self.position
        if name := first_not_finite(self.model):
            raise TrainingError(f"{name} is no longer finite after epoch {at.epoch}; lower the learning rate")
        row = Epoch(
            epoch=at.epoch,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            train_loss=at.loss_sum / steps,
            seconds=at.seconds,
            data_seconds=at.data_seconds,
            examples=min(self.batches.examples, steps * self.recipe.batch_size),
        )
        if self.validation is not None:
            judged = self.judge(self.validation)
            row.validation, row.validation_loss = judged.get(self.task.metric), judged.get("loss")
        at.curve.append(row)
        at.epoch, at.step = at.epoch + 1, 0
        at.loss_sum = at.seconds = at.data_seconds = 0.0
        self._write_curve()
        self._report(force=True)
        self.save()
        if self.stop() and at.epoch < self.recipe.epochs:
            raise Interrupted

    def judge(self, batches: Batches) -> dict[str, float]:
        """Metrics of the model as it is now; the first time, what it runs is proved."""
        judged = evaluate(self.model, self.task, batches, self.fabric, prove=not self._proved)
        self._proved = True
        return judged.metrics

    # -- displays, checkpoints, interruptions ------------------------------------------------------

    def _housekeeping(self, elapsed: float) -> bool:
        """Report, and save when it is time; True when `elapsed` was booked."""
        now = time.monotonic()
        if now - self._reported > 1:
            self._report()
        stopping = self.stop()
        if not stopping and now - self._saved < self.checkpoint_seconds:
            return False
        if self.position.step < len(self.batches):  # else the end of the epoch saves
            self._check_loss()
            self.position.seconds += elapsed
            self.save()
            if stopping:
                raise Interrupted
            return True
        return False

    def _report(self, force: bool = False) -> None:
        at = self.position
        self._reported = time.monotonic()
        last = at.curve[-1] if at.curve else None
        self.report(
            {
                "epoch": at.epoch,
                "epochs": self.recipe.epochs,
                "fraction": (at.epoch + at.step / len(self.batches)) / self.recipe.epochs,
                "loss": last.train_loss if last else None,
                "validation": last.validation if last else None,
            }
        )

    def _write_curve(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(asdict(self.position.curve[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.position.curve)
        write_text(self.directory / "curve.csv", text.getvalue())
        if self.fabric.loggers:
            row = self.position.curve[-1]
            values = {k: v for k, v in asdict(row).items() if v is not None}
            self.fabric.log_dict(values, step=row.epoch)
            for logger in self.fabric.loggers:
                logger.save()

    def save(self) -> None:
        """Write the checkpoint: everything an exact continuation needs."""
        at = self.position
        save_checkpoint(
            self.checkpoint,
            {
                "identity": self.identity,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.optimizer.state_dict(),
                "precision": self.fabric.strategy.precision.state_dict(),
                "random": random_state(self.fabric.device),
                "position": {**asdict(at), "loss_sum": float(self._loss_sum) if at.step else 0.0},
            },
        )
        self._saved = time.monotonic()

    def load(self) -> None:
        """Continue from the checkpoint; `CheckpointError` if it is damaged or belongs to something else."""
        try:
            data = load_checkpoint(self.checkpoint)
        except CheckpointError as error:
            raise CheckpointError(f"{error}, or run with --rerun failed to start this cell anew") from error
        if data.get("identity") != self.identity:
            raise CheckpointError(
                f"{self.checkpoint} belongs to another training or was made by other code; "
                "run with --rerun failed to start this cell anew"
            )
        try:
            if not carries(self.checkpoint):
                raise CheckpointError("it has no checksum of its own")
            self.model.load_state_dict(data["model"])
            self.optimizer.optimizer.load_state_dict(data["optimizer"])
            self.fabric.strategy.precision.load_state_dict(data["precision"])
            position = dict(data["position"])
            position["curve"] = [Epoch(**row) for row in position["curve"]]
            self.position = Position(**position)
            set_random_state(data["random"], self.fabric.device)
        except Exception as error:
            reason = str(error).split("\n", 1)[0]
            raise CheckpointError(
                f"{self.checkpoint} is damaged ({type(error).__name__}: {reason}); "
                "run with --rerun failed to start this cell anew"
            ) from error
