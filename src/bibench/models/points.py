"""What the point-cloud architectures share: aggregators, shared layers, T-Nets, layer-wise scale recovery.

Aggregators and scale recovery: Qin et al., BiPointNet, ICLR 2021 (https://arxiv.org/abs/2010.05501).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from bibench.foundation.errors import BiBenchError
from bibench.kernels.spec import convolve
from bibench.nn.layers import BinaryLayer

AGGREGATORS = ("ema-max", "ema-avg", "max")
UNNORMALIZED_OFFSET = -0.3
"""Offset of EMA-max where no batch norm makes the features standard normal (BiPointNet's value)."""

NEAR_IDENTITY = 1e-3
"""Standard deviation of a T-Net's last weights at the start. The paper starts from zeros, which have no sign."""


def cloud_channels(name: str, input_shape: tuple[int, ...]) -> int:
    """Channels of a point-cloud shape (C, N), C ≥ 3; a `BiBenchError` for anything else."""
    if len(input_shape) != 2 or input_shape[0] < 3 or input_shape[1] < 1:
        raise BiBenchError(
            f"model {name!r} takes point clouds: input_shape must be (C, N) with C >= 3 channels "
            f"(x, y, z first) and N points; got {input_shape}"
        )
    return input_shape[0]


@lru_cache
def ema_max_offset(points: int) -> float:
    """δ*(n) = -Φ⁻¹(2^(-1/n)): the median of the maximum of n values of N(0, 1), with its sign turned.

    Added to the maximum over `points` features that left a batch norm, it makes both signs equally
    likely, which maximises the entropy of what the next binarized layer sees.
    """
    return -NormalDist().inv_cdf(2 ** (-1 / points))


class Aggregator(nn.Module):
    """Pooling over the points: (B, C, N) → (B, C).

    Args:
        kind: ``ema-max`` (maximum + δ*(N)), ``ema-avg`` (mean; its δ is 0) or ``max``.
        normalized: whether a batch norm precedes it; without one, EMA-max shifts by -0.3.

    In a full-precision network the offset is absorbed by the next layer's bias or batch norm, so
    ``ema-max`` and ``max`` are the same architecture there and its baseline stays comparable.
    """

    def __init__(self, kind: str, *, normalized: bool = True) -> None:
        super().__init__()
        if kind not in AGGREGATORS:
            raise BiBenchError(f"aggregator must be one of {', '.join(AGGREGATORS)}; got {kind!r}")
        self.kind, self.normalized = kind, normalized

    def offset(self, points: int) -> float:
        """What is added to the maximum over `points` points."""
        if self.kind != "ema-max":
            return 0.0
        return ema_max_offset(points) if self.normalized else UNNORMALIZED_OFFSET

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "ema-avg":
            return x.mean(2)
        return x.max(2).values + self.offset(x.shape[2])

    def extra_repr(self) -> str:
        return self.kind


class LayerScaleRecovery(nn.Module):
    """LSR: the output of `layer` times one learned scalar α.

    α is 1 until the first training batch after binarization, which sets it to
    σ(float output) / σ(binarized output) and thereby restores the spread of the layer's output
    (BiPointNet, section 3.3); from then on it is learned. It multiplies what the operator gives, after
    the operator's own scales: an unscaled operator (BNN) gets its scale from it, a scaled one a
    correction near 1. BiPointNet also centres the weight; that is left to the operator. α folds into a
    following batch norm.
    """

    calibrated: Tensor

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.alpha = nn.Parameter(torch.ones(()))
        self.register_buffer("calibrated", torch.zeros((), dtype=torch.bool))
        self._look = True

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        if self._look and self.training and isinstance(self.layer, BinaryLayer):
            self._calibrate(x, y)
        return self.alpha * y

    @torch.no_grad()
    def _calibrate(self, x: Tensor, y: Tensor) -> None:
        """Set α, unless a loaded checkpoint already has. The one look at the device happens once per process."""
        self._look = False
        if bool(self.calibrated):
            return
        layer: Any = self.layer
        exact = convolve(x, layer.weight.to(x.dtype), layer.spec)
        self.alpha.copy_(exact.float().std() / y.float().std().clamp_min(1e-12))
        self.calibrated.fill_(True)


@dataclass(frozen=True)
class Form:
    """What all layers of one PointNet have in common: pooling, norms, scale recovery."""

    aggregator: str = "ema-max"
    batch_norm: bool = True
    lsr: bool = False

    def scaled(self, layer: nn.Module) -> nn.Module:
        """`layer`, with scale recovery if asked for."""
        return LayerScaleRecovery(layer) if self.lsr else layer

    def pool(self) -> Aggregator:
        """The aggregator."""
        return Aggregator(self.aggregator, normalized=self.batch_norm)

    def shared(self, in_channels: int, out_channels: int, *, act: bool = True) -> Unit:
        """A layer applied to every point: 1×1 convolution, norm, Hardtanh; (B, C_i, N) → (B, C_o, N)."""
        return Unit(nn.Conv1d(in_channels, out_channels, 1), out_channels, self, act=act)

    def dense(self, in_features: int, out_features: int) -> Unit:
        """A fully connected layer, norm, Hardtanh; (B, C_i) → (B, C_o)."""
        return Unit(nn.Linear(in_features, out_features), out_features, self)


class Unit(nn.Module):
    """layer → batch norm → Hardtanh."""

    def __init__(self, layer: nn.Module, channels: int, form: Form, *, act: bool = True) -> None:
        super().__init__()
        self.layer = form.scaled(layer)
        self.norm = nn.BatchNorm1d(channels) if form.batch_norm else nn.Identity()
        self.act = nn.Hardtanh() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.layer(x)))


