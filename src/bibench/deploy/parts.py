"""Which part of a model is deployed: all of it, or the network of a detector without its postprocessing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bibench.models.detector import Detector

WITHOUT_POSTPROCESSING = (
    "detector: scaling of images, choice of boxes and suppression are not part of the graph; inputs are scaled "
    "and normalized images, outputs those of the backbone and the heads that see whole maps"
)


class DenseHeads(nn.Module):
    """The part of torchvision's detectors that works on whole maps: backbone and the head on it.

    SSD gives its box regression and class logits; a region-based detector the maps of its backbone,
    then objectness and box deltas of its proposal network.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.backbone: nn.Module = network.backbone
        self.head: nn.Module | None = network.head if hasattr(network, "head") else None
        self.proposals: nn.Module | None = network.rpn.head if self.head is None else None

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.backbone(images)
        found = list(maps.values()) if isinstance(maps, dict) else [maps]
        if self.head is not None:
            return tuple(self.head(found).values())
        assert self.proposals is not None
        objectness, deltas = self.proposals(found)
        return (*found, *objectness, *deltas)


def deployable_part(model: nn.Module, example_inputs: Any) -> tuple[nn.Module, Any, list[str]]:
    """The module to export, its inputs, and what to tell about it."""
    if not isinstance(model, Detector):
        return model, example_inputs, []
    network: Any = model.network
    images = example_inputs
    if isinstance(images, tuple) and len(images) == 1:
        images = images[0]
    with torch.no_grad():
        scaled, _ = network.transform([image.detach().cpu() for image in images])
    return DenseHeads(network), scaled.tensors, [WITHOUT_POSTPROCESSING]
