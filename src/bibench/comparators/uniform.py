"""What the quantizers of k bits share: equally spaced levels, and rounding with a straight-through gradient.

No library serves here: torch.ao's learnable fake quantization is private, affine and tied to its observers, and
no well-kept one has the three published rules (clips, learned clip, learned step with its gradient) as they are
trained in their papers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bibench.foundation.errors import BiBenchError
from bibench.kernels.spec import LayerSpec
from bibench.operators.base import Operator

LOWEST, HIGHEST = 2, 16
"""Bits that a quantizer takes. One bit is what the operators are for; float32 is exact for all of these."""


class UniformQuantizer(Operator):
    """Base of the quantizers: weights and activations of `bits` bits, multiplied as integers, 32 bits elsewhere.

    The same layers are kept in full precision as for the operators (by default the first and the last, and
    what the model marks), and so are attention and embeddings. Activations of BiBench's networks come out of
    a Hardtanh and have both signs, so by default the levels lie on both sides of 0. Profile ``original``
    quantizes them as the paper does, after a ReLU: levels from 0 upwards, and what is below 0 becomes 0.
    Zero padding is 0 whatever the recipe's `pad_value`, which stands for a sign.

    Args:
        bits: of weights and activations, 2 to 16.
    """

    comparator = True
    weight_bits = activation_bits = LOWEST
    profiles = {"original": "activations quantized from 0 upwards, as after a ReLU"}

    def __init__(self, spec: LayerSpec, *, bits: int = LOWEST, profile: str = "default") -> None:
        super().__init__(replace(spec, pad_value=0.0), profile=profile)
        if not isinstance(bits, int) or isinstance(bits, bool) or not LOWEST <= bits <= HIGHEST:
            raise BiBenchError(
                f"operator {self.name!r}: bits must be an integer from {LOWEST} to {HIGHEST}, got {bits!r}; "
                "for 1 bit take one of the operators (bibench list operators)"
            )
        self.bits = self.weight_bits = self.activation_bits = bits

    @property
    def signed(self) -> bool:
        """Whether activations have levels below 0."""
        return self.profile == "default"

    @property
    def steps(self) -> int:
        """Steps between the lowest and the highest of 2^k levels."""
        return 2**self.bits - 1

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bits={self.bits}"


class _Round(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def round_through(x: Tensor) -> Tensor:
    """The nearest integer (halves to even, as in ONNX), with gradient 1."""
    rounded: Tensor = _Round.apply(x)
    return rounded


class _Clip(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, low: float, high: float) -> Tensor:
        return x.clamp(low, high)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.low, ctx.high = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grad * ((x >= ctx.low) & (x <= ctx.high)), None, None


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """`x` clamped, with gradient 1 where low ≤ x ≤ high, the bounds included, as the estimators have it."""
    clipped: Tensor = _Clip.apply(x, low, high)
    return clipped


def to_levels(r: Tensor, steps: int) -> Tensor:
    """quantize_k (DoReFa-Net, Eq. 5): r in [0, 1] to the nearest of i/steps, i = 0 … steps; gradient 1."""
    return round_through(r * steps) / steps


def to_signed_levels(v: Tensor, steps: int) -> Tensor:
    """2·quantize_k((v + 1)/2) - 1: v in [-1, 1] to the nearest of 2i/steps - 1; 0 is no level; gradient 1."""
    return 2 * to_levels((v + 1) / 2, steps) - 1


def per_layer(value: Tensor | float, spec: LayerSpec, like: Tensor) -> Tensor:
    """One factor of the whole layer, in the shape of a factor per output channel (C_o,)."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device).expand(spec.out_channels)
