"""K: mean magnitudes of a layer's input, by which XNOR-Net multiplies its output (https://arxiv.org/abs/1603.05279)."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from bibench import native
from bibench.rows import as_rows, mean_magnitudes
from bibench.spec import LayerSpec


def activation_scale(x: Tensor, spec: LayerSpec, form: str) -> Tensor:
    """The factor K that multiplies a layer's output, from its input `x`.

    Args:
        form: ``spatial``: the box-filtered channel mean of |x|, (B, 1, H_o, W_o), with groups (B, C_o, H_o, W_o); for a
            linear layer, and as ``token``, the mean of each row (..., 1). ``sample``: the mean of |x| per example.
    """
    if form == "sample":
        return mean_magnitudes(as_rows(x)).reshape(-1, *(1,) * (x.dim() - 1))
    plain = spec.kind == "conv2d" and spec.groups == 1 and spec.padding_mode == "zeros"
    if plain and native.serves(x) and native.same_memory(x) and x.numel():
        return native.box_means(x, spec)
    last = x.movedim(-1 - spec.spatial_axes, -1)  # (…, C_i)
    by_group = last.unflatten(-1, (spec.groups, -1))
    mean = mean_magnitudes(by_group.flatten(0, -2)).reshape(by_group.shape[:-1])
    if spec.kind == "linear":
        return mean
    filtered = box_filter(spec.pad(mean.movedim(-1, 1), 0.0), spec)
    return filtered if spec.groups == 1 else filtered.repeat_interleave(spec.out_channels // spec.groups, 1)


def box_filter(x: Tensor, spec: LayerSpec) -> Tensor:
    """Mean over the layer's window at every output position of the padded `x`, axis by axis."""
    for axis in range(-spec.spatial_axes, 0):
        size, step, gap = spec.kernel_size[axis], spec.stride[axis], spec.dilation[axis]
        end = x.shape[axis] - gap * (size - 1)
        taps = (x.narrow(axis, gap * tap, end) for tap in range(size))
        every: Any = (..., slice(None, None, step), *(slice(None),) * (-1 - axis))
        x = reduce(torch.add, (tap[every] for tap in taps))
    return x / math.prod(spec.kernel_size)
