"""What the detectors share: torchvision's networks behind one way of being called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from bibench.foundation.errors import BiBenchError

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
        outline: calls every layer of the network on its scaled images (B, 3, H, W) and gives an output.
        full_precision_layers: see `bibench.nn.conversion.MARK`.
    """

    outlined_on_meta = True  # see `bibench.nn.calls.ON_META`

    def __init__(
        self,
        network: nn.Module,
        outline: Callable[[Any, Tensor], Tensor],
        full_precision_layers: dict[str, str],
    ) -> None:
        super().__init__()
        self.network = network
        self.full_precision_layers = full_precision_layers
        self._outline = outline

    def forward(self, images: Sequence[Tensor] | Tensor, targets: Sequence[Target] | None = None) -> Any:
        images = list(images)
        if images and images[0].is_meta:
            scaled, _ = _evaluating(self.network.transform, images)  # in training it would draw a size
            return self._outline(self.network, scaled.tensors)
        if not self.training:
            found = self.network(images)
            return [{**item, "labels": item["labels"] - 1} for item in found]
        if targets is None:
            raise BiBenchError("a detector in training needs targets: call it with (images, targets), or call eval()")
        shifted = [{"boxes": target["boxes"], "labels": target["labels"] + 1} for target in targets]
        return self.network(images, shifted)


def _evaluating(module: Any, *inputs: Any) -> Any:
    """The module's output in evaluation mode."""
    training = module.training
    try:
        return module.eval()(*inputs)
    finally:
        module.train(training)
