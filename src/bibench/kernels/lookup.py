"""Gradients of products of signs by table lookup, in another order of summation than PyTorch's.

One factor of both gradients is ±1, so that each is a sum of floats with signs. Four floats have sixteen signed sums, a
register holds as many, and the signs of the other factor look them up (csrc/lookup/). That is two to three times as
fast as multiply-adds and as accurate as float32, but not the bits of a float convolution, so it must be asked for
(`bibench.nn.layers.set_backward_precision`). The method is that of table lookup in the inference of quantized networks
(Wei et al., "T-MAC", EuroSys 2025, https://arxiv.org/abs/2407.00088), on gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bibench.kernels import native
from bibench.kernels.spec import LayerSpec

NAME = "lookup"
"""The name of this way among the precisions of the backward pass."""
LEAST_TERMS = 4
"""Examples, or filters, that one lookup sums: with fewer there is nothing to gain."""


def serves(grad: Tensor, v: Tensor, u: Tensor, spec: LayerSpec) -> bool:
    """Whether the gradients of sign(v) ⊛ sign(u) can, and should, be made this way."""
    examples = v.numel() // spec.in_channels if spec.kind == "linear" else len(v)
    return (
        native.looks_up()
        and spec.groups == 1
        and spec.padding_mode == "zeros"
        and min(examples, spec.out_channels) >= LEAST_TERMS
        and v.numel() > 0
        and native.serves(grad, v, u)
        and not torch.is_grad_enabled()
    )


def gradients(
    grad: Tensor,
    v: Tensor,
    u: Tensor,
    spec: LayerSpec,
    needed: tuple[bool, bool],
    *,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of sign(v + shift) ⊛ (scale · sign(u)) with respect to both factors (None where not needed).

    Shapes: grad as the layer's output, v as its input, u as its weight, scale (C_o,), shift (C_i,); the gradients are
    laid out in memory as v and u are. Every element is the sum of ((±a ± b) + (±c ± d)), one such sum of four terms
    after the other, the same bits for every number of threads: of four filters for the gradient of sign(v), of four
    examples (of four pixels, where there is one tap) for that of sign(u), where stretches of the image are summed
    first.
    """
    left, right, top, bottom = (*spec.padding, 0, 0, 0, 0)[:4]
    stride, dilation = (((1,) * (2 - spec.spatial_axes)) + sizes for sizes in (spec.stride, spec.dilation))
    geometry = (stride, (top, bottom, left, right), dilation)
    g, x, w = (_as_image(t, spec) for t in (grad, v, u))
    scale, shift = (t if t is None else t.contiguous() for t in (scale, shift))
    grad_v = grad_u = None
    if needed[0]:
        out = torch.empty_like(x)
        native.call("lookup_input_gradient", g, w, scale, out, *geometry)
        grad_v = _in_layout(out, v, spec)
    if needed[1]:
        out = torch.empty_like(w)
        native.call("lookup_weight_gradient", g, x, shift, out, *geometry, int(spec.pad_value))
        grad_u = _in_layout(out, u, spec)
    return grad_v, grad_u


def _as_image(x: Tensor, spec: LayerSpec) -> Tensor:
    """x with four axes, channels last in memory; a row of a linear layer is an image of one pixel."""
    if spec.kind == "linear":
        return x.contiguous().view(-1, x.shape[-1], 1, 1)
    return (x.unsqueeze(2) if spec.kind == "conv1d" else x).contiguous(memory_format=torch.channels_last)


def _in_layout(image: Tensor, like: Tensor, spec: LayerSpec) -> Tensor:
    if spec.kind == "linear":
        return image.view(like.shape)
    out = image.squeeze(2) if spec.kind == "conv1d" else image
    return out if out.stride() == like.stride() else torch.empty_like(like).copy_(out)
