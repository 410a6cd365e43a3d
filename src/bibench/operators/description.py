"""What a binarized layer computes, as one value. Training, inference form, deployment and complexity all read it.

    a = ±1: the sign of activations.real(x), or what stands in its place    b likewise, from the latent weight w
    y = scale · (a ⊛ b) + window · (a ⊛ 1) + offset                         per output channel
    y = y · gamma · K(x) · gate(x), then finish(y, x), then the bias        what is not there is left out

(a ⊛ 1) is the sum of a over the layer's window, the channels of a group together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bibench.kernels.input_scale import activation_scale
from bibench.kernels.rows import Rectified, as_rows, from_rows, scale_rows, shifted
from bibench.kernels.spec import LayerSpec
from bibench.kernels.surrogate import Surrogate, binarize, sign

Centre = Literal["sample", "token"]
InputScaleKind = Literal["spatial", "token", "sample"]


@dataclass(frozen=True)
class Signs:
    """One factor of the product: which real values are signed, and the gradient behind their sign.

    Attributes:
        estimator: stands in for the sign's derivative.
        shift: added to each input channel, as ``spec.per_input`` shapes it.
        centre: the mean that is subtracted at run time: over an example (``sample``) or over the last axis (``token``).
        scaling: how filters are centred, scaled and clamped; behind it the gradient of the sign is the clamp's.
        values: any other way from what is given to the real values; then none of the three above is applied.
        ternary: the sign of 0 is 0, a third value, as in the official release.
        quantized: what stands in the place of ±1 (signs with noise, more bits), from what is given; float products.
        scale_first: of such weights: they are multiplied by the scale, not the products, which are no integers.
    """

    estimator: Surrogate
    shift: Tensor | None = None
    centre: Centre | None = None
    scaling: Rectified | None = None
    values: Callable[[Tensor], Tensor] | None = None
    ternary: bool = False
    quantized: Callable[[Tensor], Tensor] | None = None
    scale_first: bool = False

    @property
    def exact(self) -> bool:
        """Whether the factor is ±1, exactly."""
        return not self.ternary and self.quantized is None

    def real(self, x: Tensor) -> Tensor:
        """The real values whose sign is taken.

        Args:
            x: the values, of any shape; the result has the same.
        """
        if self.values is not None:
            return self.values(x)
        if self.scaling is not None:
            return from_rows(scale_rows(as_rows(x), self.scaling.scaling, self.scaling.clip), x)
        if self.centre is not None:
            axes = (-1,) if self.centre == "token" else tuple(range(1, x.dim()))
            x = x - x.mean(axes, keepdim=True)
        return x if self.shift is None else shifted(x, self.shift)

    def __call__(self, x: Tensor) -> Tensor:
        """What enters the product, differentiable through the estimator."""
        return self.plain(x) if self.quantized is None else self.quantized(x)

    def plain(self, x: Tensor) -> Tensor:
        """±1 (and 0 where `ternary`) of `real`, whatever stands in its place.

        Args:
            x: the values, of any shape; the result has the same.
        """
        return binarize(self.real(x), self.estimator, ternary=self.ternary)


@dataclass(frozen=True)
class Along:
    """A learned factor along the axes of the output: ``channel`` (C_o,) times a vector per axis of a map.

    Attributes:
        axes: gives a vector for each axis of a map of given sizes.
        spec: the layer.
    """

    channel: Tensor
    axes: Callable[[tuple[int, ...]], list[Tensor]]
    spec: LayerSpec

    def __call__(self, sizes: tuple[int, ...]) -> Tensor:
        """Γ, of shape (C_o, *sizes), for an output map of these `sizes`."""
        gamma = self.spec.per_output(self.channel)
        for axis, values in enumerate(self.axes(sizes)):
            gamma = gamma * values.reshape(-1, *(1,) * (self.spec.spatial_axes - 1 - axis))
        return gamma


@dataclass(frozen=True)
class InputScale:
    """K: a factor of the output that is computed from the layer's input at run time, see `activation_scale`.

    Attributes:
        kind: ``spatial``, ``token`` or ``sample``: what shares one factor.
        spec: the layer.
    """

    kind: InputScaleKind
    spec: LayerSpec

    def __call__(self, x: Tensor) -> Tensor:
        return activation_scale(x.detach(), self.spec, self.kind)


@dataclass(frozen=True)
class Gate:
    """σ(up · ReLU(down · z)) per output channel, z the mean of x over its map (in a linear layer x itself).

    `down` has shape (h, C_i), `up` (C_o, h).

    Attributes:
        spec: the layer.
    """

    down: Tensor
    up: Tensor
    spec: LayerSpec

    def __call__(self, x: Tensor) -> Tensor:
        mean = x.flatten(2).mean(2) if self.spec.spatial_axes else x
        gate = torch.sigmoid(torch.relu(mean @ self.down.T) @ self.up.T)
        return gate.reshape(*gate.shape, *(1,) * self.spec.spatial_axes)


@dataclass(frozen=True)
class Description:
    """One layer, as its operator describes it: the two factors of the product and what becomes of it.

    Attributes:
        scale: per output channel, (C_o,).
        scale_in_weight_gradient: whether a scale that does not require grad (a statistic of the weight) multiplies
            the gradient of the weight too, as any that does.
        window, offset: of the affine form, (C_o,).
        gamma: a learned factor for an output map of given sizes: `Along`, or a function.
        input_scale: a factor from the layer's input: `InputScale`, or a function. What functions leave at inference
            their operator states itself (`Operator.inference_form`).
        input_scale_in_gradient: whether it multiplies the gradient.
        gate: per channel and example.
        finish: anything else that is done to the product, from it and the layer's input.
        activations: the factor from the input.
        weights: the factor from the latent weight.
    """

    activations: Signs
    weights: Signs
    scale: Tensor | None = None
    scale_in_weight_gradient: bool = False
    window: Tensor | None = None
    offset: Tensor | None = None
    gamma: Callable[[tuple[int, ...]], Tensor | None] | None = None
    input_scale: Callable[[Tensor], Tensor | None] | None = None
    input_scale_in_gradient: bool = True
    gate: Gate | None = None
    finish: Callable[[Tensor, Tensor], Tensor] | None = None


@dataclass
class InferenceForm:
    """All that is left of a binarized layer when training is over; complexity and export read this.

    The layer's output is  S · K · gate · (scale_c · (a ⊛ weight) + window_c · (a ⊛ 1) + offset_c) + bias with
    a = sign(x - centre - threshold), where absent factors are 1 and absent terms 0: `channel_scale`, `window`,
    `offset` (C_o,), `threshold` (C_i,), `spatial_scale` one vector per spatial axis of the output map (their outer
    product is S), `activation_scale` how K is computed from x at run time: "spatial" (box-filtered channel mean of
    |x|), "token" (mean of |x| per row of a linear layer) or "sample" (mean of |x| per example), `centre` the mean of
    x "sample" or "token", `gate` as `Gate` has it.

    With more bits than one, `weight` holds integers, and in place of the sign each input is divided by
    `activation_step` (a scalar), rounded and clamped to the levels of its bits.
    """

    weight: Tensor
    channel_scale: Tensor | None = None
    threshold: Tensor | None = None
    spatial_scale: tuple[Tensor, ...] | None = None
    activation_scale: InputScaleKind | None = None
    activation_step: Tensor | None = None
    window: Tensor | None = None
    offset: Tensor | None = None
    centre: Centre | None = None
    gate: Gate | None = None


@torch.no_grad()
def inference_form(described: Description, w: Tensor, spec: LayerSpec) -> InferenceForm:
    """What remains of a described layer with latent weight `w`, for the output map of `spec`."""
    activations, gamma, factor = described.activations, described.gamma, described.input_scale
    scale, axes, kind = described.scale, None, None
    if isinstance(gamma, Along):
        scale = gamma.channel.detach() if scale is None else scale * gamma.channel
        axes = tuple(v.detach() for v in gamma.axes(spec.output_spatial)) or None
    if isinstance(factor, InputScale):
        kind = "token" if spec.kind == "linear" and factor.kind == "spatial" else factor.kind
    shift = activations.shift if activations.values is None and activations.quantized is None else None
    return InferenceForm(
        weight=sign(described.weights.real(w)),
        channel_scale=None if scale is None else scale.detach(),
        threshold=None if shift is None else -shift.detach().flatten(),
        spatial_scale=axes,
        activation_scale=kind,
        window=described.window,
        offset=described.offset,
        centre=activations.centre,
        gate=described.gate,
    )
