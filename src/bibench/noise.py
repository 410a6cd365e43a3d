"""Signs with FDA's learned noise: sign(x) + a (ReLU(x W₁) W₂ + 0.1 sin x) along the channels.

https://arxiv.org/abs/2103.00841 (Eq. 30-31). The matrix products are PyTorch's, in forms that need no copy of x;
what goes over all of x elementwise is one pass each way, on the compiled kernels where they apply.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bibench import native
from bibench.rows import as_rows, from_rows, is_channels_last
from bibench.spec import LayerSpec, without_autocast
from bibench.surrogate import Surrogate, sign

SINE_SHARE = 0.1
"""What multiplies sin x in the noise."""
# Of csrc/elementwise.inl, which does the same operations: π in parts that have exact products with small integers, and
# polynomials in r² for sin(r)/r and cos(r) on a quarter turn to either side, interpolated at Chebyshev nodes.
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
    """The gradient of sign(x) + `amount` · sin(x), that of the sign by `inner`."""

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
        name, *parameters = self.inner.kernel() or (None,)
        if name != "even_polynomial":
            return None
        coefficients, window = parameters
        pairs = zip_longest(coefficients, COSINE, fillvalue=0.0)
        return "even_polynomial_cosine", [float(np.float32(c + self.amount * d)) for c, d in pairs], window, self.amount


def noisy_activations(
    x: Tensor, spec: LayerSpec, down: Tensor, up: Tensor, amount: float, surrogate: Surrogate, ternary: bool = False
) -> Tensor:
    """`noisy_signs` of a layer's input, at each position along the channels; 16-bit inputs give float32."""
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    how = (down, up, amount, surrogate, ternary)
    if spec.spatial_axes and not is_channels_last(x):
        return noisy_signs(x.flatten(2), *how).view(x.shape)
    last = x.permute(0, 2, 3, 1) if spec.spatial_axes else x
    out = noisy_signs(last.reshape(-1, last.shape[-1]), *how).view(last.shape)
    return out.permute(0, 3, 1, 2) if spec.spatial_axes else out


def noisy_filters(
    w: Tensor, down: Tensor, up: Tensor, amount: float, surrogate: Surrogate, ternary: bool = False
) -> Tensor:
    """`noisy_signs` of filters (C_o, ...), each a vector in the order of its axes."""
    if is_channels_last(w):  # the matrices are smaller than the filters: they are put in order of memory
        down, up = (m.unflatten(1, w.shape[1:]).permute(0, 2, 3, 1).flatten(1) for m in (down, up.T))
        up = up.T
    return from_rows(noisy_signs(as_rows(w), down, up, amount, surrogate, ternary), w)


def noisy_signs(
    x: Tensor, down: Tensor, up: Tensor, amount: float, surrogate: Surrogate, ternary: bool = False
) -> Tensor:
    """sign(x) + amount · (ReLU(x W₁) W₂ + 0.1 sin x), the sign's gradient by `surrogate`.

    Args:
        x: rows (R, D), or planes (B, D, L) with the channels before the positions.
        down: W₁ᵀ, (H, D).
        up: W₂ᵀ, (D, H).
        amount: how much of the noise.
        ternary: whether sign(0) is 0.
    """
    out: Tensor = _NoisySigns.apply(x, down.to(x.dtype), up.to(x.dtype), amount, surrogate, ternary)[0]
    return out


class _NoisySigns(torch.autograd.Function):
    """Keeps x and the hidden layer alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, down: Tensor, up: Tensor, amount: float, surrogate: Surrogate, ternary: bool
    ) -> tuple[Tensor, Tensor]:
        with without_autocast(x):
            hidden = _shrink(down, x).clamp_(min=0)
            if not ternary and native.serves(x) and x.is_contiguous():
                out = native.sign_sine(x, SINE_SHARE * amount)
            else:
                out = (torch.sign(x) if ternary else sign(x)) + (SINE_SHARE * amount) * sine(x)
            return _add_spread(out, hidden, amount * up), hidden

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, down, up, ctx.amount, ctx.surrogate, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, down, up, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, down, up, hidden = ctx.saved_tensors
        with without_autocast(x):
            if torch.is_grad_enabled():  # a second derivative: the hidden layer depends on x as well
                hidden = _shrink(down, x).clamp(min=0)
            up = ctx.amount * up
            back = torch.ops.aten.threshold_backward(_shrink(up.T.contiguous(), grad), hidden, 0)
            for_up = ctx.amount * _correlate(hidden, grad).T if ctx.needs_input_grad[2] else None
            for_down = _correlate(back, x) if ctx.needs_input_grad[1] else None
            for_x = None
            if ctx.needs_input_grad[0]:
                for_x = WithSine(ctx.surrogate, SINE_SHARE * ctx.amount).backward(grad, x)
                for_x = _add_spread(for_x, back, down.T)
        return for_x, for_down, for_up, None, None, None


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
