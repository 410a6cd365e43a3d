"""PointNet for classification and part segmentation (Qi et al., CVPR 2017), with Hardtanh and EMA-max.

https://arxiv.org/abs/1612.00593. Shared layers are 1×1 convolutions over (B, C, N). The aggregator
follows BiPointNet (https://arxiv.org/abs/2010.05501), as in the benchmark's paper (A.3). XNOR-Net++
learns a scale for each position of a map and is thus the one operator that sees the order of points.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bibench.foundation.errors import BiBenchError
from bibench.models.base import model
from bibench.models.points import (
    AddToLoss,
    Form,
    TransformNet,
    cloud_channels,
    orthogonality,
    transformed,
    transformed_coordinates,
)

PAPER = "Qi et al., PointNet, CVPR 2017 (arXiv:1612.00593); aggregator: Qin et al., BiPointNet, ICLR 2021"
FIRST_LAYER = {"conv1.layer*": "first layer after the input transform"}


class PointNet(nn.Module):
    """Classifier: (B, C, N) → (B, classes), whatever the order of the points.

    With `transforms` (T-Nets), coordinates and features are first multiplied by predicted matrices.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        width: int,
        transforms: bool,
        form: Form,
        dropout: float,
        penalty: float = 0.0,
    ) -> None:
        super().__init__()
        self.penalty = _weight(penalty)
        self.input_transform = TransformNet(channels, 3, width, form) if transforms else None
        self.conv1 = form.shared(channels, width)
        self.feature_transform = TransformNet(width, width, width, form) if transforms else None
        self.conv2 = form.shared(width, 2 * width)
        self.conv3 = form.shared(2 * width, 16 * width, act=False)
        self.pool = form.pool()
        self.fc1 = form.dense(16 * width, 8 * width)
        self.fc2 = form.dense(8 * width, 4 * width)
        self.dropout = nn.Dropout(dropout)
        self.fc3 = nn.Linear(4 * width, num_classes)
        if transforms:
            self.full_precision_layers = FIRST_LAYER

    def forward(self, x: Tensor) -> Tensor:
        if self.input_transform is not None:
            x = transformed_coordinates(x, self.input_transform(x))
        x = self.conv1(x)
        if self.feature_transform is not None:
            x = _transform(x, self.feature_transform, self.penalty if self.training else 0.0)
        x = self.pool(self.conv3(self.conv2(x)))
        return self.fc3(self.dropout(self.fc2(self.fc1(x))))


class PointNetSegmentation(nn.Module):
    """Part segmentation: (B, C, N) → (B, parts, N).

    Every point is labelled from its own features after each of five layers and from the aggregate.
    """

    def __init__(self, *, num_classes: int, channels: int, width: int, form: Form, penalty: float = 0.0) -> None:
        super().__init__()
        w = width
        self.penalty = _weight(penalty)
        self.input_transform = TransformNet(channels, 3, w, form)
        self.conv1 = form.shared(channels, w)
        self.conv2 = form.shared(w, 2 * w)
        self.conv3 = form.shared(2 * w, 2 * w)
        self.feature_transform = TransformNet(2 * w, 2 * w, w, form)
        self.conv4 = form.shared(2 * w, 8 * w)
        self.conv5 = form.shared(8 * w, 32 * w, act=False)
        self.pool = form.pool()
        self.head1 = form.shared(77 * w, 4 * w)  # 32 aggregated + 1 + 2 + 2 + 8 + 32 of the point
        self.head2 = form.shared(4 * w, 4 * w)
        self.head3 = form.shared(4 * w, 2 * w)
        self.head4 = nn.Conv1d(2 * w, num_classes, 1)
        self.full_precision_layers = FIRST_LAYER

    def forward(self, x: Tensor) -> Tensor:
        points = x.shape[2]
        x = transformed_coordinates(x, self.input_transform(x))
        one = self.conv1(x)
        two = self.conv2(one)
        three = self.conv3(two)
        four = self.conv4(_transform(three, self.feature_transform, self.penalty if self.training else 0.0))
        five = self.conv5(four)
        whole = self.pool(five)[:, :, None].expand(-1, -1, points)
        x = torch.cat([whole, one, two, three, four, five], dim=1)
        return self.head4(self.head3(self.head2(self.head1(x))))


def _weight(penalty: float) -> float:
    if not penalty >= 0:
        raise BiBenchError(f"orthogonality is the weight of a penalty, at least 0; got {penalty!r}")
    return penalty


def _transform(x: Tensor, net: TransformNet, penalty: float) -> Tensor:
    matrix = net(x)
    if penalty > 0:
        matrix = AddToLoss.apply(matrix, penalty * orthogonality(matrix))
    return transformed(x, matrix)


@model("pointnet_vanilla", family="mlp", paper=PAPER)
def pointnet_vanilla(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 64,
    aggregator: str = "ema-max",
    batch_norm: bool = True,
    lsr: bool = False,
    dropout: float = 0.0,
) -> PointNet:
    """PointNet without T-Nets; `width` of the first layer, `lsr` for layer-wise scale recovery."""
    return PointNet(
        num_classes=num_classes,
        channels=cloud_channels("pointnet_vanilla", input_shape),
        width=width,
        transforms=False,
        form=Form(aggregator, batch_norm, lsr),
        dropout=dropout,
    )


@model("pointnet", family="mlp", paper=PAPER)
def pointnet(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 64,
    aggregator: str = "ema-max",
    batch_norm: bool = True,
    lsr: bool = False,
    dropout: float = 0.0,
    orthogonality: float = 0.0,
) -> PointNet:
    """PointNet with T-Nets on coordinates and features.

    `orthogonality`: weight of the feature transform's penalty (BiPointNet 0.001; the benchmark none).
    """
    return PointNet(
        num_classes=num_classes,
        channels=cloud_channels("pointnet", input_shape),
        width=width,
        transforms=True,
        form=Form(aggregator, batch_norm, lsr),
        dropout=dropout,
        penalty=orthogonality,
    )


@model("pointnet_seg", family="mlp", paper=PAPER)
def pointnet_seg(
    *,
    num_classes: int,
    input_shape: tuple[int, ...],
    width: int = 64,
    aggregator: str = "ema-max",
    batch_norm: bool = True,
    lsr: bool = False,
    orthogonality: float = 0.0,
) -> PointNetSegmentation:
    """PointNet for part segmentation, as BiPointNet's: one output per part and point; options as `pointnet`."""
    return PointNetSegmentation(
        num_classes=num_classes,
        channels=cloud_channels("pointnet_seg", input_shape),
        width=width,
        form=Form(aggregator, batch_norm, lsr),
        penalty=orthogonality,
    )
