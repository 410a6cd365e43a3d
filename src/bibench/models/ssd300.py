"""SSD300 (Liu et al., ECCV 2016) on VGG-16, with Hardtanh.

https://arxiv.org/abs/1512.02325. VGG-16 without its classifier, fc6 and fc7 as convolutions, extra layers
down to one position, and a convolution per map that predicts boxes. Default boxes, matching, box coding,
losses and the predictors are torchvision's. conv1_1 stays full precision, the other twelve convolutions
of VGG-16 are binarized; everything behind them stays full precision.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.foundation.errors import BiBenchError, require
from bibench.models.base import model
from bibench.models.detector import Detector
from bibench.models.image import image_channels, initialize

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Of VGG-16's five groups."""
RATIOS = ([2], [2, 3], [2, 3], [2, 3], [2], [2])
"""Aspect ratios of the default boxes of each map, beside 1 and their inverses."""
SCALES = (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)
"""Sides of the default boxes in parts of the image, for VOC: 0.1, then evenly from 0.2 to 0.9."""
STEPS = [8, 16, 32, 64, 100, 300]
"""Pixels between default boxes, for images of 300×300."""
INITIAL_NORM = 20.0
SMALLEST_IMAGE = 32


class Maps(nn.Module):
    """The feature maps that SSD predicts from, finest first.

    `width` of the first convolutions is 64 in VGG-16. An image of 300×300 gives maps of 38, 19, 10, 5, 3 and
    1; a smaller one gives fewer, as far as the extra layers find something to work on.
    """

    def __init__(self, width: int, size: int, batch_norm: bool) -> None:
        super().__init__()
        self.groups = nn.ModuleList()
        channels = 3
        for index, count in enumerate(CONVOLUTIONS):
            out = width * min(2**index, 8)
            layers = [_convolution(channels if i == 0 else out, out, batch_norm, padding=1) for i in range(count)]
            self.groups.append(nn.Sequential(*layers))
            channels = out
        self.norm_scale = nn.Parameter(torch.full((8 * width,), INITIAL_NORM))
        self.fc6 = _convolution(8 * width, 16 * width, batch_norm, padding=6, dilation=6)
        self.fc7 = _convolution(16 * width, 16 * width, batch_norm, kernel=1)
        self.extra = nn.ModuleList()
        self.out_channels = [8 * width, 16 * width]
        side = -(-size // 16)
        for middle, out, stride in ((4, 8, 2), (2, 4, 2), (2, 4, 1), (2, 4, 1)):
            if side < 3:
                break
            reduce = _convolution(self.out_channels[-1], middle * width, batch_norm, kernel=1)
            padding = 1 if stride == 2 else 0
            expand = _convolution(middle * width, out * width, batch_norm, stride=stride, padding=padding)
            self.extra.append(nn.Sequential(reduce, expand))
            self.out_channels.append(out * width)
            side = -(-side // 2) if stride == 2 else side - 2
        initialize(self)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        for group in self.groups[:4]:
            x = group(x if group is self.groups[0] else F.max_pool2d(x, 2, 2, ceil_mode=True))
        maps = [self.norm_scale[:, None, None] * F.normalize(x)]
        x = self.groups[4](F.max_pool2d(x, 2, 2, ceil_mode=True))
        x = self.fc7(self.fc6(F.max_pool2d(x, 3, 1, 1)))
        maps.append(x)
        for layer in self.extra:
            x = layer(x)
            maps.append(x)
        return OrderedDict((str(index), values) for index, values in enumerate(maps))


def _convolution(
    channels: int,
    out: int,
    batch_norm: bool,
    *,
    kernel: int = 3,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, out, kernel, stride, padding, dilation, bias=not batch_norm)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(out))
    return nn.Sequential(*layers, nn.Hardtanh())


@model(
    "ssd300",
    family="cnn",
    paper="Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016 (arXiv:1512.02325)",
    answer="boxes",
)
def ssd300(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 64,
    batch_norm: bool = False,
    image_size: int = 0,
) -> Detector:
    """SSD for square images of `input_shape` (3, 300, 300), to which it scales what it gets.

    Args:
        width: channels of VGG-16's first convolutions; all others are in proportion.
        batch_norm: a norm behind every convolution of the backbone. The published network has none, which
            operators that do not scale their output hardly survive.
        image_size: another side of the images.
    """
    require("torchvision", extra="bench", purpose="model 'ssd300'")
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.ssd import SSD

    size = image_size or min(input_shape[1:])
    if image_channels("ssd300", input_shape) != 3 or size < SMALLEST_IMAGE:
        raise BiBenchError(
            f"model 'ssd300' takes images of 3 channels and at least {SMALLEST_IMAGE} pixels, "
            f"got input_shape {input_shape}, image_size {image_size}"
        )
    maps = Maps(width, size, batch_norm)
    levels = len(maps.out_channels)
    network = SSD(
        maps,
        DefaultBoxGenerator(
            list(RATIOS[:levels]), scales=list(SCALES[: levels + 1]), steps=STEPS if size == 300 else None
        ),
        (size, size),
        num_classes + 1,
    )
    kept = {
        "network.backbone.fc*": "behind VGG-16's convolutions",
        "network.backbone.extra.*": "extra layer",
        "network.head.*": "predictor",
    }
    if not maps.extra:
        del kept["network.backbone.extra.*"]
    return Detector(network, _outline, kept)


def _outline(network: Any, images: Tensor) -> Tensor:
    predicted = network.head(list(network.backbone(images).values()))
    return predicted["cls_logits"]
