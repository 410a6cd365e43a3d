"""Product, shift and factors of a convolution in one pass of the compiled kernels; the numbers of separate steps."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from bibench.kernels import native
from bibench.kernels.products import factor_gradients, sign_gradients
from bibench.kernels.rows import (
    channel_sums,
    fold_first,
    in_order_of,
    is_channels_last,
    rescale_kept_gradients,
    shifted_gradients,
    times_pixels,
)
from bibench.kernels.spec import LayerSpec
from bibench.kernels.surrogate import Surrogate


def fused_product(
    dots: Tensor,
    x: Tensor,
    u: Tensor,
    shift: Tensor | None,
    gamma: Tensor | None,
    scale: Tensor | None,
    pixels: Tensor | None,
    spec: LayerSpec,
) -> Tensor:
    """gamma · pixels · scale · (sign(x + shift) ⊛ sign(u)) on the compiled kernels, which alone it is for.

    The numbers are those of `shifted`, `_SignProduct`, `rescale` and `multiply_pixels` one after the other. The
    kernels do all at once; for autograd there are two steps, so that what the second keeps is free when the first
    one's gradients are made, and between them a tensor without memory stands for the product.
    """
    y, kept = native.convolve_finished(
        x,
        u,
        spec,
        shift=None if shift is None else shift.flatten(),
        scale=scale,
        gamma=gamma,
        pixels=None if pixels is None else pixels[:, 0],
    )
    out: Tensor = _FusedFactors.apply(dots, gamma, pixels, y, kept)
    return out


class _FusedFactors(torch.autograd.Function):
    """`y` = dots · gamma · pixels, which is known already; `kept` are the values of `dots` where gamma needs them."""

    @staticmethod
    def forward(
        ctx: Any, dots: Tensor, gamma: Tensor | None, pixels: Tensor | None, y: Tensor, kept: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(dots, gamma, pixels, kept)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        dots, gamma, pixels, kept = ctx.saved_tensors
        grad_gamma = None
        if pixels is not None:
            grad = times_pixels(grad, pixels)
        if gamma is not None:
            if native.serves(grad) and not torch.is_grad_enabled():
                if grad.stride() != kept.stride():
                    grad = torch.empty_like(kept, dtype=grad.dtype).copy_(grad)
                grad, grad_gamma = rescale_kept_gradients(grad, kept, gamma)
            else:
                grad_gamma = fold_first(grad * _Known.apply(dots, kept.to(grad.dtype)))[0]
                grad = grad * in_order_of(gamma, kept)
        return grad, grad_gamma, None, None, None


@lru_cache(maxsize=1)
def _nothing() -> Tensor:
    return torch.zeros(())


class FusedSigns(torch.autograd.Function):
    """The gradients of a product that is known already: tensors without memory stand for it and for x + shift.

    A second derivative reaches both through them, and so adds up in the same order as without the kernels.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        u: Tensor,
        shift: Tensor | None,
        scale: Tensor | None,
        shape: tuple[int, ...],
        spec: LayerSpec,
        estimators: tuple[Surrogate, Surrogate],
        backward: str,
    ) -> tuple[Tensor, Tensor]:
        dots, v = (_nothing().expand(size) for size in (shape, x.shape))
        ctx.save_for_backward(x, u, shift, scale, v)
        ctx.spec, ctx.estimators, ctx.way = spec, estimators, backward
        ctx.set_materialize_grads(False)
        return dots, v

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, grad_v: Tensor | None) -> tuple[Tensor | None, ...]:
        x, u, shift, scale, v = ctx.saved_tensors
        spec, (for_x, for_u), needed = ctx.spec, ctx.estimators, ctx.needs_input_grad
        wanted = (needed[0] or needed[2], needed[1])
        grad_u = grad_shift = None
        plain = grad is not None and grad_v is None and native.serves(grad, x, u) and native.same_memory(x)
        if grad is not None and plain and shift is not None and not torch.is_grad_enabled():
            grad_x, grad_u, (_, all_of_u) = factor_gradients(
                grad, x, u, scale, spec, ctx.estimators, wanted, ctx.way, shift
            )
            if grad_x is not None:
                grad_x, grad_shift = shifted_gradients(grad_x, x, shift, for_x)
            if grad_u is not None and not all_of_u:
                grad_u = for_u.backward(grad_u, u, own=True)
            return grad_x, grad_u, grad_shift, *(None,) * 5
        if grad is not None:
            v = x if shift is None else _Known.apply(v, x.detach() + shift.detach())
            through, grad_u, _ = sign_gradients(grad, v, u, scale, spec, ctx.estimators, (*wanted, False), ctx.way)
            grad_v = through if grad_v is None or through is None else grad_v + through
        if shift is not None and grad_v is not None:
            grad_shift = channel_sums(grad_v, is_channels_last(x)).view(shift.shape)
        return grad_v, grad_u, grad_shift, *(None,) * 5


class _Known(torch.autograd.Function):
    """A value that is known already, whose gradient belongs to the tensor that stands for it."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None
