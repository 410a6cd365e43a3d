"""PACT (Choi et al., 2018): activations clipped at a learned bound.

https://arxiv.org/abs/1805.06085
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bibench.comparators.dorefa_k import SquashedWeights
from bibench.comparators.first_batch import FirstBatch
from bibench.comparators.uniform import LOWEST, per_layer, to_levels, to_signed_levels
from bibench.errors import BiBenchError
from bibench.operators import InferenceForm, Techniques, operator
from bibench.spec import LayerSpec, exact


@operator("pact")
class PACT(SquashedWeights):
    r"""Activations clipped at a learned α > 0, weights as DoReFa's.

        y   = clip(x, -α, α)                                       (Eq. 1: clip(x, 0, α), profile ``original``)
        y_q = α·(2·quantize_k((y/α + 1)/2) - 1)                    (Eq. 2: round(y·(2^k - 1)/α)·α/(2^k - 1))

    Backward (Eq. 3, with the lower bound for both signs):

        ∂y_q/∂x = 1 where -α < x < α, else 0          ∂y_q/∂α = 1 where x ≥ α, -1 where x ≤ -α, else 0

    In profile ``original`` ∂y_q/∂x = 1 where 0 ≤ x < α. The loss has the paper's L2 penalty: `decay`·α is added
    to the gradient of α, which is that of decay/2·α². α starts at the largest magnitude of the first training
    batch: large enough to clip nothing, as in the paper, whatever the range of the layer's input.

    Args:
        bits: of weights and activations, 2 to 16.
        decay: strength of the penalty on α; the paper uses the weight decay of its networks.
    """

    title = "PACT"
    paper = (
        "Choi et al., PACT: Parameterized Clipping Activation for Quantized Neural Networks, 2018 (arXiv:1805.06085)"
    )
    formula = (
        r"y_q = \mathrm{round}\left(\mathrm{clip}(x, 0, \alpha)\,\tfrac{2^k-1}{\alpha}\right)\tfrac{\alpha}{2^k-1}"
    )
    techniques = Techniques(
        activation_scale="learned clip",
        weight_redistribution="tanh, divided by its maximum",
        activation_gradient="PACT",
    )

    def __init__(self, spec: LayerSpec, *, bits: int = LOWEST, decay: float = 1e-4, profile: str = "default") -> None:
        super().__init__(spec, bits=bits, profile=profile)
        if not isinstance(decay, int | float) or not 0 <= decay < 1:
            raise BiBenchError(f"operator 'pact': decay must be a number in [0, 1), got {decay!r}")
        self.decay = float(decay)
        self.alpha = nn.Parameter(torch.ones(()))
        self.first_batch = FirstBatch()

    @property
    def bound(self) -> Tensor:
        """α, kept positive."""
        return self.alpha.abs().clamp_min(torch.finfo(torch.float32).eps)

    def quantize_activation(self, x: Tensor) -> Tensor:
        x = exact(x)
        if self.training:
            self.first_batch(x, lambda x: x.abs().amax(), self.alpha)
        bound: Tensor = _Decayed.apply(self.bound, self.decay)
        quantized: Tensor = _Clipped.apply(x, bound.to(x.dtype), self.steps, self.signed)
        return quantized

    def inference_form(self, w: Tensor) -> InferenceForm:
        with torch.no_grad():
            step = self.bound / self.steps
            return InferenceForm(
                weight=self.quantize_weight(w) * self.steps,
                channel_scale=per_layer(step / self.steps, self.spec, w),
                activation_step=(2 if self.signed else 1) * step,
            )


class _Clipped(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, bound: Tensor, steps: int, signed: bool) -> Tensor:
        share = x / bound
        levels = to_signed_levels(share.clamp(-1, 1), steps) if signed else to_levels(share.clamp(0, 1), steps)
        return bound * levels

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, bound, _, ctx.signed = inputs
        ctx.save_for_backward(x, bound)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, bound = ctx.saved_tensors
        above = x >= bound
        below = (x <= -bound) if ctx.signed else (x < 0)
        clipped = above.to(grad.dtype)
        if ctx.signed:
            clipped = clipped - below.to(grad.dtype)
        return grad * ~(above | below), (grad * clipped).sum(), None, None


class _Decayed(torch.autograd.Function):
    """The value itself; its gradient is that of the loss plus decay/2 times its square."""

    generate_vmap_rule = True

    @staticmethod
    def forward(value: Tensor, decay: float) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        value, ctx.decay = inputs
        ctx.save_for_backward(value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (value,) = ctx.saved_tensors
        return grad + ctx.decay * value, None
