"""DoReFa-Net at k bits (Zhou et al., 2016).

https://arxiv.org/abs/1606.06160
"""

from __future__ import annotations

import torch
from torch import Tensor

from bibench.comparators.uniform import UniformQuantizer, clip, per_layer, to_levels, to_signed_levels
from bibench.operators import InferenceForm, Techniques, operator
from bibench.spec import exact


class SquashedWeights(UniformQuantizer):
    """Weights of quantizers that take DoReFa-Net's (Eq. 9): squeezed by tanh into [-1, 1]."""

    def weight(self, w: Tensor) -> Tensor:
        return squashed(w)

    def quantize_weight(self, w: Tensor) -> Tensor:
        return to_signed_levels(self.weight(w), self.steps)


@operator("dorefa_k")
class DoReFaK(SquashedWeights):
    r"""Weights squeezed by tanh, activations clipped to a fixed range, both to 2^k equally spaced levels.

    With quantize_k(r) = round((2^k - 1)·r)/(2^k - 1) and gradient 1 through the rounding (Eq. 5-6):

        w_q = 2·quantize_k(tanh(w)/(2·max|tanh(w)|) + 1/2) - 1     in [-1, 1]                     (Eq. 9)
        a_q = 2·quantize_k((clip(a, -1, 1) + 1)/2) - 1             in [-1, 1], gradient where |a| ≤ 1

    The maximum is over the layer and has its gradient too. In profile ``original`` a_q = quantize_k(clip(a, 0, 1))
    (Eq. 11), with gradient where 0 ≤ a ≤ 1. With one bit the first form is ±1, BiBench's `dorefa` without its
    scale. Outputs have no scale: what follows must be a norm.

    Args:
        bits: of weights and activations, 2 to 16.
    """

    title = "DoReFa, k bits"
    paper = "Zhou et al., DoReFa-Net, 2016 (arXiv:1606.06160)"
    formula = r"w_q = 2\,\mathrm{quantize}_k\left(\tfrac{\tanh w}{2\max|\tanh w|} + \tfrac12\right) - 1"
    techniques = Techniques(weight_redistribution="tanh, divided by its maximum")

    def quantize_activation(self, x: Tensor) -> Tensor:
        x = exact(x)
        if self.signed:
            return to_signed_levels(clip(x, -1, 1), self.steps)
        return to_levels(clip(x, 0, 1), self.steps)

    def inference_form(self, w: Tensor) -> InferenceForm:
        with torch.no_grad():
            return InferenceForm(
                weight=self.quantize_weight(w) * self.steps,
                channel_scale=per_layer(1 / self.steps**2, self.spec, w),
                activation_step=w.new_tensor((2 if self.signed else 1) / self.steps),
            )


def squashed(w: Tensor) -> Tensor:
    """tanh(w)/max|tanh(w)|, in [-1, 1]; zeros stay zeros."""
    t = torch.tanh(w)
    largest = t.abs().amax()
    return t / torch.where(largest > 0, largest, 1)
