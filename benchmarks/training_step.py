"""One training step of binarized networks over the best full-precision step, native kernels and plain PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import bibench
from bibench.foundation.choice import choice
from bibench.kernels import native
from bibench.nn.layers import progress, set_backward_precision
from bibench.operators import PAPER_ORDER
from bibench.train.allocator import keep_freed_memory

from .timing import interleave, summarize

CASES = {"resnet18": 16, "resnet20": 64}
"""Model and batch size, on 32×32 images."""
TITLES = {"resnet18": "ResNet-18", "resnet20": "ResNet-20"}
OPERATORS = (*PAPER_ORDER[1:], "fda[noise=False]")
TRAINED = torch.channels_last
ENDINGS = {"plain": " without the kernels", "lookup": " by lookup"}
PLAIN = ("bnn", "bireal", "fda")
"""Operators also timed without the kernels."""
LOOKUP = tuple(name for name in OPERATORS if name != "fda")
"""Operators also timed with the backward pass by table lookup, which noise on the signs leaves nothing to look up."""


def run(models: list[str] | None = None, threads: list[int] | None = None) -> list[dict[str, Any]]:
    """Ratios to full precision; on all `models` of `CASES` with one and two `threads`, unless they are given."""
    before = torch.get_num_threads()
    keep_freed_memory()  # as the engine does in its workers; full precision gains as well
    rows = []
    for model in models or CASES:
        for count in threads or (1, 2):
            torch.set_num_threads(count)
            title = f"{model} batch {CASES[model]}, {count} threads"
            rows += [{"model": model, "threads": count, **row} for row in compare(model, CASES[model], title, rounds=7)]
    torch.set_num_threads(before)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The table of docs/native.md: an operator's ratios in a line, a model and its threads in a column."""
    columns = list(dict.fromkeys((row["model"], row["threads"]) for row in rows))
    ratios: dict[str, dict[tuple[str, int], float]] = {}
    for row in rows:
        if row["name"] != row["base"]:
            operator = row["name"].partition(": ")[2]
            for ending, words in ENDINGS.items():
                operator = operator.replace(f", {ending}", words)
            ratios.setdefault(operator, {})[row["model"], row["threads"]] = row["ratio"]
    heads = [f"{TITLES[model]}, batch {CASES[model]}, {count} thread{'s' * (count > 1)}" for model, count in columns]
    lines = ["| operator | " + " | ".join(heads) + " |", "|---" * (len(columns) + 1) + "|"]
    for operator, found in ratios.items():
        cells = (f"{found[column]:.2f}" if column in found else "–" for column in columns)
        lines.append(f"| {operator} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def compare(model: str, batch: int, title: str, rounds: int) -> list[dict[str, Any]]:
    """All alternatives interleaved; the base is the faster of two memory formats at full precision.

    Binarized networks are timed in channels_last, in which the engine trains every network of an image task.
    """
    formats = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
    baselines = {name: step(model, "fp32", batch, memory) for name, memory in formats.items()}
    # Processor time where one thread works, so that other jobs on the machine matter less.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    trial = interleave(baselines, rounds=3, warmup=1, clock=clock)
    best = min(formats, key=lambda name: min(trial[name]))
    base = f"{title}: fp32 {best}"
    alternatives = {base: baselines[best]}
    for operator in OPERATORS:
        alternatives[f"{title}: {operator}"] = step(model, operator, batch, TRAINED)
    for operator in LOOKUP:
        alternatives[f"{title}: {operator}, lookup"] = step(model, operator, batch, TRAINED, "lookup")
    for operator in PLAIN:
        alternatives[f"{title}: {operator}, plain"] = plain(step(model, operator, batch, TRAINED))
    return summarize(interleave(alternatives, rounds=rounds, warmup=1, clock=clock), base)


def step(
    model_name: str, operator: str, batch: int, memory: torch.memory_format, backward: str = "float32"
) -> Callable[[], None]:
    """A training step with Adam, as the engine runs it."""
    torch.manual_seed(0)
    model = bibench.models.create(model_name)
    if operator != "fp32":
        chosen = choice(operator)
        bibench.binarize(model, chosen.name, example_inputs=torch.zeros(1, 3, 32, 32), **chosen.options)
        set_backward_precision(model, backward)
        progress(model, 0.5, 0.01)
    model.to(memory_format=memory)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, 32, 32).contiguous(memory_format=memory)
    targets = torch.randint(10, (batch,))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    return lambda: one(model, optimizer, images, targets)


def one(model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, targets: torch.Tensor) -> None:
    """Forward, backward, update."""
    optimizer.zero_grad()
    F.cross_entropy(model(images), targets).backward()
    optimizer.step()


def plain(work: Callable[[], None]) -> Callable[[], None]:
    """The same without the compiled kernels."""

    def call() -> None:
        with native.using(native.NONE):
            work()

    return call
