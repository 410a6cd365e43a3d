"""Products whose filters are centred and scaled before the sign, with a clamp's gradient (ReCU).

Scaling moves no sign, so the scaled filters are nowhere written: the forward pass takes the signs of the centred
filters, and the backward pass makes what else it needs again, filter by filter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bibench.kernels import lookup, native
from bibench.kernels.functions import eager
from bibench.kernels.products import product_gradients, scaled_filters
from bibench.kernels.rows import (
    Rectified,
    Scaling,
    as_rows,
    filter_scale_gradients,
    fold,
    from_rows,
    scale_backward,
    scale_forward,
    scale_rows,
)
from bibench.kernels.spec import LayerSpec, convolve, without_autocast
from bibench.kernels.surrogate import IDENTITY, Surrogate, binarize, sign, sign_and_pass


@eager
class RectifiedProduct(torch.autograd.Function):
    """scale · (sign(v) ⊛ sign(û)), û being the filters u as `rectified` says; also their statistics and the bound.

    The numbers are those of `SignProduct` behind `scale_rows`, with a learned scale; the sign is that of u minus its
    mean. Saves no more than v, u and a few values for each filter.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        v: Tensor,
        u: Tensor,
        scale: Tensor,
        spec: LayerSpec,
        estimator: Surrogate,
        rectified: Rectified,
        backward: str,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, how = as_rows(u), rectified.scaling
        if native.serves(v, u, scale) and rows.is_contiguous() and u.numel():
            stats, limit = native.describe(rows, how.eps, how.deviation, how.centre, rectified.clip)
            # In the strides that centred filters would have: the layout of the output may follow from them.
            y = native.convolve(v, from_rows(rows, u), scale, spec, stats[:, 0] if how.centre else None)
            return y, stats, torch.tensor([[limit]])
        stats = scale_forward(rows, how)[1]
        bound = fold(stats[:, 3:].T) / u.numel() * rectified.clip
        with without_autocast(v):
            padded, padding = spec.padded(sign(v))
            y = convolve(padded, sign(_centred(u, stats, how)), spec, padding)
            return y * spec.per_output(scale), stats, bound

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs[:3], *output[1:])
        ctx.spec, ctx.estimator, ctx.rectified, ctx.way = inputs[3:]
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 7
        v, u, scale, stats, bound = ctx.saved_tensors
        spec, for_v, how, needed = ctx.spec, ctx.estimator, ctx.rectified.scaling, ctx.needs_input_grad
        wanted, signs, all_of_v = (needed[0], needed[1] or needed[2]), None, False
        if ctx.way == lookup.NAME and lookup.serves(grad, v, u, spec):
            grad_v, grad_w = lookup.gradients(grad, v, _centred(u, stats, how), spec, wanted, scale=scale)
        else:
            if torch.is_grad_enabled():  # a second derivative: through the estimators and the scaling too
                scaled = from_rows(scale_rows(as_rows(u), how, ctx.rectified.clip), u)
                a, signs = binarize(v, for_v), binarize(scaled, IDENTITY)
                w = scaled_filters(signs, scale)
            else:
                a, all_of_v = sign_and_pass(v, for_v)
                w = _centred_signs(u, stats, scale, how)
            padded, padding = spec.padded(a)
            all_of_v = all_of_v and padded is a
            grad_v, grad_w = product_gradients(grad, padded, w, spec, padding, wanted, ctx.way)
            grad_v = None if grad_v is None else spec.unpadded(grad_v, v)
        grad_u = grad_scale = None
        if grad_v is not None and not all_of_v:
            grad_v = for_v.backward(grad_v, v, own=True)
        if grad_w is not None:
            grad_u, grad_scale = _filter_gradients(grad_w, u, scale, stats, bound, how, signs)
        return grad_v, grad_u, grad_scale, None, None, None, None


def _centred(u: Tensor, stats: Tensor, how: Scaling) -> Tensor:
    return from_rows(as_rows(u) - stats[:, :1], u) if how.centre else u


def _centred_signs(u: Tensor, stats: Tensor, scale: Tensor, how: Scaling) -> Tensor:
    rows = as_rows(u)
    if how.centre and native.serves(u, stats, scale) and rows.is_contiguous():
        return from_rows(native.sign_centred(rows, stats, scale), u)
    return scaled_filters(sign(_centred(u, stats, how)), scale)


def _filter_gradients(
    grad: Tensor, u: Tensor, scale: Tensor, stats: Tensor, bound: Tensor, how: Scaling, signs: Tensor | None
) -> tuple[Tensor, Tensor]:
    """For the filters and their scale; `grad` may be overwritten. `signs`: where those are differentiable."""
    if signs is None and native.serves(grad, u, scale, stats) and native.same_memory(grad, u) and u.numel():
        rows = as_rows(grad)
        limits = (how.eps, how.deviation, how.centre, float(bound))
        return grad, native.rectify(rows, as_rows(u), stats, scale, *limits)
    rows = as_rows(u)
    if signs is None:
        signs = sign(_centred(u, stats, how))
    else:
        stats = scale_forward(rows, how)[1]
    grad, grad_scale = filter_scale_gradients(grad, u, scale, signs)
    return from_rows(scale_backward(as_rows(grad), rows, stats, how, bound), u), grad_scale
