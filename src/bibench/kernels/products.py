"""Products of signs: the integer dot products of binarized layers, and their gradients behind the estimators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bibench.kernels import lookup, native
from bibench.kernels.functions import apply, eager
from bibench.kernels.rows import as_rows, filter_scale_gradients, from_rows, scaled_signs, shifted_signs
from bibench.kernels.spec import LayerSpec, convolve, exact, without_autocast
from bibench.kernels.surrogate import Surrogate, binarize, sign, sign_and_pass

BACKWARD: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16, lookup.NAME: None}
"""How gradients of products are computed, and the dtype that operands are rounded to for it."""


def product(activation: Tensor, weight: Tensor, spec: LayerSpec, backward: str = "float32") -> Tensor:
    """The integer dot products of ±1 values, with the layer's padding *after* the sign.

    Computed in float32 (float64 for float64 layers) even under autocast: sums of ±1 are exact there
    up to 2^24 terms, and not in 16 bits.
    """
    padded, padding = spec.padded(exact(activation))
    return apply(ScaledProduct, padded, exact(weight), None, spec, padding, backward)


def scaled_product(
    activation: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    spec: LayerSpec,
    scale_in_weight_gradient: bool = False,
    backward: str = "float32",
    scale_first: bool = False,
) -> Tensor:
    """`product` times the scale per output channel, with the operator's convention for gradients.

    `scale_first` multiplies the weights, not the products: for weights with noise, whose products are no integers
    that would have to be kept. A scale that requires grad follows the product rule (so does any with
    `scale_in_weight_gradient`). Any other is a statistic of the weight: the gradient is that of the product with the
    weight scale·w_b, taken with respect to the scaled weight, so the scale does not multiply it.
    """
    if scale is not None and (scale.requires_grad or scale_in_weight_gradient or not weight.requires_grad):
        return product(activation, weight, spec, backward) * spec.per_output(scale)
    padded, padding = spec.padded(exact(activation))
    weight = exact(weight)
    if scale_first and scale is not None:
        weight, scale = apply(_ScaledFilters, weight, scale), None
    return apply(ScaledProduct, padded, weight, scale, spec, padding, backward)


@eager
class _ScaledFilters(torch.autograd.Function):
    """Filters times the scale, by which the gradient is not multiplied."""

    generate_vmap_rule = True

    @staticmethod
    def forward(w: Tensor, scale: Tensor) -> Tensor:
        return scaled_filters(w, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _scaled(y: Tensor, scale: Tensor | None, spec: LayerSpec) -> Tensor:
    return y if scale is None else y * spec.per_output(scale)


def scaled_filters(w: Tensor, scale: Tensor | None) -> Tensor:
    """w times the scale per first axis, if there is one."""
    if scale is None:
        return w
    if native.serves(w, scale) and native.same_memory(w) and w.dim() > 1 and not torch.is_grad_enabled():
        return from_rows(native.multiply_rows(as_rows(w), scale.contiguous()), w)
    return w * scale.reshape(-1, *(1,) * (w.dim() - 1))


@eager
class ScaledProduct(torch.autograd.Function):
    """Forward scale · (a ⊛ w), the integer product first; backward as of a ⊛ (scale·w)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        a: Tensor,
        w: Tensor,
        scale: Tensor | None,
        spec: LayerSpec,
        padding: tuple[int, ...],
        backward: str,
    ) -> Tensor:
        with without_autocast(a):
            return _scaled(convolve(a, w, spec, padding), scale, spec)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.spec, ctx.padding, ctx.way = inputs[3:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, w, scale = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        w = scaled_filters(w, scale)
        return *product_gradients(grad, a, w, ctx.spec, ctx.padding, needed, ctx.way), *(None,) * 4


@eager
class SignProduct(torch.autograd.Function):
    """scale · (sign(v) ⊛ sign(u)) with the estimators' gradients; the way of every layer whose factors are signs.

    Saves v and u alone: their signs cost less to make again than to keep. Runs on the compiled kernels
    where they apply; forward and backward are the same numbers either way. `by_product_rule` says how the scale
    enters the gradients (see `scaled_product`).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        v: Tensor,
        u: Tensor,
        scale: Tensor | None,
        spec: LayerSpec,
        estimators: tuple[Surrogate, Surrogate],
        backward: str,
        by_product_rule: bool = False,
    ) -> Tensor:
        if native.serves(v, u) and (scale is None or native.serves(scale)):
            return native.convolve(v, u, scale, spec)
        with without_autocast(v):
            padded, padding = spec.padded(sign(v))
            return _scaled(convolve(padded, sign(u), spec, padding), scale, spec)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.spec, ctx.estimators, ctx.way, ctx.by_product_rule = inputs[3:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[:3]
        v, u, scale = ctx.saved_tensors
        how = (ctx.spec, ctx.estimators, needed, ctx.way, ctx.by_product_rule)
        return *sign_gradients(grad, v, u, scale, *how), *(None,) * 4


def sign_gradients(
    grad: Tensor,
    v: Tensor,
    u: Tensor,
    scale: Tensor | None,
    spec: LayerSpec,
    estimators: tuple[Surrogate, Surrogate],
    needed: tuple[bool, bool, bool],
    backward: str,
    by_product_rule: bool = False,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of scale · (sign(v) ⊛ sign(u)) with respect to v and u, by their estimators, and the scale.

    The product is linear in its filters, so that Σ grad · (sign(v) ⊛ sign(u)) over a channel, the gradient of its
    scale, equals the sum over its filter of sign(u) times the gradient before the scale: the output is not needed.
    """
    for_v, for_u = estimators
    wanted = (needed[0], needed[1] or needed[2])
    signs = grad_scale = None
    if torch.is_grad_enabled():  # a second derivative: through the estimators too
        signs = binarize(u, for_u)
        padded, padding = spec.padded(binarize(v, for_v))
        filters = scaled_filters(signs, scale)
        grad_v, grad_u = product_gradients(grad, padded, filters, spec, padding, wanted, backward)
        grad_v = None if grad_v is None else spec.unpadded(grad_v, v)
        all_of_v = all_of_u = False
    else:
        grad_v, grad_u, (all_of_v, all_of_u) = factor_gradients(grad, v, u, scale, spec, estimators, wanted, backward)
    if grad_v is not None and not all_of_v:
        grad_v = for_v.backward(grad_v, v, own=True)
    if grad_u is not None:
        if scale is not None and by_product_rule:
            grad_u, grad_scale = filter_scale_gradients(grad_u, u, scale, signs)
        grad_u = grad_u if all_of_u else for_u.backward(grad_u, u, own=True)
    return grad_v, grad_u, grad_scale


def factor_gradients(
    grad: Tensor,
    v: Tensor,
    u: Tensor,
    scale: Tensor | None,
    spec: LayerSpec,
    estimators: tuple[Surrogate, Surrogate],
    needed: tuple[bool, bool],
    backward: str,
    shift: Tensor | None = None,
) -> tuple[Tensor | None, Tensor | None, tuple[bool, bool]]:
    """Gradients of sign(v + shift) ⊛ (scale · sign(u)) with respect to both factors, without a graph of their own.

    `shift` (C_i, 1, 1). Also says whether it is known by the way that the estimators
    pass all of v's and u's gradient.
    """
    if backward == lookup.NAME and lookup.serves(grad, v, u, spec):
        channels = None if shift is None else shift.flatten()
        return *lookup.gradients(grad, v, u, spec, needed, scale=scale, shift=channels), (False, False)
    for_v, for_u = estimators
    a, all_of_v = sign_and_pass(v, for_v) if shift is None else (shifted_signs(v, shift), False)
    w, all_of_u = sign_and_pass(u, for_u) if scale is None else scaled_signs(u, scale, for_u)
    padded, padding = spec.padded(a)
    grad_a, grad_w = product_gradients(grad, padded, w, spec, padding, needed, backward)
    grad_v = None if grad_a is None else spec.unpadded(grad_a, v)
    # A part of a padded gradient becomes dense in its estimator's pass.
    return grad_v, grad_w, (all_of_v and padded is a, all_of_u)


def product_gradients(
    grad: Tensor,
    a: Tensor,
    w: Tensor,
    spec: LayerSpec,
    padding: tuple[int, ...],
    needed: tuple[bool, bool],
    backward: str = "float32",
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of ``convolve(a, w, spec, padding)`` with respect to a and w (None where not needed).

    In float32, or with operands rounded to bfloat16 and accumulated in float32 by the backend.
    """
    exact, dtype = grad.dtype, BACKWARD[backward]
    with without_autocast(a):
        if dtype is not None:
            grad, a, w = grad.to(dtype), a.to(dtype), w.to(dtype)
        grad_a, grad_w = _gradients(grad, a, w, spec, padding, needed)
    return tuple(g if g is None else g.to(exact) for g in (grad_a, grad_w))  # type: ignore[return-value]


def _gradients(
    grad: Tensor, a: Tensor, w: Tensor, spec: LayerSpec, padding: tuple[int, ...], needed: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    if spec.kind == "linear":
        rows = grad.reshape(-1, spec.out_channels)
        grad_w = rows.T @ a.reshape(-1, spec.in_channels) if needed[1] else None
        return grad @ w if needed[0] else None, grad_w
    axes = spec.spatial_axes
    grad_a, grad_w, _ = torch.ops.aten.convolution_backward(
        grad, a, w, None, spec.stride, padding, spec.dilation, False, (0,) * axes, spec.groups, (*needed, False)
    )
    return grad_a, grad_w
