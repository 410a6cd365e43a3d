"""Row-wise statistics, standardization and scales, in an order of operations that PyTorch and the kernels share.

Sums are folded (the upper half is added to the lower until one is left), which is as accurate as pairwise
summation and, unlike a library's reduction, the same everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bibench.kernels import native
from bibench.kernels.functions import apply, eager
from bibench.kernels.spec import exact
from bibench.kernels.surrogate import Polynomial, Surrogate, sign


def fold(values: Tensor) -> Tensor:
    """Sum over the last axis, kept with size 1."""
    values = values.clone()
    size = values.shape[-1]
    while size > 1:
        half = (size + 1) // 2
        values[..., : size - half] += values[..., half:size]
        size = half
    return values[..., :1]


def mean_magnitudes(rows: Tensor) -> Tensor:
    """Mean of |x| over each row of x (R, N), detached; shape (R,)."""
    rows = rows.detach()
    if native.serves(rows) and rows.is_contiguous() and rows.numel():
        return native.mean_magnitudes(rows)
    return (fold(exact(rows).abs())[:, 0] / rows.shape[1]).to(rows.dtype)


def scaled_signs(w: Tensor, scale: Tensor, surrogate: Surrogate) -> tuple[Tensor, bool]:
    """sign(w) times a scale per first axis (C,), in w's memory order; and what `sign_and_pass` tells."""
    rows = as_rows(w)
    if native.serves(rows, scale) and rows.is_contiguous():
        signs, passes = native.sign_scaled(rows, scale, surrogate.flat)
        return from_rows(signs, w), passes
    return from_rows(sign(rows) * scale[:, None], w), False


