"""Signs with FDA's learned noise: sign(x) + a (ReLU(x W₁) W₂ + 0.1 sin x) along the channels.

https://arxiv.org/abs/2103.00841 (Eq. 30-31). The matrix products are PyTorch's, in forms that need no copy of x;
what goes over all of x elementwise is one pass each way, on the compiled kernels where they apply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bibench.kernels import native
from bibench.kernels.functions import apply, eager
from bibench.kernels.rows import is_channels_last
from bibench.kernels.spec import LayerSpec, exact, without_autocast
from bibench.kernels.surrogate import Surrogate, sign

SINE_SHARE = 0.1
"""What multiplies sin x in the noise."""
# Of csrc/elementwise/waves.inl, which does the same operations: π in parts that have exact products with small
# integers, and polynomials in r² for sin(r)/r and cos(r) on a quarter turn to either side, interpolated at Chebyshev
# nodes.
PI = (3.140625, 0.0009675025939941406, 1.5099580252808664e-07)
SINE = (1.0, -0.16666658222675323, 0.008333049714565277, -0.00019809004152193666, 2.6050781798403477e-06)
COSINE = (1.0, -0.5, 0.04166663438081741, -0.0013888359535485506, 2.4760092856013216e-05, -2.605036399927485e-07)
FARTHEST = 8192.0


def sine(x: Tensor) -> Tensor:
    """sin x to within 1e-7; of ±8192 for floats beyond, whose sine is little but chance."""
    if not _by_polynomial(x):
        return torch.sin(x)
    rest, sign = _half_turns(x)
    return sign * (rest * _horner(SINE, rest * rest))


def cosine(x: Tensor) -> Tensor:
    """cos x, as `sine`."""
    if not _by_polynomial(x):
        return torch.cos(x)
    rest, sign = _half_turns(x)
    return sign * _horner(COSINE, rest * rest)


def _by_polynomial(x: Tensor) -> bool:
    # Where the kernels may run, PyTorch's way has to have their bits.
    return x.dtype is torch.float32 and x.device.type == "cpu"


def _half_turns(x: Tensor) -> tuple[Tensor, Tensor]:
    """x - nπ for the nearest n, and (-1)^n."""
    x = x.clamp(-FARTHEST, FARTHEST)
    count = torch.round(x * float(np.float32(1 / math.pi)))
    odd = count - 2 * torch.round(count * 0.5)
    for part in PI:
        x = x - count * part
    return x, 1 - 2 * (odd * odd)


def _horner(coefficients: Sequence[float], square: Tensor) -> Tensor:
    value = torch.full_like(square, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * square + coefficient
    return value


@dataclass(frozen=True)
class WithSine(Surrogate):
    """The gradient of sign(x) + `amount` · sin(x), that of the sign by `inner` (FDA, Eq. 31)."""

    inner: Surrogate
    amount: float

    def gradient(self, x: Tensor) -> Tensor:
        kernel = self.kernel() if _by_polynomial(x) else None
        if kernel is None:
            return self.inner.gradient(x) + self.amount * cosine(x)
        _, coefficients, window, amount = kernel
        return torch.where(x.abs() > window, amount * cosine(x), _horner(coefficients, x * x))

    def kernel(self) -> tuple[Any, ...] | None:
        """Of a polynomial, the cosine's terms are added to its coefficients: inside the window it is one polynomial."""
        return _kernel(self.inner, self.amount)


@lru_cache(maxsize=16)
def _kernel(inner: Surrogate, amount: float) -> tuple[Any, ...] | None:
    name, *parameters = inner.kernel() or (None,)
    if name != "even_polynomial":
        return None
    coefficients, window = parameters
    pairs = zip_longest(coefficients, COSINE, fillvalue=0.0)
    return "even_polynomial_cosine", [float(np.float32(c + amount * d)) for c, d in pairs], window, amount


class Noise(nn.Module):
    """W₁ and W₂ (transposed) of the noise for vectors of `width` d; hidden width ⌊d/64⌋ (⌊d/4⌋ if d < 64)."""

    def __init__(self, width: int, trained: bool) -> None:
        super().__init__()
        hidden = width // 64 if width >= 64 else max(1, width // 4)
        if not trained and width < 64:
            hidden = 0  # the release's integer division: an empty, silent module
        self.down = nn.Parameter(torch.empty(hidden, width), requires_grad=trained)
        self.up = nn.Parameter(torch.empty(width, hidden), requires_grad=trained)
        for matrix in (self.down, self.up):
            if matrix.numel():
                nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))  # nn.Linear's own


def noisy_activations(
    x: Tensor, spec: LayerSpec, down: Tensor, up: Tensor, amount: float, surrogate: Surrogate, ternary: bool = False
) -> Tensor:
    """sign(x) + amount · (ReLU(x W₁) W₂ + 0.1 sin x) of a layer's input, the sign's gradient by `surrogate`.

    Args:
        x: (B, D, ...), or (..., D) for linear layers; 16-bit inputs give float32.
        spec: the layer.
        down: W₁ᵀ, (H, D).
        up: W₂ᵀ, (D, H).
        amount: how much of the noise.
        surrogate: the sign's estimator.
        ternary: whether sign(0) is 0.
    """
    x = exact(x)
    kind = "planes" if spec.spatial_axes else "rows"
    out: Tensor = apply(_NoisySigns, x, down.to(x.dtype), up.to(x.dtype), kind, amount, surrogate, ternary)[0]
    return out


