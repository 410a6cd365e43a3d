"""Time per step of our training loop over a bare PyTorch loop with the same batches, model and optimizer."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import bibench
from bibench.foundation.choice import choice
from bibench.nn.layers import progress
from bibench.recipes.recipe import make_optimizer
from bibench.tasks import TASKS
from bibench.train.loop import Training

from .timing import interleave, summarize

CASES = [
    ("vgg_small[width=8]", "fp32"),
    ("vgg_small[width=8]", "bnn"),
    ("resnet18[width=16,stem=imagenet]", "reactnet"),
]


def make(model_name: str, operator: str) -> nn.Module:
    """A model of the quick suite."""
    torch.manual_seed(0)
    chosen = choice(model_name)
    model = bibench.models.create(chosen.name, **chosen.options)
    if operator != "fp32":
        bibench.binarize(model, operator, example_inputs=torch.zeros(1, 3, 32, 32))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def run() -> list[dict[str, Any]]:
    """Ratios for models of the quick suite, and the share of data loading."""
    from lightning_fabric import Fabric

    torch.set_num_threads(1)
    task = TASKS["digits_photos"]()
    recipe = task.recipe("quick").with_options({"epochs": 1})
    rows = []
    for model_name, operator in CASES:
        batches = task.batches("train", batch_size=recipe.batch_size, seed=0)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            training = Training(
                model=make(model_name, operator),
                task=task,
                recipe=recipe,
                batches=batches,
                validation=None,
                fabric=Fabric(accelerator="cpu", devices=1),
                directory=Path(folder),
                identity={},
            )
            alternatives = {
                "bare loop": bare(make(model_name, operator), task, recipe, batches),
                "our loop": ours(training),
            }
            times = interleave(alternatives, rounds=9, warmup=1)
        per_step = {f"{model_name} {operator}: {k}": [t / len(batches) for t in v] for k, v in times.items()}
        rows += summarize(per_step, f"{model_name} {operator}: bare loop")
    return rows


def bare(model: nn.Module, task: Any, recipe: Any, batches: Any) -> Callable[[], None]:
    """What one would write by hand."""
    optimizer = make_optimizer(model, recipe)

    def epoch() -> None:
        model.train()
        progress(model, 0.0, 1.0)
        for batch in batches.epoch(0):
            loss = task.loss(model(*batch.inputs), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def ours(training: Training) -> Callable[[], None]:
    """One epoch of our loop, with its bookkeeping, curve and checkpoint."""

    def epoch() -> None:
        training.position.epoch = 0
        training._epoch()

    return epoch
