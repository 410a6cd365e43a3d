"""Binarized layers: subclasses of the float layers that ask their operator how to compute.

`nn.Conv1d`, `nn.Conv2d` and `nn.Linear` become binarized in place, by a change of class: parameters,
hooks, device and state-dict keys stay; the operator's own parameters live under ``operator.``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from bibench import native
from bibench.operators.base import Operator
from bibench.rows import (
    fold_first,
    in_order_of,
    rescale_kept_gradients,
    scaled_signs,
    shifted_gradients,
    shifted_signs,
    times_pixels,
)
from bibench.spec import LayerSpec, convolve, without_autocast
from bibench.surrogate import Surrogate, binarize, sign


class BinaryLayer(nn.Module):
    """What the binarized layers share. `operator` computes, `spec` describes the layer."""

    operator: Operator
    spec: LayerSpec
    weight: Tensor
    bias: Any
    backward_dtype: torch.dtype | None = None
    _informed: bool

    @classmethod
    def convert_(cls, module: nn.Module, operator: Operator) -> None:
        """Make the float layer `module` a binarized one, in place."""
        module.__class__ = cls
        module.operator = operator
        module.spec = operator.spec  # type: ignore[assignment]
        module._informed = not operator.scheduled  # type: ignore[assignment]
        operator.train(module.training)

    def forward(self, x: Tensor) -> Tensor:
        op, spec = self.operator, self.spec
        if op.full_precision:
            return super().forward(x)
        if spec.spatial_axes and x.dim() == spec.spatial_axes + 1:  # no batch axis
            return self.forward(x.unsqueeze(0)).squeeze(0)
        if x.shape[-1 - spec.spatial_axes] != spec.in_channels:
            raise ValueError(
                f"layer {spec.name!r} ({spec.kind}) expects {spec.in_channels} input channels, "
                f"got an input of shape {tuple(x.shape)}"
            )
        if self.training and not self._informed:
            self._warn_uninformed()
        y = self._fused(x)
        if y is None:
            y = op.output(self._product(x), x)
        if self.bias is not None:
            y = y + spec.per_output(self.bias)
        return y.to(x.dtype)

    def _product(self, x: Tensor) -> Tensor:
        op, spec = self.operator, self.spec
        scale, fixed = op.scale(self.weight), op.scale_in_weight_gradient
        if not op.exact_signs or spec.padding_mode != "zeros":
            activation, weight = op.quantize_activation(x), op.quantize_weight(self.weight)
            return scaled_product(activation, weight, scale, spec, fixed, self.backward_dtype)
        learned = scale is not None and (scale.requires_grad or fixed)
        estimators = (op.activation_estimator, op.weight_estimator)
        values = (_exact(op.activation(x)), _exact(op.weight(self.weight)))
        y: Tensor = _SignProduct.apply(
            *values, None if learned or scale is None else scale, spec, estimators, self.backward_dtype
        )
        return y * spec.per_output(scale) if learned and scale is not None else y

    def _fused(self, x: Tensor) -> Tensor | None:
        """Product and output in one, where the kernels do what the operator's slots say; otherwise None."""
        op, spec = self.operator, self.spec
        if not (spec.kind == "conv2d" and spec.groups == 1 and spec.padding_mode == "zeros" and x.numel()):
            return None
        if not (op.exact_signs and op.plain_slots and native.serves(x, self.weight)):
            return None
        shift, cls = op.activation_shift(), type(op)
        factors = cls.output_gamma is not Operator.output_gamma or cls.output_pixels is not Operator.output_pixels
        if shift is None and not factors:
            return None
        scale, u = op.scale(self.weight), op.weight(self.weight)
        shift = None if shift is None else shift.expand(x.shape[1:])
        sizes, rest = spec.output_sizes(tuple(x.shape[2:])), (op.activation_estimator, op.weight_estimator)
        if scale is not None and (scale.requires_grad or op.scale_in_weight_gradient):
            return None
        # Before gamma, so that autograd is done with that, and has freed it, when it comes to the product.
        shape = (len(x), spec.out_channels, *sizes)
        dots, _ = _FusedSigns.apply(x, u, shift, scale, shape, spec, rest, self.backward_dtype)
        gamma, pixels = op.output_gamma(sizes), op.output_pixels(x)
        given = [t for t in (shift, gamma, pixels, scale) if t is not None]
        integers = scale is None and pixels is None and spec.fan_in < 2**15
        per_pixel = pixels is None or pixels.shape == (len(x), 1, *sizes)
        if (
            (shift is gamma is pixels is None)
            or not native.serves(*given)
            or not per_pixel
            or (gamma is not None and not integers)
        ):
            return None
        gamma = None if gamma is None else gamma.expand(spec.out_channels, *sizes)
        return _fused_product(dots, x, u, shift, gamma, scale, pixels, spec)

    def _warn_uninformed(self) -> None:
        self._informed = True
        warnings.warn(
            f"operator {self.operator.name!r} follows a schedule but was not told the training's progress; "
            "call bibench.progress(model, t, dt) before every step, with t = done/total in [0, 1)",
            stacklevel=3,
        )


