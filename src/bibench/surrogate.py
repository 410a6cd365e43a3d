"""The sign function and the surrogate gradients (estimators) that stand in for its derivative.

``binarize(x, surrogate)`` is ±1 in the forward pass, with sign(0) = +1 (BiBench paper, Eq. 11), and
multiplies the upstream gradient by ``surrogate.gradient(x)`` in the backward pass. A surrogate is a
pure function of the value that was binarized; write one by subclassing `Surrogate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def sign(x: Tensor) -> Tensor:
    """±1 in the dtype of `x`, with sign(0) = sign(-0) = +1 (NaN gives -1)."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class Surrogate:
    """A stand-in for the derivative of sign. Subclasses define `gradient` and, for the docs, `formula`."""

    @property
    def label(self) -> str:
        """Name in the documentation."""
        return type(self).__name__

    @property
    def formula(self) -> str:
        """LaTeX of the factor."""
        return ""

    def gradient(self, x: Tensor) -> Tensor:
        """The factor that multiplies the upstream gradient, elementwise, in the shape of `x`."""
        raise NotImplementedError


@dataclass(frozen=True)
class STE(Surrogate):
    r"""Straight-through estimator: 1 where \|x\| ≤ `clip`, else 0 (Eq. 12). ``clip=inf`` passes all."""

    clip: float = 1.0

    @property
    def label(self) -> str:
        """Name in the documentation."""
        return (
            "straight-through estimator (STE)" if math.isfinite(self.clip) else "unclipped straight-through estimator"
        )

    @property
    def formula(self) -> str:
        """LaTeX of the factor."""
        return rf"\mathbb{{1}}_{{|x| \le {self.clip:g}}}" if math.isfinite(self.clip) else "1"

    def gradient(self, x: Tensor) -> Tensor:
        return (x.abs() <= self.clip).to(x.dtype)


IDENTITY = STE(clip=math.inf)
"""The unclipped straight-through estimator: the gradient passes unchanged."""


@dataclass(frozen=True)
class Polynomial(Surrogate):
    """Piecewise polynomial ApproxSign of Bi-Real Net: max(0, 2 - 2|x|) (Eq. 16, 24, 29)."""

    @property
    def label(self) -> str:
        return "piecewise polynomial (ApproxSign)"

    @property
    def formula(self) -> str:
        return r"\max(0,\ 2 - 2|x|)"

    def gradient(self, x: Tensor) -> Tensor:
        return (2 - 2 * x.abs()).clamp_(min=0)


@dataclass(frozen=True)
class Fourier(Surrogate):
    r"""Derivative of the square wave's Fourier series truncated after n + 1 terms (FDA, Eq. 31).

    s'_n(x) = 4ω/π Σ_{i=0..n} cos((2i+1)ωx) = 2ω/π · sin(2(n+1)ωx) / sin(ωx) for \|x\| ≤ `clip`, else 0.
    The closed form costs two sines instead of n + 1 cosines. For n ≥ 15 the kernel is negative near
    \|x\| = 1; `first_lobe` clips it at its first zero.
    """

    n: int = 9
    omega: float = 0.1
    clip: float = 1.0
    first_lobe: bool = False

    @property
    def label(self) -> str:
        return "truncated Fourier series"

    @property
    def formula(self) -> str:
        ratio = r"\frac{2\omega}{\pi}\,\frac{\sin(2(n+1)\omega x)}{\sin(\omega x)}"
        return ratio + rf"\,\mathbb{{1}}_{{|x| \le {self.clip:g}}}"

    def gradient(self, x: Tensor) -> Tensor:
        dtype = x.dtype
        x = x.float() if dtype in (torch.float16, torch.bfloat16) else x
        steep = 2 * (self.n + 1) * self.omega
        # Below √eps the quotient equals its limit to rounding; subnormal numbers would spoil it.
        near_zero = x.abs() * steep < math.sqrt(torch.finfo(x.dtype).eps)
        ratio = torch.sin(steep * x) / torch.sin(self.omega * x).masked_fill(near_zero, 1.0)
        ratio = ratio.masked_fill(near_zero, 2.0 * (self.n + 1)) * (2 * self.omega / math.pi)
        window = min(self.clip, self.first_zero) if self.first_lobe else self.clip
        return ratio.masked_fill(x.abs() > window, 0.0).to(dtype)

    @property
    def first_zero(self) -> float:
        """The smallest x > 0 at which the kernel is zero."""
        return math.pi / (2 * (self.n + 1) * self.omega)


class _Binarize(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, surrogate: Surrogate, ternary: bool) -> Tensor:
        return torch.sign(x) if ternary else sign(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.surrogate = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grad * ctx.surrogate.gradient(x), None, None


def binarize(x: Tensor, surrogate: Surrogate, *, ternary: bool = False) -> Tensor:
    """sign(x) as ±1, differentiable through `surrogate`. Same shape and dtype as `x`.

    `ternary` maps 0 to 0 like ``torch.sign``: only the ``bibench`` profiles, which reproduce the
    official release, ask for it.
    """
    return _Binarize.apply(x, surrogate, ternary)
