"""How single-label classification is judged, whatever the modality."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bibench.data.batches import Batches
from bibench.tasks.base import Evaluation


def top1(model: nn.Module, batches: Batches, device: torch.device, num_classes: int) -> Evaluation:
    """Top-1 accuracy (Eq. 33), mean cross entropy and the share of the commonest answer over all of `batches`."""
    from torchmetrics.classification import MulticlassAccuracy

    accuracy = MulticlassAccuracy(num_classes, average="micro").to(device)
    answers = torch.zeros(num_classes, dtype=torch.int64, device=device)
    total_loss = torch.zeros((), device=device)
    for batch in batches.epoch(0):
        targets = batch.targets.to(device)
        logits = model(*(x.to(device) for x in batch.inputs))
        accuracy.update(logits, targets)
        total_loss += F.cross_entropy(logits, targets, reduction="sum")
        answers += torch.bincount(logits.argmax(1), minlength=num_classes)
    examples = int(answers.sum())
    return Evaluation(
        metrics={"accuracy": round(float(accuracy.compute()), 7), "loss": float(total_loss) / examples},
        examples=examples,
        commonest_answer=float(answers.max()) / examples,
    )