class BinaryConv1d(BinaryLayer, nn.Conv1d):
    """Binarized `nn.Conv1d`: (B, C_i, L) → (B, C_o, L_o)."""


class BinaryConv2d(BinaryLayer, nn.Conv2d):
    """Binarized `nn.Conv2d`: (B, C_i, H, W) → (B, C_o, H_o, W_o)."""


class BinaryLinear(BinaryLayer, nn.Linear):
    """Binarized `nn.Linear`: (..., I) → (..., O)."""


BINARY_LAYERS: dict[type[nn.Module], type[BinaryLayer]] = {
    nn.Conv1d: BinaryConv1d,
    nn.Conv2d: BinaryConv2d,
    nn.Linear: BinaryLinear,
}


def product(activation: Tensor, weight: Tensor, spec: LayerSpec, backward_dtype: torch.dtype | None = None) -> Tensor:
    """The integer dot products of ±1 values, with the layer's padding *after* the sign.

    Computed in float32 (float64 for float64 layers) even under autocast: sums of ±1 are exact there
    up to 2^24 terms, and not in 16 bits.
    """
    padded, padding = spec.padded(_exact(activation))
    return _ScaledProduct.apply(padded, _exact(weight), None, spec, padding, backward_dtype)


def scaled_product(
    activation: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    spec: LayerSpec,
    scale_in_weight_gradient: bool = False,
    backward_dtype: torch.dtype | None = None,
) -> Tensor:
    """`product` times the scale per output channel, with the operator's convention for gradients.

    A scale that requires grad follows the product rule (so does any with `scale_in_weight_gradient`).
    Any other is a statistic of the weight: the gradient is that of the product with the weight
    scale·w_b, taken with respect to the scaled weight, so the scale does not multiply it.
    """
    if scale is not None and (scale.requires_grad or scale_in_weight_gradient or not weight.requires_grad):
        return product(activation, weight, spec, backward_dtype) * spec.per_output(scale)
    padded, padding = spec.padded(_exact(activation))
    return _ScaledProduct.apply(padded, _exact(weight), scale, spec, padding, backward_dtype)


def _scaled(y: Tensor, scale: Tensor | None, spec: LayerSpec) -> Tensor:
    return y if scale is None else y * spec.per_output(scale)


def _scaled_filters(w: Tensor, scale: Tensor | None) -> Tensor:
    return w if scale is None else w * scale.reshape(-1, *(1,) * (w.dim() - 1))


