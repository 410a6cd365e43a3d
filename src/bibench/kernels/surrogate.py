"""The sign function and the surrogate gradients (estimators) that stand in for its derivative.

``binarize(x, surrogate)`` is ±1 in the forward pass, with sign(0) = +1 (BiBench paper, Eq. 11), and
multiplies the upstream gradient by ``surrogate.gradient(x)`` in the backward pass. A surrogate is a
pure function of the value that was binarized; write one by subclassing `Surrogate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bibench.foundation.blame import last_return
from bibench.foundation.errors import DefinitionError
from bibench.kernels import native
from bibench.kernels.functions import apply, eager
from bibench.kernels.spec import exact


def sign(x: Tensor) -> Tensor:
    """±1 in shape and dtype of `x`, with sign(0) = sign(-0) = +1 (NaN gives -1); Eq. 11."""
    if native.serves(x) and native.same_memory(x):
        return native.sign(x)
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def sign_and_pass(x: Tensor, surrogate: Surrogate) -> tuple[Tensor, bool]:
    """`sign`, and whether it is known by the way that all factors of the surrogate are 1.

    Args:
        x: the values, of any shape; the result has the same.
        surrogate: whose factors are asked about.
    """
    if native.serves(x) and native.same_memory(x):
        return native.sign_within(x, surrogate.flat)
    return sign(x), False


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

    def curve(self, x: Tensor) -> Tensor:
        """`gradient` at values right before the sign, as figures draw it; differs where the estimator scales first.

        Args:
            x: the values, of any shape; the result has the same.
        """
        return self.gradient(x)

    def kernel(self) -> tuple[Any, ...] | None:
        """Name and parameters of the compiled kernel that computes ``grad · gradient(x)``, if there is one."""
        return None

    @property
    def flat(self) -> float:
        """The factor is 1 where the magnitude is at most this; negative for nowhere."""
        return -1.0

    def backward(self, grad: Tensor, x: Tensor, *, own: bool = False) -> Tensor:
        """``grad · gradient(x)``, by the compiled kernel where it applies.

        Args:
            grad: the upstream gradient, in the shape of `x`; the result has it too.
            x: what was signed, of any shape.
            own: whether `grad` may be overwritten.
        """
        kernel = self.kernel()
        if kernel and native.serves(grad, x) and native.same_memory(grad, x) and not torch.is_grad_enabled():
            return native.gradient(kernel[0], grad, x, grad if own else torch.empty_like(grad), *kernel[1:])
        return grad * self.factor(x)

    def factor(self, x: Tensor) -> Tensor:
        """`gradient`, which is a factor for each element.

        Args:
            x: what was signed, of any shape; the result has it too.

        Raises:
            DefinitionError: the gradient is no tensor of this shape.
        """
        found = self.gradient(x)
        if isinstance(found, Tensor) and found.shape == x.shape:
            return found
        came = f"shape {tuple(found.shape)}" if isinstance(found, Tensor) else f"{found!r}"
        line = last_return(type(self).gradient)
        raise DefinitionError(
            f"surrogate {type(self).__name__}: gradient gives {came} for values of shape {tuple(x.shape)}, expected a "
            f"factor for each of them; torch.ones_like(x) times a number is one{f' ({line})' if line else ''}"
        )


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

    @property
    def flat(self) -> float:
        return self.clip

    def gradient(self, x: Tensor) -> Tensor:
        return (x.abs() <= self.clip).to(x.dtype)

    def kernel(self) -> tuple[Any, ...]:
        return ("ste", self.clip)


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

    def kernel(self) -> tuple[Any, ...]:
        return ("approx_sign",)


@dataclass(frozen=True)
class Fourier(Surrogate):
    r"""Derivative of the square wave's Fourier series truncated after n + 1 terms (FDA, Eq. 31).

    s'_n(x) = 4ω/π Σ_{i=0..n} cos((2i+1)ωx) = 2ω/π · sin(2(n+1)ωx) / sin(ωx) for \|x\| ≤ `clip`, else 0.
    The closed form costs two sines instead of n + 1 cosines. For n ≥ 15 the kernel is negative near
    \|x\| = 1; `first_lobe` clips it at its first zero.

    Attributes:
        n: number of terms less one.
        omega: frequency of the first term, in radians per unit of `x`.
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
        if x.dtype is torch.float64 or not self._smooth:
            return self._closed_form(x)
        dtype, x = x.dtype, x.float()
        square, (first, *rest) = x * x, reversed(self._coefficients)
        # Product and sum are separate steps, in the compiled kernel too: both give the same bits.
        value = torch.full_like(square, first)
        for coefficient in rest:
            value = value.mul_(square).add_(coefficient)
        return value.masked_fill_(x.abs() > self._window, 0.0).to(dtype)

    def kernel(self) -> tuple[Any, ...] | None:
        return ("even_polynomial", self._coefficients, self._window) if self._smooth else None

    @property
    def _window(self) -> float:
        # Rounded to float32, as the kernel compares.
        window = min(self.clip, self.first_zero) if self.first_lobe else self.clip
        return float(np.float32(window))

    @property
    def _smooth(self) -> bool:
        """Whether a polynomial of few terms is accurate to float32 in the window."""
        return 2 * (self.n + 1) * self.omega * self._window <= SMOOTH

    @property
    def _coefficients(self) -> list[float]:
        return _even_polynomial(self.n, self.omega, self._window)

    def _closed_form(self, x: Tensor) -> Tensor:
        dtype = x.dtype
        x = exact(x)
        steep = 2 * (self.n + 1) * self.omega
        # Below √eps the quotient equals its limit to rounding; subnormal numbers would spoil it.
        near_zero = x.abs() * steep < math.sqrt(torch.finfo(x.dtype).eps)
        ratio = torch.sin(steep * x) / torch.sin(self.omega * x).masked_fill(near_zero, 1.0)
        ratio = ratio.masked_fill(near_zero, 2.0 * (self.n + 1)) * (2 * self.omega / math.pi)
        return ratio.masked_fill(x.abs() > self._window, 0.0).to(dtype)

    @property
    def first_zero(self) -> float:
        """The smallest x > 0 at which the kernel is zero."""
        return math.pi / (2 * (self.n + 1) * self.omega)


