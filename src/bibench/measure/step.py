"""One training step of one model, as the training loop does it, timed by phase."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from bibench.data.batches import Batch
from bibench.foundation.errors import BiBenchError
from bibench.nn.layers import progress
from bibench.recipes.distillation import Distillation
from bibench.recipes.recipe import Recipe, learning_rate, make_optimizer
from bibench.tasks import Task

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PHASES = ("forward", "backward", "optimizer")
"""forward: model and loss (and the teacher's forward). optimizer: everything but forward and backward,
that is the update, zeroing of gradients, and the schedules and constraints of the operators."""

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
HALFWAY = 0.5
"""How far training is said to be, for learning rate and schedules of operators."""


class Seconds(NamedTuple):
    """Time of a phase: what passed, and what the processor worked in all its threads."""

    wall: float
    cpu: float


class Clock:
    """Splits a step into phases without gaps. On CUDA the device's own events tell the wall time."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        if self._cuda:
            torch.cuda.synchronize(device)
        self._device = device
        self._marks = [("", self._now())]

    def lap(self, phase: str) -> None:
        """What happened since the last lap was `phase`."""
        self._marks.append((phase, self._now()))

    def read(self) -> dict[str, Seconds]:
        """Seconds of each phase, and of the whole as ``step``."""
        if self._cuda:  # the only wait, after everything was queued
            torch.cuda.synchronize(self._device)
        walls, cpus = dict.fromkeys(PHASES, 0.0), dict.fromkeys(PHASES, 0.0)
        for (_, before), (phase, after) in zip(self._marks, self._marks[1:], strict=False):
            walls[phase] += self._between(before[0], after[0])
            cpus[phase] += after[1] - before[1]
        found = {phase: Seconds(walls[phase], cpus[phase]) for phase in PHASES}
        return {**found, "step": Seconds(sum(walls.values()), sum(cpus.values()))}

    def _now(self) -> tuple[Any, float]:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event, time.process_time()
        return time.perf_counter(), time.process_time()

    def _between(self, before: Any, after: Any) -> float:
        return float(before.elapsed_time(after) / 1e3 if self._cuda else after - before)


class TrainingStep:
    """A model with its optimizer and some batches; calling it does one step.

    Args:
        memory_format: ``contiguous`` or ``channels_last``, of 4-D weights and inputs.
        teacher: the frozen model of a recipe with distillation.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        recipe: Recipe,
        batches: Sequence[Batch],
        *,
        device: torch.device,
        memory_format: str,
        teacher: nn.Module | None = None,
    ) -> None:
        self.task, self.recipe, self.device, self.memory_format = task, recipe, device, memory_format
        layout = MEMORY_FORMATS[memory_format]
        self.model = model.to(memory_format=layout)  # type: ignore[call-overload, unused-ignore]
        self._fabric = _fabric(device, recipe.precision)
        self._wrapped, self.optimizer = self._fabric.setup(self.model, make_optimizer(self.model, recipe))
        self._teacher = None if teacher is None else teacher.to(device, memory_format=layout)  # type: ignore[call-overload, unused-ignore]
        self._distilled = Distillation(recipe.distillation, self.model, self._teacher)
        self.batches = [_arranged(self._fabric.to_device(batch), layout) for batch in batches]
        self._stream = cycle(self.batches)
        self.loss: Tensor | None = None
        self._wrapped.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(HALFWAY, recipe)

    def __call__(self) -> dict[str, Seconds]:
        """One step; seconds by phase and in all."""
        batch = next(self._stream)
        clock = Clock(self.device)
        progress(self.model, HALFWAY, 1 / self.recipe.epochs)
        clock.lap("optimizer")
        loss = self._loss(batch)
        clock.lap("forward")
        self.optimizer.zero_grad()
        clock.lap("optimizer")
        self._fabric.backward(loss)
        clock.lap("backward")
        if self.recipe.clip_grad_norm > 0:
            self._fabric.clip_gradients(
                self._wrapped, self.optimizer, max_norm=self.recipe.clip_grad_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        clock.lap("optimizer")
        self.loss = loss.detach()
        return clock.read()

    def _loss(self, batch: Batch) -> Tensor:
        outputs = self.task.forward(self._wrapped, batch)
        loss = self.task.loss(outputs, batch)
        return self._distilled(loss, outputs, batch, self.task, self._fabric.autocast)

    def persistent(self) -> list[Tensor]:
        """Tensors that outlive a step: weights, buffers, optimizer state, the teacher and a batch; no gradients."""
        modules = [self.model] if self._teacher is None else [self.model, self._teacher]
        state = [value for values in self.optimizer.optimizer.state.values() for value in values.values()]
        served = [*self.batches[0].inputs, self.batches[0].targets]
        held = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
        return held + [value for value in (*state, *served) if isinstance(value, Tensor)]


def has_layouts(model: nn.Module) -> bool:
    """Whether the memory format means anything to `model`."""
    return any(parameter.dim() == 4 for parameter in model.parameters())


def _arranged(batch: Batch, layout: torch.memory_format) -> Batch:
    inputs = tuple(
        x.contiguous(memory_format=layout) if isinstance(x, Tensor) and x.dim() == 4 else x for x in batch.inputs
    )
    return Batch(inputs, batch.targets)


def _fabric(device: torch.device, precision: Any) -> Fabric:
    from lightning_fabric import Fabric

    if device.type not in ("cpu", "cuda"):
        raise BiBenchError(f"training cost is measured on cpu and cuda; got device {device.type}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Fabric(
            accelerator=device.type, devices=1 if device.index is None else [device.index], precision=precision
        )
