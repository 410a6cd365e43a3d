"""A session: full precision and operators take turns, a step each in random order, until it is clear.

Whatever slows the machine down for a moment hits all contenders alike, and the ratio of a round is
between steps that were done within seconds of each other. Full precision takes part in every memory
format that its model knows; the faster one is the peer.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from statistics import median, quantiles

import torch
from torch import nn

from bibench.data.batches import Batch
from bibench.foundation.blame import told
from bibench.foundation.choice import Choice
from bibench.foundation.errors import BiBenchError, ConversionError, UnsupportedError
from bibench.measure.memory import peak_memory
from bibench.measure.step import MEMORY_FORMATS, Seconds, TrainingStep, has_layouts
from bibench.operators import FULL_PRECISION
from bibench.suite.cell import Cell
from bibench.tasks import TASKS, Task
from bibench.train.cell import convert, float_model

BATCHES = 4
WARMUP_STEPS = 2
MIN_ROUNDS = 7


@dataclass(frozen=True)
class Request:
    """What is measured and how.

    Attributes:
        cells: trainings of one task × model × recipe × seed; the full-precision one is among them.
        batch_size: None for the recipe's.
        rounds: at most so many; fewer when every ratio is known to ± `tolerance` of itself.
        excluded: reasons why contenders must not be tried again.
    """

    cells: tuple[Cell, ...]
    threads: int
    batch_size: int | None = None
    rounds: int = 30
    tolerance: float = 0.02
    device: str = "cpu"
    data_root: Path | None = None
    load: tuple[str, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()


@dataclass
class Contender:
    """One cell in one memory format, with the seconds of its steps or the reason why there are none."""

    cell: Cell
    memory_format: str
    step: TrainingStep | None = None
    rounds: list[dict[str, Seconds]] = field(default_factory=list)
    peak_memory: int | None = None
    status: str = "ok"
    reason: str = ""

    @property
    def name(self) -> str:
        """``bnn, channels_last``."""
        return f"{self.cell.operator}, {self.memory_format}"

    def seconds(self, phase: str) -> list[float]:
        """Wall seconds of a phase in every round."""
        return [times[phase].wall for times in self.rounds]

    def cpu_seconds(self, phase: str) -> list[float]:
        """Processor seconds of a phase in every round."""
        return [times[phase].cpu for times in self.rounds]

    def fail(self, error: BaseException) -> None:
        """It takes no further part."""
        self.status = "unsupported" if isinstance(error, UnsupportedError | ConversionError) else "failed"
        text = str(error) if isinstance(error, BiBenchError) else told(error)
        self.reason = text.splitlines()[0] if text else type(error).__name__
        self.step = None


@dataclass(frozen=True)
class Result:
    """All contenders, the one that full precision is represented by, and the steps of an epoch."""

    contenders: list[Contender]
    peer: Contender | None
    steps_per_epoch: int
    batch_size: int
    seconds: float


def run_session(request: Request, report: Callable[[str, str], None]) -> Result:
    """Measure; `report` is told the contender that is about to work, and news in words."""
    began = time.perf_counter()
    task, cell = TASKS[request.cells[0].task.name](request.data_root), request.cells[0]
    batch_size = request.batch_size or cell.resolved_recipe().batch_size
    batches = task.batches("train", batch_size=batch_size, seed=cell.seed)
    served = list(islice(batches.epoch(0), BATCHES))
    contenders = [c for one in request.cells for c in _contenders(one, task)]
    for contender in contenders:
        report(contender.name, f"building {contender.name}")
        _guarded(contender, lambda c=contender: _prepare(c, task, served, request))  # type: ignore[misc]
    active = [c for c in contenders if c.step is not None]
    if any(c.cell.full_precision for c in active):
        _take_turns(active, request, report)
        for contender in active:
            report(contender.name, f"memory of {contender.name}")
            _guarded(contender, lambda c=contender: _measure_memory(c))  # type: ignore[misc]
    peers = [c for c in contenders if c.cell.full_precision and c.status == "ok"]
    peer = min(peers, key=lambda c: median(c.seconds("step")), default=None)
    return Result(contenders, peer, len(batches), batch_size, time.perf_counter() - began)


def _contenders(cell: Cell, task: Task) -> list[Contender]:
    """Operators compete as they are trained, full precision in every memory format."""
    trained = "channels_last" if task.channels_last else "contiguous"
    if not cell.full_precision:
        return [Contender(cell, trained)]
    with torch.device("meta"):
        formats = list(MEMORY_FORMATS) if has_layouts(float_model(cell, task)) else [trained]
    return [Contender(cell, name) for name in formats]


def _prepare(contender: Contender, task: Task, batches: Sequence[Batch], request: Request) -> None:
    cell = contender.cell
    if (reason := dict(request.excluded).get(contender.name)) is not None:
        raise BiBenchError(reason)
    recipe = replace(cell.resolved_recipe(), batch_size=batches[0].size)
    model = float_model(cell, task)
    teacher = _teacher(cell, task) if recipe.distillation != "none" else None
    convert(cell, model, task, recipe)
    contender.step = TrainingStep(
        model,
        task,
        recipe,
        batches,
        device=torch.device(request.device),
        memory_format=contender.memory_format,
        teacher=teacher,
    )
    for _ in range(WARMUP_STEPS):
        contender.step()


def _teacher(cell: Cell, task: Task) -> nn.Module:
    """For its cost alone: with initial weights."""
    return float_model(replace(cell, operator=Choice(FULL_PRECISION)), task).eval().requires_grad_(False)


def _take_turns(active: list[Contender], request: Request, report: Callable[[str, str], None]) -> None:
    shuffle = random.Random(0).shuffle
    for number in range(request.rounds):
        order = [c for c in active if c.step is not None]
        shuffle(order)
        for contender in order:
            report(contender.name, f"round {number + 1} of at most {request.rounds}")
            _guarded(contender, lambda c=contender: c.rounds.append(c.step()))  # type: ignore[misc]
        if number + 1 >= MIN_ROUNDS and all(width <= request.tolerance for width in _widths(active)):
            return


def _guarded(contender: Contender, work: Callable[[], object]) -> None:
    if contender.status != "ok":
        return
    try:
        work()
    except Exception as error:  # of an operator, model or step; the others go on
        contender.fail(error)


def _measure_memory(contender: Contender) -> None:
    assert contender.step is not None
    if contender.step.loss is not None and not math.isfinite(float(contender.step.loss)):
        raise BiBenchError("the loss is no longer finite; the times would be those of another computation")
    contender.peak_memory = peak_memory(contender.step)
    contender.step = None


def _widths(active: Sequence[Contender]) -> list[float]:
    """How far the median ratio of each operator may be off, relative to it."""
    peers = [c for c in active if c.cell.full_precision and c.status == "ok"]
    if not peers:
        return []
    peer = min(peers, key=lambda c: median(c.seconds("step")))
    ratios = [paired_ratios(peer, c) for c in active if not c.cell.full_precision and c.status == "ok"]
    return [half_width(values) / median(values) for values in ratios]


def paired_ratios(peer: Contender, contender: Contender) -> list[float]:
    """Full precision's wall time of a step over the contender's, round by round."""
    return [a / b for a, b in zip(peer.seconds("step"), contender.seconds("step"), strict=True)]


def half_width(values: Sequence[float]) -> float:
    """Half of the approximate 95 % interval of a median: 1.57 IQR / √n (McGill, Tukey and Larsen, 1978)."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return 1.57 * (high - low) / math.sqrt(len(values))
