"""LSQ: learned step size quantization (Esser et al., ICLR 2020).

https://arxiv.org/abs/1902.08153
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from bibench.comparators.first_batch import FirstBatch
from bibench.comparators.uniform import LOWEST, UniformQuantizer, per_layer
from bibench.operators import InferenceForm, Techniques, operator
from bibench.spec import LayerSpec, exact

SMALLEST = 1e-12
"""The least step; what is divided by it stays finite."""


class Step(nn.Module):
    """A learned step s = unit·step of one tensor, positive. `low` and `high`: the levels are s·{-low … high}.

    The recipes of the benchmark train with Adam, whose updates have the size of the learning rate whatever
    the gradient: learning s itself, a rate of 0.001 would move an 8-bit step of 0.005 by a fifth each time.
    So by default `step` starts at 1 and `unit` is the initial step: s is learned in units of its start.
    With `relative` False `unit` is 1 and `step` is s, as in the paper, which trains with SGD.
    """

    unit: Tensor

    def __init__(self, low: int, high: int, relative: bool) -> None:
        super().__init__()
        self.low, self.high, self.relative = low, high, relative
        start = 1 / math.sqrt(high)  # 2⟨|v|⟩/√Q_P of values spread evenly over [-1, 1]
        self.step = nn.Parameter(torch.tensor(1.0 if relative else start))
        self.register_buffer("unit", torch.tensor(start if relative else 1.0))

    @property
    def initial(self) -> Tensor:
        """The tensor that holds the initial step."""
        return self.unit if self.relative else self.step

    def estimate(self, v: Tensor) -> Tensor:
        """2⟨|v|⟩/√Q_P, the paper's initial step (section 2.1)."""
        return 2 * v.abs().mean() / math.sqrt(self.high)

    @property
    def value(self) -> Tensor:
        """s."""
        return (self.unit * self.step).abs().clamp_min(SMALLEST)

    def forward(self, v: Tensor, count: int) -> Tensor:
        """v̂ of `v`; `count` is N of the gradient's scale."""
        scale = 1 / math.sqrt(max(1, count) * self.high)
        quantized: Tensor = _Quantized.apply(v, self.value.to(v.dtype), self.low, self.high, scale)
        return quantized


@operator("lsq")
class LSQ(UniformQuantizer):
    r"""One learned step for the weights of a layer, one for its activations.

        v̄ = round(clip(v/s, -Q_N, Q_P)),     v̂ = v̄·s                                        (Eq. 1-2)

        ∂v̂/∂s = -v/s + round(v/s) where -Q_N < v/s < Q_P;  -Q_N below;  Q_P above           (Eq. 3)
        ∂v̂/∂v = 1 where -Q_N < v/s < Q_P, else 0                                            (Eq. 5)

    The gradient of s is multiplied by g = 1/√(N·Q_P), N the weights of the layer or the inputs of one example
    (section 2.2). Weights, and activations by default, are signed: Q_N = 2^(k-1), Q_P = 2^(k-1) - 1. Steps start
    at 2⟨|v|⟩/√Q_P, those of activations at that of the first training batch. They are learned in units of their
    start, see `Step`. Profile ``original`` learns s itself and has unsigned activations: Q_N = 0, Q_P = 2^k - 1.

    Args:
        bits: of weights and activations, 2 to 16.
    """

    title = "LSQ"
    paper = "Esser et al., Learned Step Size Quantization, ICLR 2020 (arXiv:1902.08153)"
    formula = r"\hat v = \mathrm{round}(\mathrm{clip}(v/s, -Q_N, Q_P))\cdot s"
    techniques = Techniques(
        weight_scale="learned by layer", activation_scale="learned by layer", activation_gradient="STE, learned step"
    )
    profiles = {"original": "steps learned as they are; activations quantized from 0 upwards, as after a ReLU"}

    def __init__(self, spec: LayerSpec, *, bits: int = LOWEST, profile: str = "default") -> None:
        super().__init__(spec, bits=bits, profile=profile)
        half, relative = 2 ** (bits - 1), profile == "default"
        self.weights = Step(half, half - 1, relative)
        self.activations = Step(half, half - 1, relative) if self.signed else Step(0, 2**bits - 1, relative)
        self.first_batch = FirstBatch()

    def reset_parameters(self, w: Tensor) -> None:
        self.weights.initial.copy_(self.weights.estimate(w))

    def quantize_weight(self, w: Tensor) -> Tensor:
        quantized: Tensor = self.weights(w, w.numel())
        return quantized

    def quantize_activation(self, x: Tensor) -> Tensor:
        step, x = self.activations, exact(x)
        if self.training:
            self.first_batch(x, step.estimate, step.initial)
        quantized: Tensor = step(x, math.prod(x.shape[1:]))
        return quantized

    def inference_form(self, w: Tensor) -> InferenceForm:
        with torch.no_grad():
            product = self.weights.value * self.activations.value
            return InferenceForm(
                weight=self.quantize_weight(w) / self.weights.value,
                channel_scale=per_layer(product, self.spec, w),
                activation_step=self.activations.value,
            )


class _Quantized(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, s: Tensor, low: int, high: int, scale: float) -> Tensor:
        return (v / s).clamp(-low, high).round() * s

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        v, s, *ctx.constants = inputs
        ctx.save_for_backward(v, s)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (v, s), (low, high, scale) = ctx.saved_tensors, ctx.constants
        ratio = v / s
        inside = (ratio > -low) & (ratio < high)
        of_step = torch.where(inside, ratio.round() - ratio, ratio.clamp(-low, high))
        return grad * inside, (grad * of_step).sum() * scale, None, None, None
