"""How long a cell will train: from finished runs on this machine, or from a few steps; no number where both are far.

A training of the same cell with another seed tells most. A run of other work is scaled by multiply-accumulates ×
examples × epochs, if it has no more than `REACH` times less or more of it: what a small run costs beside its products
says nothing of a large one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

from bibench.foundation import blame
from bibench.recipes.recipe import make_optimizer
from bibench.records.provenance import environment
from bibench.records.record import Record, read
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, described_epochs
from bibench.tasks import TASKS

REACH = 30
"""So many times the work of a finished run, or a part of it, is scaled from it."""
OF_SEED, OF_SCALING = 1.25, 2.0
"""By which factor a training may take longer or shorter than another seed of it, and than what is scaled."""
PROBE_STEPS = 3


@dataclass(frozen=True)
class Estimate:
    """Hours of one worker, likely between `low` and `high` (None: nothing tells), their `basis`, and the `device`."""

    hours: float | None
    low: float | None
    high: float | None
    basis: str
    device: str = ""


class Estimates:
    """Training times from earlier records of the same machine."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    @cached_property
    def _records(self) -> list[Record]:
        with warnings.catch_warnings(action="ignore"):  # of what is damaged, which the plan says
            return read([self._runs]) if self._runs.is_dir() else []

    @cached_property
    def _times(self) -> list[Record]:
        here = environment(device_here())
        return [
            r
            for r in self._records
            if r.metric == "train_seconds" and r.value and (r.cpu, r.accelerator) == (here["cpu"], here["accelerator"])
        ]

    @cached_property
    def _macs(self) -> dict[str, float]:
        return {r.cell: r.value or 0 for r in self._records if r.metric == "macs"} if self._times else {}

    def __call__(self, cell: Cell, macs: Callable[[Cell], int]) -> Estimate:
        like = [r for r in self._times if r.task == str(cell.task) and r.operator == str(cell.operator)]
        same = [r.value or 0 for r in like if r.model == str(cell.model) and r.recipe == str(cell.recipe)]
        if same:
            low, high = min(same) / OF_SEED, max(same) * OF_SEED
            words = f"mean of {len(same)} finished {'seed' if len(same) == 1 else 'seeds'}"
            return _estimate(fmean(same), low, high, words)
        nearest: tuple[float, Record] | None = None
        once = [r for r in self._times if not r.trained_as]
        for records, words in ((like, "this operator and task"), (once, "other cells")):
            factors = self._factors(records, macs(cell) * examples(cell))
            if near := [(factor, r) for factor, r in factors if 1 / REACH <= factor <= REACH]:
                return _scaled(near, words)
            nearest = min([*factors, *([nearest] if nearest else [])], key=_far, default=None)
        return Estimate(None, None, None, _too_far(*nearest) if nearest else NOTHING)

    def _factors(self, records: Sequence[Record], work: float) -> list[tuple[float, Record]]:
        """How many times the work of each record is to do; those of which it is not known are left out."""
        return [(work / own, r) for r in records if work and (own := self._work(r))]

    def _work(self, record: Record) -> float:
        description = self._runs / record.cell / CELL
        if record.task not in TASKS or not description.exists():
            return 0.0
        return self._macs.get(record.cell, 0) * TASKS[record.task].train_examples * described_epochs(description)


NOTHING = "no finished run to go by; --probe measures a few steps"


def _scaled(near: Sequence[tuple[float, Record]], words: str) -> Estimate:
    """The median of what each run tells, between the least and the most, and a factor beyond."""
    told = [factor * (r.value or 0) for factor, r in near]
    factor, closest = min(near, key=_far)
    runs = f"{len(near)} finished {'run' if len(near) == 1 else 'runs'} of {words}"
    basis = f"scaled by MACs × examples from {runs}, the nearest {_times(factor)} ({_run(closest)})"
    return _estimate(median(told), min(told) / OF_SCALING, max(told) * OF_SCALING, basis)


def _estimate(seconds: float, low: float, high: float, basis: str) -> Estimate:
    return Estimate(seconds / 3600, low / 3600, high / 3600, basis, device_name())


def _too_far(factor: float, nearest: Record) -> str:
    return (
        f"{_times(factor)} the work of the nearest finished run ({_run(nearest)}), too far to scale (at most "
        f"{REACH}); --probe measures a few steps"
    )


def _times(factor: float) -> str:
    if factor < 10:
        return f"{factor:.2g}×"
    digits = len(f"{factor:.0f}") - 2
    return f"{round(factor, -digits):,.0f}×"


def _run(record: Record) -> str:
    seconds = record.value or 0
    took = f"{seconds:,.0f} s" if seconds >= 1 else "under 1 s"
    return f"{record.task} {record.model} {record.operator}, {took}"


def _far(found: tuple[float, Record]) -> float:
    return max(found[0], 1 / found[0])


def examples(cell: Cell) -> int:
    """How many examples a cell trains on, all epochs together."""
    return TASKS[cell.task.name].train_examples * cell.resolved_recipe().epochs


def device_here() -> str:
    """Where a cell trains unless another device is named."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    """What records call it: the accelerator, or the processor."""
    here = environment(device_here())
    return str(here["cpu"] if device_here() == "cpu" else here["accelerator"])


def probed(cell: Cell) -> Estimate:
    """What a few training steps on this machine tell, without reading any data."""
    try:
        steps, device = _probe(cell), device_here()
    except Exception as error:  # of a stranger's operator or model; the plan shows all the others
        return Estimate(None, None, None, f"the probe failed: {blame.told(error)}")
    count = examples(cell) / cell.resolved_recipe().batch_size
    words = f"probe of {PROBE_STEPS} steps on {device}, without reading data"
    return _estimate(median(steps) * count, min(steps) * count / OF_SEED, max(steps) * count * OF_SEED, words)


def _probe(cell: Cell) -> list[float]:
    """Seconds of training steps on inputs of the right shape, after one that warms up."""
    from bibench.train.cell import compressor_for, convert, float_model

    task, recipe, device = TASKS[cell.task.name](), cell.resolved_recipe(), device_here()
    model = float_model(cell, task)
    chosen = compressor_for(cell)
    convert(cell, model, task, recipe, chosen)
    model.to(device)
    optimizer = make_optimizer(model, recipe)
    inputs = tuple(x.to(device) for x in _repeat(task.example_inputs(), recipe.batch_size))
    times = []
    for _ in range(PROBE_STEPS + 1):
        start = time.perf_counter()
        chosen.progress(model, 0.0, 1 / recipe.epochs)
        loss = task.trial_loss(model, inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times[1:]


def _repeat(inputs: Any, size: int) -> tuple[Tensor, ...]:
    tensors = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    return tuple(x[:1].expand(size, *x.shape[1:]).contiguous() for x in tensors)
