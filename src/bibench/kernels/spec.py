"""What an operator may know about the layer it is built for: `LayerSpec`, and the layer's geometry."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["conv1d", "conv2d", "linear"]


@dataclass(frozen=True)
class LayerSpec:
    """Geometry of one layer; shapes are without the batch axis.

    `padding` counts the elements on each side, last axis first, as `torch.nn.functional.pad` takes
    them; `pad_value` is what a binarized layer puts there *after* the sign (0, +1 or -1).
    `input_shape`/`output_shape` come from one traced forward (for a layer called several times, the
    call with the most output positions); for a linear layer they hold every axis but the first.

    Attributes:
        kind: ``conv1d``, ``conv2d`` or ``linear``.
        in_channels: C_i, or I of a linear layer.
        out_channels: C_o, or O of a linear layer.
        kernel_size: per spatial axis; empty for a linear layer.
        stride: per spatial axis.
        dilation: per spatial axis.
        groups: g, which divide both kinds of channels.
        bias: whether there is one.
        padding_mode: as in PyTorch: ``zeros``, ``reflect``, ``replicate`` or ``circular``.
        name: of the layer in its model, for messages.
    """

    kind: Kind
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    bias: bool = False
    padding_mode: str = "zeros"
    pad_value: float = 0.0
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    name: str = ""

    @property
    def spatial_axes(self) -> int:
        """Number of spatial axes: 2 for conv2d, 1 for conv1d, 0 for linear."""
        return len(self.kernel_size)

    @property
    def fan_in(self) -> int:
        """Weights that meet in one output: C_i/g · k_h · k_w (conv), I (linear)."""
        return self.in_channels // self.groups * math.prod(self.kernel_size)

    @property
    def fan_axes(self) -> tuple[int, ...]:
        """All axes of the weight but the first (output) one."""
        return tuple(range(1, 2 + self.spatial_axes))

    @property
    def output_spatial(self) -> tuple[int, ...]:
        """Output map size: (H_o, W_o), (L_o,) or ()."""
        return self.output_shape[1:] if self.spatial_axes else ()

    def output_sizes(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Output map size for an input map of these `sizes`."""
        sides = self.padding[::-1]  # (high, low) per axis, first axis first
        return tuple(
            (n + sides[2 * i] + sides[2 * i + 1] - d * (k - 1) - 1) // s + 1
            for i, (n, k, s, d) in enumerate(zip(sizes, self.kernel_size, self.stride, self.dilation, strict=True))
        )

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one example; None when no forward was traced."""
        if not self.output_shape:
            return None
        return self.fan_in * math.prod(self.output_shape)

    def with_outputs(self, count: int) -> LayerSpec:
        """The same layer with `count` output channels."""
        return replace(self, out_channels=count)

    def per_output(self, values: Tensor) -> Tensor:
        """Reshape (C_o,) so that it multiplies the layer's output, batched or not.

        Args:
            values: one for each output channel, (C_o,).
        """
        return values.reshape(-1, *(1,) * self.spatial_axes)

    def per_input(self, values: Tensor) -> Tensor:
        """Reshape (C_i,) so that it combines with the layer's input, batched or not.

        Args:
            values: one for each input channel, (C_i,).
        """
        return values.reshape(-1, *(1,) * self.spatial_axes)

    def pad(self, x: Tensor, value: float) -> Tensor:
        """`x` with the layer's border: `value`, or the layer's own mode (reflect, replicate, circular).

        Args:
            x: (B, C_i, L), (B, C_i, H, W) or without batch axis; the result has its last axes longer by `padding`.
            value: what the border holds where the mode is zeros.
        """
        if not any(self.padding):
            return x
        if self.padding_mode == "zeros":
            return F.pad(x, self.padding, value=value)
        return F.pad(x, self.padding, mode=self.padding_mode)

    def padded(self, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """`x` and the zero padding per axis that the convolution still has to add itself.

        Symmetric zero padding is left to the convolution; everything else is padded here.

        Args:
            x: as for `pad`, and the result has the shape of one of `pad`, or that of `x` itself.
        """
        low, high = self.padding[::2][::-1], self.padding[1::2][::-1]
        if self.padding_mode == "zeros" and self.pad_value == 0 and low == high:
            return x, low
        return self.pad(x, self.pad_value), (0,) * self.spatial_axes

    def unpadded(self, padded: Tensor, like: Tensor) -> Tensor:
        """The part of a tensor in the shape of `padded(like)` that belongs to `like`; constant borders only.

        Args:
            padded: of the shape that `pad` gives.
            like: of the shape of the layer's input, which the result has.
        """
        if padded.shape == like.shape:
            return padded
        for axis in range(self.spatial_axes):  # padding counts the last axis first
            padded = padded.narrow(-1 - axis, self.padding[2 * axis], like.shape[-1 - axis])
        return padded


def of_layer(
    module: torch.nn.Module,
    *,
    pad_value: float = 0.0,
    input_shape: tuple[int, ...] = (),
    output_shape: tuple[int, ...] = (),
    name: str = "",
) -> LayerSpec:
    """The spec of an `nn.Conv1d`, `nn.Conv2d` or `nn.Linear`.

    Args:
        module: the float layer.
        pad_value: what the border holds after the sign: 0, 1 or -1.
        input_shape: of one example, if it is known.
        output_shape: of one example, if it is known.
        name: of the layer in its model.
    """
    if isinstance(module, torch.nn.Linear):
        return LayerSpec(
            kind="linear",
            in_channels=module.in_features,
            out_channels=module.out_features,
            bias=module.bias is not None,
            input_shape=input_shape,
            output_shape=output_shape,
            name=name,
        )
    assert isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d), type(module)
    return LayerSpec(
        kind="conv2d" if isinstance(module, torch.nn.Conv2d) else "conv1d",
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        kernel_size=module.kernel_size,
        stride=module.stride,
        # torch keeps the per-side padding, "same" resolved, in the order that F.pad wants
        padding=tuple(module._reversed_padding_repeated_twice),
        dilation=module.dilation,
        groups=module.groups,
        bias=module.bias is not None,
        padding_mode=module.padding_mode,
        pad_value=pad_value,
        input_shape=input_shape,
        output_shape=output_shape,
        name=name,
    )


def convolve(
    x: Tensor, weight: Tensor, spec: LayerSpec, padding: tuple[int, ...] = (), groups: int | None = None
) -> Tensor:
    """The layer's convolution (or matrix product) with zero `padding` per axis, without bias.

    Args:
        x: (B, C_i, L), (B, C_i, H, W) or (..., I); the result has C_o or O in the place of C_i or I, and the output
            map's sizes.
        weight: of the layer's shape.
        spec: the layer.
        groups: another number of groups than the layer's.
    """
    if spec.kind == "linear":
        return F.linear(x, weight)
    function = F.conv2d if spec.kind == "conv2d" else F.conv1d
    return function(
        x, weight, None, spec.stride, padding or 0, spec.dilation, spec.groups if groups is None else groups
    )


def exact(x: Tensor) -> Tensor:
    """`x`, in float32 if it has 16 bits: sums of ±1 are exact there up to 2^24 terms, and 16 bits hold few levels.

    Args:
        x: the values, of any shape; the result has the same.
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """A context in which operations on the device of `x` keep their dtype; no device without autocast minds.

    Args:
        x: a tensor of any shape, which says the device.
    """
    if x.is_cpu and not torch.is_autocast_enabled("cpu"):  # most often so, and asked often
        return nullcontext()
    kind = x.device.type
    known = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if known else nullcontext()