def filter_scale_gradients(
    grad: Tensor, w: Tensor, scale: Tensor, signs: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients of ``scale · sign(w)``, one scale a filter: ``grad · scale`` and Σ grad · sign(w) over each filter.

    `signs`: sign(w) where that is differentiable; `grad` may be overwritten where it is not.
    """
    if signs is None and native.serves(grad, w, scale) and native.same_memory(grad, w) and w.numel():
        rows = as_rows(grad)
        return grad, native.filter_scale_gradients(rows, as_rows(w), scale)
    total = fold(as_rows(grad * (sign(w) if signs is None else signs)))[:, 0]
    return grad * scale.reshape(-1, *(1,) * (grad.dim() - 1)), total


def fold_first(values: Tensor) -> Tensor:
    """Sum over the first axis, kept with size 1: neighbours are added until one is left.

    Unlike `fold`, so that the examples of a thread, which follow each other, are added by themselves first.
    """
    size = values.shape[0]
    if size == 0:
        return values.sum(0, keepdim=True)
    while size > 1:
        pairs = values[0 : size - 1 : 2] + values[1::2]
        values = torch.cat([pairs, values[-1:]]) if size % 2 else pairs
        size = len(values)
    return values


def as_rows(x: Tensor) -> Tensor:
    """(N, …) as (N, rest) in the order of memory, which a reduction does not care for; a view where x is dense."""
    if is_channels_last(x):
        x = x.permute(0, 2, 3, 1)
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def from_rows(rows: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_rows`: `rows` in the shape (but for the first axis) and memory order of `like`."""
    count = rows.shape[0]
    if is_channels_last(like):
        channels, height, width = like.shape[1:]
        return rows.reshape(count, height, width, channels).permute(0, 3, 1, 2)
    return rows.reshape(count, *like.shape[1:])


@dataclass(frozen=True)
class Scaling:
    """Rows x become ``(x - mean) · deviation / √(var + eps)``, or ``x · …`` unless `centre`; var is unbiased."""

    deviation: float = 1.0
    eps: float = 1e-5
    centre: bool = True

    def degrees(self, count: int) -> float:
        """Degrees of freedom of the variance; a row of one value has no unbiased one."""
        return float(count - 1 if count > 1 else count)


@dataclass(frozen=True)
class Rectified:
    """Filters scaled by `scaling` and clamped to ± `clip` times their mean magnitude over the layer."""

    scaling: Scaling
    clip: float


def scale_rows(x: Tensor, scaling: Scaling, clip: float = math.inf) -> Tensor:
    """The scaled rows of x (R, N), with the gradient of a clamp to ± `clip` times their mean magnitude.

    The bound, over all rows, counts as a constant; the gradient passes where the magnitude is below it.
    The values themselves are not clamped: what follows is their sign, and that would cost a pass.
    """
    out: Tensor = apply(_ScaleRows, x, scaling, clip)[0]
    return out


@eager
class _ScaleRows(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scaling: Scaling, clip: float) -> tuple[Tensor, Tensor, Tensor]:
        if native.serves(x) and x.is_contiguous() and x.numel():
            out, stats, total = native.normalize(x, scaling.eps, scaling.deviation, scaling.centre)
            magnitude = torch.tensor([[total]])
        else:
            out, stats = scale_forward(x, scaling)
            magnitude = fold(stats[:, 3:].T)
        bound = magnitude.new_full((1, 1), math.inf) if clip == math.inf else magnitude / x.numel() * clip
        return out, stats, bound

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, ctx.scaling, _ = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(x, *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        (x, stats, bound), how = ctx.saved_tensors, ctx.scaling
        if torch.is_grad_enabled():  # a second derivative: the statistics depend on x as well
            stats = scale_forward(x, how)[1]
        elif native.serves(grad, x, stats) and x.is_contiguous() and x.numel():
            parameters = (how.eps, how.deviation, how.centre, float(bound))
            return native.normalize_backward(grad.contiguous(), x, stats, *parameters), None, None
        return scale_backward(grad, x, stats, how, bound), None, None


def scale_forward(x: Tensor, how: Scaling) -> tuple[Tensor, Tensor]:
    """Scaled rows, and their statistics (R, 4): mean, factor, variance + eps, sum of magnitudes."""
    count = x.shape[-1]
    mean = fold(x) / count
    centred = x - mean
    variance = fold(centred * centred) / how.degrees(count) + how.eps
    factor = variance.rsqrt() * how.deviation  # rsqrt rounds as IEEE says, which the library behind sqrt need not
    out = (centred if how.centre else x) * factor
    return out, torch.cat([mean, factor, variance, fold(out.abs())], -1)


def scale_backward(grad: Tensor, x: Tensor, stats: Tensor, how: Scaling, bound: Tensor | None = None) -> Tensor:
    """Gradient of `scale_forward`, passed where what is scaled is smaller than `bound`."""
    count = x.shape[-1]
    mean, factor, variance, _ = stats.split(1, -1)
    centred = x - mean
    value = centred if how.centre else x
    passed = grad if bound is None else grad * ((value * factor).abs() < bound).to(grad.dtype)
    spread = fold(passed * value) * factor / (variance * how.degrees(count))
    out = passed * factor - spread * centred
    return out - fold(passed) * factor / count if how.centre else out


@dataclass(frozen=True)
class BehindScaling(Surrogate):
    """`inner` at values that are scaled example by example before the sign (each token in linear layers).

    Without centring, scaling moves no sign: it is done in the backward pass alone, and its own gradient with it. So
    does ReCU's released code with activations (https://github.com/z-hXu/ReCU).
    """

    scaling: Scaling
    inner: Surrogate
    by_token: bool = False

    @property
    def label(self) -> str:
        """Name in the documentation."""
        return self.inner.label

    @property
    def formula(self) -> str:
        """LaTeX of the factor."""
        return self.inner.formula

    def gradient(self, x: Tensor) -> Tensor:
        rows = self._rows(x)
        return self._shaped(self.inner.gradient(scale_forward(rows, self.scaling)[0]), x)

    def curve(self, x: Tensor) -> Tensor:
        """That of `inner`."""
        return self.inner.curve(x)

    def backward(self, grad: Tensor, x: Tensor, *, own: bool = False) -> Tensor:
        how, g, rows = self.scaling, self._rows(grad), self._rows(x)
        plain = isinstance(self.inner, Polynomial) and native.serves(grad, x) and not torch.is_grad_enabled()
        if plain and native.same_memory(grad, x) and x.numel():
            out = g if own else torch.empty_like(g)
            return self._shaped(native.approx_sign_rows(g, rows, out, how.eps, how.deviation, how.centre), x)
        out, stats = scale_forward(rows, how)
        return self._shaped(scale_backward(g * self.inner.gradient(out), rows, stats, how), x)

    def _rows(self, x: Tensor) -> Tensor:
        return x.reshape(-1, x.shape[-1]) if self.by_token else as_rows(x)

    def _shaped(self, rows: Tensor, x: Tensor) -> Tensor:
        return rows.view(x.shape) if self.by_token else from_rows(rows, x)


def rescale(y: Tensor, gamma: Tensor) -> Tensor:
    """``y · gamma`` for a learned gamma that has the axes of one example of y, some of size 1."""
    example = y.shape[y.dim() - gamma.dim() :]
    batch = y if y.dim() == gamma.dim() + 1 else y.reshape(-1, *example)
    return apply(_Rescale, batch, gamma.expand(example)).view(y.shape)


@eager
class _Rescale(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, gamma: Tensor) -> Tensor:
        return y * in_order_of(gamma, y)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        y, gamma = ctx.saved_tensors
        ordered = in_order_of(gamma, y)
        if grad.stride() != y.stride() or torch.is_grad_enabled() or not y.numel():
            return grad * ordered, fold_first(grad * y)[0]
        g, x, row = as_rows(grad), as_rows(y), as_rows(ordered)
        scaled, total = native.rescale_backward(g, x, row) if native.serves(g, x, row) else (g * row, fold_first(g * x))
        return from_rows(scaled, y), from_rows(total, y)[0]


def rescale_kept_gradients(grad: Tensor, y: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of ``y · gamma`` for integers y in the memory order of `grad`, on the kernels."""
    example = gamma.expand(grad.shape[1:])
    scaled, total = native.rescale_kept_backward(as_rows(grad), as_rows(y), as_rows(in_order_of(example, grad)))
    return from_rows(scaled, grad), from_rows(total, grad)[0].sum_to_size(gamma.shape)


def shifted_signs(x: Tensor, shift: Tensor) -> Tensor:
    """sign(x + shift) of dense x (B, C, H, W) on the kernels, shift (C, 1, 1)."""
    if is_channels_last(x):
        return _from_pixels(native.sign_shifted_rows(_pixels(x), shift.detach().flatten().contiguous()), x)
    return from_rows(native.sign_shifted(as_rows(x), _repeated(shift, x)), x)


def shifted_gradients(grad: Tensor, x: Tensor, shift: Tensor, surrogate: Surrogate) -> tuple[Tensor, Tensor]:
    """Gradients of sign(x + shift) with respect to both; `grad` may be overwritten."""
    if not (isinstance(surrogate, Polynomial) and native.serves(grad, x, shift) and native.same_memory(grad, x)):
        grad = surrogate.backward(grad, x + shift, own=True)
        return grad, channel_sums(grad, is_channels_last(x)).view(shift.shape)
    if is_channels_last(x):
        total = native.approx_sign_shifted_rows(_pixels(grad), _pixels(x), shift.detach().flatten().contiguous())
    else:
        total = fold(native.approx_sign_shifted(as_rows(grad), as_rows(x), _repeated(shift, x)).view(x.shape[1], -1))
    return grad, total.view(shift.shape)


def _repeated(shift: Tensor, x: Tensor) -> Tensor:
    return shift.detach().expand(x.shape[1:]).reshape(1, -1).contiguous()


def _pixels(x: Tensor) -> Tensor:
    """(B, C, H, W) in channels_last as (BHW, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _from_pixels(rows: Tensor, like: Tensor) -> Tensor:
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)


def channel_sums(values: Tensor, last: bool) -> Tensor:
    """Sums of (B, C, ...) over all axes but the channels', (C,), in an order that suits the memory.

    Neighbours are added: with channels `last` all pixels of all examples; else examples, and their pixels are folded.
    """
    if last:
        return fold_first(_pixels(values))[0]
    return fold(fold_first(values.flatten(1)).view(values.shape[1], -1))[:, 0]


def shifted(x: Tensor, shift: Tensor) -> Tensor:
    """``x + shift`` for a learned shift per channel, with the axes of one example of x, the others of size 1."""
    batch = x if x.dim() == shift.dim() + 1 else x.reshape(-1, *x.shape[x.dim() - shift.dim() :])
    out: Tensor = apply(_Shifted, batch, shift)
    return out.view(x.shape) if out.shape != x.shape else out


@eager
class _Shifted(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, shift: Tensor) -> Tensor:
        return x + shift

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.last, ctx.shape = is_channels_last(inputs[0]), inputs[1].shape

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, channel_sums(grad, ctx.last).view(ctx.shape)


def multiply_pixels(y: Tensor, factor: Tensor) -> Tensor:
    """``y · factor`` for a constant factor, per pixel (B, 1, H, W) as a rule."""
    out: Tensor = apply(_MultiplyPixels, y, factor)
    return out


@eager
class _MultiplyPixels(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(y: Tensor, factor: Tensor) -> Tensor:
        return times_pixels(y, factor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return times_pixels(grad, factor), None


def times_pixels(y: Tensor, factor: Tensor) -> Tensor:
    """``y · factor``, without a gradient where the kernels do it."""
    per_pixel = is_channels_last(y) and factor.shape == (len(y), 1, *y.shape[2:])
    if per_pixel and native.serves(y, factor) and not torch.is_grad_enabled():
        rows = y.permute(0, 2, 3, 1)
        return native.multiply_rows(rows.reshape(-1, y.shape[1]), factor.reshape(-1)).view(rows.shape).movedim(-1, 1)
    return y * factor


def in_order_of(gamma: Tensor, y: Tensor) -> Tensor:
    """gamma, one example, as a batch of one in y's memory order, without which products run element by element."""
    return gamma[None].contiguous(memory_format=torch.channels_last if is_channels_last(y) else torch.contiguous_format)


def is_channels_last(x: Tensor) -> bool:
    """Whether x (N, C, H, W) lies in memory channels last, and not also in the order of its axes."""
    return x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
