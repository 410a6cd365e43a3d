"""What the speech tasks share: keyword spotting from log-mel spectrograms, cross entropy, accuracy."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.data.audio import SAMPLE_RATE, LogMel
from bibench.data.batches import Batch, Batches
from bibench.tasks.base import Evaluation, Task
from bibench.tasks.classification import top1


class SpeechClassification(Task):
    """Accuracy (Eq. 33) of single-word clips of one second, seen as 32 mel bands × 32 frames."""

    modality = "speech"
    classes: ClassVar[tuple[str, ...]]
    seconds: ClassVar[float] = 1.0
    features: ClassVar[LogMel] = LogMel()
    models = ("fsmn", "deep_fsmn")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(1, bands, frames)."""
        return (1, self.features.bands, self.features.frames(round(self.seconds * SAMPLE_RATE)))

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": len(self.classes), "input_shape": self.input_shape}

    def example_inputs(self) -> Tensor:
        return torch.zeros(2, *self.input_shape)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross entropy of logits (B, classes), a scalar (`torch.nn.functional.cross_entropy`)."""
        return F.cross_entropy(outputs, batch.targets)

    def evaluate(self, model: nn.Module, batches: Batches, device: torch.device) -> Evaluation:
        """Top-1 accuracy (Eq. 33) and mean cross entropy."""
        return top1(model, batches, device, len(self.classes))