SMOOTH = 4.5
"""Steepness, in radians at the window's edge, up to which `Fourier` is evaluated as a polynomial."""
TOLERANCE = 2.0**-25
"""Largest error of that polynomial, before rounding, as a fraction of the peak."""


@lru_cache(maxsize=256)
def _even_polynomial(n: int, omega: float, window: float) -> list[float]:
    """Coefficients c_k of Σ c_k x^(2k) ≈ Σ_i cos((2i+1)ωx) · 4ω/π on [-window, window], rounded to float32.

    Interpolated in x² at Chebyshev nodes, with as few terms as `TOLERANCE` allows.
    """
    top = window**2
    angles = np.sqrt(np.linspace(0, top, 1001))[:, None] * omega * (2 * np.arange(n + 1) + 1)
    target = 4 * omega / math.pi * np.cos(angles).sum(1)
    chebyshev, power = np.polynomial.chebyshev, np.polynomial.polynomial
    for terms in range(2, 20):
        series = chebyshev.Chebyshev.interpolate(
            lambda s: 4 * omega / math.pi * np.cos(np.sqrt(s)[:, None] * omega * (2 * np.arange(n + 1) + 1)).sum(1),
            terms - 1,
            domain=[0, top],
        )
        coefficients = series.convert(kind=power.Polynomial, domain=[-1, 1], window=[-1, 1]).coef
        error = np.abs(power.polyval(np.linspace(0, top, 1001), coefficients) - target).max()
        if error <= TOLERANCE * target[0]:
            break
    return [float(c) for c in coefficients.astype(np.float32)]


@eager
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
        return ctx.surrogate.backward(grad, x), None, None


def binarize(x: Tensor, surrogate: Surrogate, *, ternary: bool = False) -> Tensor:
    """sign(x) as ±1, differentiable through `surrogate`. Same shape and dtype as `x`.

    `ternary` maps 0 to 0 like ``torch.sign``: only the ``bibench`` profiles, which reproduce the
    official release, ask for it.
    """
    return apply(_Binarize, x, surrogate, ternary)
