"""MobileNetV2 (Sandler et al., CVPR 2018) from torchvision, with Hardtanh for ReLU6.

https://arxiv.org/abs/1801.04381
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from bibench.foundation.errors import require
from bibench.models.base import model
from bibench.models.image import choose_stem, image_channels, initialize, replace_activations

if TYPE_CHECKING:
    from torchvision.models import MobileNetV2

# expansion, channels, repeats, stride (Table 2 of the paper); small images keep more resolution
IMAGENET = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
CIFAR = [(1, 16, 1, 1), (6, 24, 2, 1), *IMAGENET[2:]]


@model(
    "mobilenetv2",
    family="cnn",
    paper="Sandler et al., MobileNetV2, CVPR 2018 (arXiv:1801.04381)",
)
def mobilenetv2(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width_multiplier: float = 1.0,
    stem: str = "auto",
    dropout: float = 0.2,
) -> MobileNetV2:
    """MobileNetV2; the CIFAR stem and second stage have stride 1."""
    require("torchvision", extra="bench", purpose="model 'mobilenetv2'")
    from torchvision.models import MobileNetV2

    channels = image_channels("mobilenetv2", input_shape)
    small = choose_stem(stem, input_shape) == "cifar"
    net = MobileNetV2(
        num_classes=num_classes,
        width_mult=width_multiplier,
        inverted_residual_setting=[list(row) for row in (CIFAR if small else IMAGENET)],
        dropout=dropout,
    )
    first = net.features[0][0]
    net.features[0][0] = nn.Conv2d(channels, first.out_channels, 3, 1 if small else 2, 1, bias=False)
    initialize(net)
    replace_activations(net)
    return net
