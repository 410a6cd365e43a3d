"""Peak memory of a training step over full precision, with the native kernels and with plain PyTorch."""

from __future__ import annotations

from typing import Any

import torch

import bibench
from bibench.data.batches import Batch
from bibench.foundation.choice import choice
from bibench.kernels import native
from bibench.measure.memory import peak_memory
from bibench.measure.step import TrainingStep
from bibench.recipes.recipe import Recipe
from bibench.tasks import TASKS

from .training_step import CASES, OPERATORS


def run() -> list[dict[str, Any]]:
    """Bytes that PyTorch's allocator gave out at the worst moment; exact, so one step of each tells."""
    rows = []
    for model, batch in CASES.items():
        base = measured(model, "fp32", batch)
        for operator in ("fp32", *OPERATORS):
            kernels = measured(model, operator, batch)
            with native.using(native.NONE):
                plain = measured(model, operator, batch)
            rows.append(
                {
                    "name": f"{model} batch {batch}: {operator}",
                    "mib": round(kernels / 2**20, 1),
                    "over_fp32": round(kernels / base, 3),
                    "over_plain": round(kernels / plain, 3),
                }
            )
    return rows


def measured(model_name: str, operator: str, batch: int) -> int:
    """Peak bytes of a step with Adam on 32×32 images."""
    torch.manual_seed(0)
    model = bibench.models.create(model_name)
    if operator != "fp32":
        chosen = choice(operator)
        bibench.binarize(model, chosen.name, example_inputs=torch.zeros(1, 3, 32, 32), **chosen.options)
    images = Batch((torch.randn(batch, 3, 32, 32),), torch.randint(10, (batch,)))
    recipe = Recipe(epochs=2, batch_size=batch, lr=1e-3, optimizer="adam")
    step = TrainingStep(
        model, TASKS["digits_photos"](), recipe, [images], device=torch.device("cpu"), memory_format="channels_last"
    )
    step()
    found = peak_memory(step)
    if found is None:
        raise SystemExit("training_memory: this build of PyTorch reports no memory events")
    return found
