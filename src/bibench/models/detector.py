"""What the detectors share: torchvision's networks behind one way of being called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from bibench.errors import BiBenchError

Target = dict[str, Tensor]


class Detector(nn.Module):
    """A detector of torchvision (`GeneralizedRCNN` or `SSD`) that counts classes from 0.

    In training, (images, targets) give the losses by name, scalars. In evaluation, images give one
    dictionary each: ``boxes`` (N, 4) edges in pixels of the image as given, ``labels`` (N,) and
    ``scores`` (N,). Images are (3, H, W) in [0, 1], in a list or stacked; targets have ``boxes`` and
    ``labels``. On the meta device, which has no values to choose boxes by, every layer is called once
    and the answer is its last output.

    Args:
        network: with background as its class 0.
        outline: calls every layer of the network on a list of images and gives an output.
        full_precision_layers: see `bibench.conversion.MARK`.
    """

    def __init__(
        self,
        network: nn.Module,
        outline: Callable[[Any, list[Tensor]], Tensor],
        full_precision_layers: dict[str, str],
    ) -> None:
        super().__init__()
        self.network = network
        self.full_precision_layers = full_precision_layers
        self._outline = outline

    def forward(self, images: Sequence[Tensor] | Tensor, targets: Sequence[Target] | None = None) -> Any:
        images = list(images)
        if images and images[0].is_meta:
            return self._outline(self.network, images)
        if not self.training:
            found = self.network(images)
            return [{**item, "labels": item["labels"] - 1} for item in found]
        if targets is None:
            raise BiBenchError("a detector in training needs targets: call it with (images, targets), or call eval()")
        shifted = [{"boxes": target["boxes"], "labels": target["labels"] + 1} for target in targets]
        return self.network(images, shifted)
