"""ResNet-18, ResNet-34 and the CIFAR ResNet-20 (He et al., CVPR 2016), with Hardtanh.

https://arxiv.org/abs/1512.03385. One skip per two convolutions: Bi-Real's extra shortcuts are not an
operator and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bibench.models.base import model
from bibench.models.image import choose_stem, image_channels, initialize

PAPER = "He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (arXiv:1512.03385)"


class BasicBlock(nn.Module):
    """conv-bn-act-conv-bn, plus the shortcut, then act; the shortcut is a 1×1 convolution where shapes change."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.act = nn.Hardtanh()
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act(out + shortcut)


class ResNet(nn.Module):
    """Stem, stages of `BasicBlock` (stride 2 at each but the first), global average pool, classifier."""

    def __init__(
        self,
        *,
        blocks: Sequence[int],
        widths: Sequence[int],
        num_classes: int,
        in_channels: int,
        stem: str,
        binarize_downsample: bool,
    ) -> None:
        super().__init__()
        width = widths[0]
        small = stem == "cifar"
        self.conv1 = nn.Conv2d(in_channels, width, 3 if small else 7, 1 if small else 2, 1 if small else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act = nn.Hardtanh()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        stages = []
        for index, (count, out) in enumerate(zip(blocks, widths, strict=True)):
            stride = 1 if index == 0 else 2
            stages.append(
                nn.Sequential(BasicBlock(width, out, stride), *(BasicBlock(out, out, 1) for _ in range(count - 1)))
            )
            width = out
        self.stages = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_classes)
        initialize(self)
        for module in self.modules():
            if isinstance(module, BasicBlock):  # each block starts as its shortcut
                nn.init.zeros_(module.bn2.weight)
        if not binarize_downsample:
            self.full_precision_layers = {"stages.*.downsample.0": "downsample (binarize_downsample=False)"}

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        return self.fc(self.avgpool(self.stages(x)).flatten(1))


@model("resnet18", family="cnn", paper=PAPER)
def resnet18(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 64,
    stem: str = "auto",
    binarize_downsample: bool = False,
) -> ResNet:
    """ResNet-18; `width` of the first stage, `stem` cifar or imagenet (auto: by the image size)."""
    return ResNet(
        blocks=(2, 2, 2, 2),
        widths=[width * 2**i for i in range(4)],
        num_classes=num_classes,
        in_channels=image_channels("resnet18", input_shape),
        stem=choose_stem(stem, input_shape),
        binarize_downsample=binarize_downsample,
    )


@model("resnet34", family="cnn", paper=PAPER)
def resnet34(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 64,
    stem: str = "auto",
    binarize_downsample: bool = False,
) -> ResNet:
    """ResNet-34; options as `resnet18`."""
    return ResNet(
        blocks=(3, 4, 6, 3),
        widths=[width * 2**i for i in range(4)],
        num_classes=num_classes,
        in_channels=image_channels("resnet34", input_shape),
        stem=choose_stem(stem, input_shape),
        binarize_downsample=binarize_downsample,
    )


@model("resnet20", family="cnn", paper=PAPER)
def resnet20(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 16,
    stem: str = "cifar",
    binarize_downsample: bool = False,
) -> ResNet:
    """The CIFAR ResNet-20: three stages of three blocks, 16-32-64 channels, projection shortcuts."""
    return ResNet(
        blocks=(3, 3, 3),
        widths=[width * 2**i for i in range(3)],
        num_classes=num_classes,
        in_channels=image_channels("resnet20", input_shape),
        stem=choose_stem(stem, input_shape),
        binarize_downsample=binarize_downsample,
    )