class TransformNet(nn.Module):
    """T-Net: a small PointNet that predicts one square matrix per cloud, near the identity.

    (B, C, N) → (B, size, size). No norm follows its last layer, so that binarized operators without a
    scale change the matrix most here (the likely cause of BNN's failure on PointNet in Table 11).
    """

    identity: Tensor

    def __init__(self, channels: int, size: int, width: int, form: Form) -> None:
        super().__init__()
        self.size = size
        self.conv1 = form.shared(channels, width)
        self.conv2 = form.shared(width, 2 * width)
        self.conv3 = form.shared(2 * width, 16 * width, act=False)
        self.pool = form.pool()
        self.fc1 = form.dense(16 * width, 8 * width)
        self.fc2 = form.dense(8 * width, 4 * width)
        last = nn.Linear(4 * width, size * size)
        nn.init.normal_(last.weight, std=NEAR_IDENTITY)
        nn.init.zeros_(last.bias)
        self.fc3 = form.scaled(last)
        self.register_buffer("identity", torch.eye(size), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.conv3(self.conv2(self.conv1(x))))
        x = self.fc3(self.fc2(self.fc1(x)))
        return x.view(-1, self.size, self.size) + self.identity


def transformed(x: Tensor, matrix: Tensor) -> Tensor:
    """Every point of (B, K, N) as a row vector times its cloud's (B, K, K) matrix."""
    return matrix.transpose(1, 2) @ x


def transformed_coordinates(x: Tensor, matrix: Tensor) -> Tensor:
    """As `transformed`, for x, y and z of (B, C, N) alone; the other channels stay."""
    return torch.cat([transformed(x[:, :3], matrix), x[:, 3:]], dim=1)


def orthogonality(matrix: Tensor) -> Tensor:
    """Mean over the batch of ‖I - A Aᵀ‖ (Frobenius), for (B, K, K) (Qi et al., Eq. 2, unsquared)."""
    eye = torch.eye(matrix.shape[-1], device=matrix.device, dtype=matrix.dtype)
    return torch.linalg.matrix_norm(eye - matrix @ matrix.transpose(1, 2)).mean()


class AddToLoss(torch.autograd.Function):
    """Passes `x` on and adds `penalty` to whatever loss is computed from it, in the gradient alone.

    It lets an architecture regularise itself without every loss and distillation having to know.
    Gradients are those of loss + penalty; the reported loss lacks it. The loss scale of float16
    training does not reach it: use bfloat16 there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, penalty: Tensor) -> Tensor:
        ctx.penalty_dtype = penalty.dtype
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, torch.ones((), device=grad.device, dtype=ctx.penalty_dtype)
