"""VGG-Small, the VGG variant of the binarization literature (Simonyan & Zisserman, ICLR 2015).

https://arxiv.org/abs/1409.1556. Each block is conv → [max pool] → batch norm → Hardtanh.
"""

import torch
from torch import Tensor, nn

from bibench.foundation.errors import BiBenchError
from bibench.models.base import model
from bibench.models.image import image_channels, initialize


class VGGSmall(nn.Module):
    """Six 3×3 convolutions, 128-128-256-256-512-512 by default, pooled after the 2nd, 4th and 6th."""

    def __init__(self, *, num_classes: int, input_shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        channels = image_channels("vgg_small", input_shape)
        if min(input_shape[1:]) < 8:
            raise BiBenchError(f"model 'vgg_small' pools three times: images need at least 8×8, got {input_shape}")
        layers: list[nn.Module] = []
        for index, out in enumerate((width, width, 2 * width, 2 * width, 4 * width, 4 * width)):
            layers.append(nn.Conv2d(channels, out, 3, padding=1, bias=False))
            if index % 2 == 1:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.BatchNorm2d(out), nn.Hardtanh()]
            channels = out
        self.features = nn.Sequential(*layers)
        positions = (input_shape[1] // 8) * (input_shape[2] // 8)
        self.classifier = nn.Linear(channels * positions, num_classes)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


@model(
    "vgg_small",
    family="cnn",
    paper="Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015 (arXiv:1409.1556)",
)
def vgg_small(*, num_classes: int, input_shape: tuple[int, ...], width: int = 128) -> VGGSmall:
    """VGG-Small; `width` of the first two convolutions."""
    return VGGSmall(num_classes=num_classes, input_shape=input_shape, width=width)