class _ScaledProduct(torch.autograd.Function):
    """Forward scale · (a ⊛ w), the integer product first; backward as of a ⊛ (scale·w)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        a: Tensor,
        w: Tensor,
        scale: Tensor | None,
        spec: LayerSpec,
        padding: tuple[int, ...],
        backward_dtype: torch.dtype | None,
    ) -> Tensor:
        with without_autocast(a):
            return _scaled(convolve(a, w, spec, padding), scale, spec)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.spec, ctx.padding, ctx.dtype = inputs[3:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, w, scale = ctx.saved_tensors
        needed = ctx.needs_input_grad[:2]
        w = _scaled_filters(w, scale)
        return *product_gradients(grad, a, w, ctx.spec, ctx.padding, needed, ctx.dtype), *(None,) * 4


class _SignProduct(torch.autograd.Function):
    """scale · (sign(v) ⊛ sign(u)) with the estimators' gradients; the way of every layer whose factors are signs.

    Saves v and u alone: their signs cost less to make again than to keep. Runs on the compiled kernels
    where they apply; forward and backward are the same numbers either way.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        v: Tensor,
        u: Tensor,
        scale: Tensor | None,
        spec: LayerSpec,
        estimators: tuple[Surrogate, Surrogate],
        backward_dtype: torch.dtype | None,
    ) -> Tensor:
        if native.serves(v, u) and (scale is None or native.serves(scale)):
            return native.convolve(v, u, scale, spec)
        with without_autocast(v):
            padded, padding = spec.padded(sign(v))
            return _scaled(convolve(padded, sign(u), spec, padding), scale, spec)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.spec, ctx.estimators, ctx.dtype = inputs[3:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[:2]
        v, u, scale = ctx.saved_tensors
        return *sign_gradients(grad, v, u, scale, ctx.spec, ctx.estimators, needed, ctx.dtype), *(None,) * 4


def sign_gradients(
    grad: Tensor,
    v: Tensor,
    u: Tensor,
    scale: Tensor | None,
    spec: LayerSpec,
    estimators: tuple[Surrogate, Surrogate],
    needed: tuple[bool, bool],
    dtype: torch.dtype | None,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of scale · (sign(v) ⊛ sign(u)) with respect to v and u, by their estimators."""
    for_v, for_u = estimators
    if torch.is_grad_enabled():  # a second derivative: through the estimators too
        a, w = binarize(v, for_v), _scaled_filters(binarize(u, for_u), scale)
    else:
        a, w = sign(v), sign(u) if scale is None else scaled_signs(u, scale)
    padded, padding = spec.padded(a)
    grad_v, grad_u = product_gradients(grad, padded, w, spec, padding, needed, dtype)
    if grad_v is not None:
        grad_v = for_v.backward(spec.unpadded(grad_v, v), v, own=True)
    if grad_u is not None:
        grad_u = for_u.backward(grad_u, u, own=True)
    return grad_v, grad_u


def _fused_product(
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
        shift=None if shift is None else shift[:, 0, 0],
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


class _FusedSigns(torch.autograd.Function):
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
        backward_dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor]:
        dots, v = (_nothing().expand(size) for size in (shape, x.shape))
        ctx.save_for_backward(x, u, shift, scale, v)
        ctx.spec, ctx.estimators, ctx.dtype = spec, estimators, backward_dtype
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
            w = sign(u) if scale is None else scaled_signs(u, scale)
            padded, padding = spec.padded(shifted_signs(x, shift))
            grad_x, grad_u = product_gradients(grad, padded, w, spec, padding, wanted, ctx.dtype)
            if grad_x is not None:
                grad_x, grad_shift = shifted_gradients(spec.unpadded(grad_x, x), x, shift, for_x)
            if grad_u is not None:
                grad_u = for_u.backward(grad_u, u, own=True)
            return grad_x, grad_u, grad_shift, *(None,) * 5
        if grad is not None:
            v = x if shift is None else _Known.apply(v, x.detach() + shift.detach())
            through, grad_u = sign_gradients(grad, v, u, scale, spec, ctx.estimators, wanted, ctx.dtype)
            grad_v = through if grad_v is None or through is None else grad_v + through
        if shift is not None and grad_v is not None:
            grad_shift = fold_first(grad_v)[0]
        return grad_v, grad_u, grad_shift, *(None,) * 5


class _Known(torch.autograd.Function):
    """A value that is known already, whose gradient belongs to the tensor that stands for it."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def product_gradients(
    grad: Tensor,
    a: Tensor,
    w: Tensor,
    spec: LayerSpec,
    padding: tuple[int, ...],
    needed: tuple[bool, bool],
    dtype: torch.dtype | None = None,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of ``convolve(a, w, spec, padding)`` with respect to a and w (None where not needed).

    In float32, or with operands rounded to `dtype` and accumulated in float32 by the backend.
    """
    exact = grad.dtype
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


def _exact(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


BACKWARD_PRECISIONS: dict[str, torch.dtype | None] = {"float32": None, "bfloat16": torch.bfloat16}


def set_backward_precision(model: nn.Module, precision: str) -> None:
    """Compute the gradients of all binarized products of `model` in ``float32`` (default) or ``bfloat16``.

    The forward pass is exact either way. Rounding the gradient and the scaled weights to bfloat16 changes
    the training; see docs/native.md for how much.
    """
    if precision not in BACKWARD_PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(BACKWARD_PRECISIONS)}; got {precision!r}")
    for _, layer in binary_layers(model):
        layer.backward_dtype = BACKWARD_PRECISIONS[precision]


def binary_layers(model: nn.Module) -> Iterator[tuple[str, BinaryLayer]]:
    """Name and module of every binarized layer of `model` (each module once)."""
    for name, module in model.named_modules():
        if isinstance(module, BinaryLayer):
            yield name, module


def progress(model: nn.Module, t: float, dt: float) -> None:
    """Tell every operator of `model` how far training is; call it before each training step.

    Args:
        t: training done, in [0, 1): step / total steps, or epoch / epochs to move once an epoch.
        dt: how far `t` will have moved at the next change (1 / total steps, or 1 / epochs).
    """
    if not 0 <= t < 1 or not 0 <= dt <= 1:
        raise ValueError(f"progress expects t in [0, 1) and dt in [0, 1]; got t={t!r}, dt={dt!r}")
    for _, layer in binary_layers(model):
        layer.operator.progress(t, dt)
        layer._informed = True
    constrain_(model)


@torch.no_grad()
def constrain_(model: nn.Module) -> None:
    """Apply every operator's constraint to its latent weight, as after an optimizer step."""
    for _, layer in binary_layers(model):
        layer.operator.constrain_(layer.weight)