def noisy_filters(
    w: Tensor, down: Tensor, up: Tensor, amount: float, surrogate: Surrogate, ternary: bool = False
) -> Tensor:
    """The same of filters (C_o, ...), each a vector in the order of its axes."""
    out: Tensor = apply(_NoisySigns, w, down.to(w.dtype), up.to(w.dtype), "filters", amount, surrogate, ternary)[0]
    return out


@eager
class _NoisySigns(torch.autograd.Function):
    """Keeps x and the hidden layer alone. Works on rows (R, D) or planes (B, D, L), whichever x is without a copy."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, down: Tensor, up: Tensor, kind: str, amount: float, surrogate: Surrogate, ternary: bool
    ) -> tuple[Tensor, Tensor]:
        last = is_channels_last(x)
        values, (down, up) = _open(x, kind, last), _matrices(down, up, x, kind, last)
        with without_autocast(x):
            hidden = _shrink(down, values).clamp_(min=0)
            if not ternary and native.serves(x) and values.is_contiguous():
                out = native.sign_sine(values, SINE_SHARE * amount)
            else:
                out = (torch.sign(values) if ternary else sign(values)) + (SINE_SHARE * amount) * sine(values)
            return _close(_add_spread(out, hidden, amount * up), x, last), hidden

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, down, up, ctx.kind, ctx.amount, ctx.surrogate, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, down, up, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        whole, down, up, hidden = ctx.saved_tensors
        last, needed = is_channels_last(whole), ctx.needs_input_grad
        x, grad = (_open(t, ctx.kind, last) for t in (whole, grad))
        down, up = _matrices(down, up, whole, ctx.kind, last)
        for_x = for_down = for_up = None
        with without_autocast(x):
            if torch.is_grad_enabled():  # a second derivative: the hidden layer depends on x as well
                hidden = _shrink(down, x).clamp(min=0)
            back = torch.ops.aten.threshold_backward(_shrink((ctx.amount * up).T.contiguous(), grad), hidden, 0)
            if needed[1]:
                for_down = _correlate(back, x)
            if needed[2]:
                for_up = ctx.amount * _correlate(hidden, grad)
            if needed[0]:
                for_x = WithSine(ctx.surrogate, SINE_SHARE * ctx.amount).backward(grad, x)
                for_x = _close(_add_spread(for_x, back, down.T), whole, last)
        if ctx.kind == "filters" and last:
            for_down, for_up = (m if m is None else _by_axes(m, whole) for m in (for_down, for_up))
        return for_x, for_down, for_up if for_up is None else for_up.T, None, None, None, None


def _open(x: Tensor, kind: str, last: bool) -> Tensor:
    if last:
        x = x.permute(0, 2, 3, 1)
    if kind == "filters":
        return x.flatten(1)
    return x.flatten(2) if kind == "planes" and not last else x.reshape(-1, x.shape[-1])


def _close(values: Tensor, like: Tensor, last: bool) -> Tensor:
    if not last:
        return values.view(like.shape)
    count, channels, height, width = like.shape
    return values.view(count, height, width, channels).permute(0, 3, 1, 2)


def _matrices(down: Tensor, up: Tensor, x: Tensor, kind: str, last: bool) -> tuple[Tensor, Tensor]:
    """Both in the order that filters have in memory: they are smaller than the filters."""
    if kind != "filters" or not last:
        return down, up
    down, up = (m.unflatten(1, x.shape[1:]).permute(0, 2, 3, 1).flatten(1) for m in (down, up.T))
    return down, up.T


def _by_axes(matrix: Tensor, filters: Tensor) -> Tensor:
    """From the order in memory back to that of the axes."""
    channels, height, width = filters.shape[1:]
    return matrix.view(-1, height, width, channels).permute(0, 3, 1, 2).flatten(1)


def _shrink(matrix: Tensor, x: Tensor) -> Tensor:
    """Rows of the matrix (H, D) times every position of x: (R, D) → (H, R), (B, D, L) → (B, H, L)."""
    # This way round: with few columns of the result, (R, H), the libraries are several times as slow.
    return matrix @ (x.T if x.dim() == 2 else x)


def _correlate(hidden: Tensor, x: Tensor) -> Tensor:
    """Sum over positions of the products of both: (H, D)."""
    return hidden @ x if x.dim() == 2 else torch.bmm(hidden, x.mT).sum(0)


def _add_spread(x: Tensor, hidden: Tensor, matrix: Tensor) -> Tensor:
    """x plus the matrix (D, H) times the hidden values; x is overwritten where nobody minds."""
    if x.dim() == 2:
        left, right = hidden.T, matrix.T
        return torch.addmm(x, left, right) if torch.is_grad_enabled() or not native.serves(x) else x.addmm_(left, right)
    left, right = matrix.expand(x.shape[0], *matrix.shape), hidden
    if torch.is_grad_enabled() or not native.serves(x):
        return torch.baddbmm(x, left, right)
    return x.baddbmm_(left, right)
