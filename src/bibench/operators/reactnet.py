"""ReActNet's operator (Liu et al., ECCV 2020): RSign, a learned threshold per input channel.

https://arxiv.org/abs/2003.03488
"""

import torch
from torch import Tensor, nn

from bibench.operators.base import (
    InferenceForm,
    Operator,
    Techniques,
    channel_mean_abs,
    operator,
)
from bibench.spec import LayerSpec
from bibench.surrogate import Polynomial, sign


@operator("reactnet")
class ReActNet(Operator):
    """a_b = sign(a + b_i) with b = -α learned, polynomial estimator; weights as DoReFa (Eq. 19-24).

    RPReLU, channel duplication and the distributional loss of the paper are not operators and are left out.
    """

    title = "ReActNet"
    paper = "Liu et al., ReActNet, ECCV 2020 (arXiv:2003.03488)"
    formula = r"o = \alpha \odot (\mathrm{sign}(a + b) \circledast \mathrm{sign}(w)),\quad \alpha_c = \tfrac1n\|w_c\|_1"
    techniques = Techniques(
        weight_scale="statistics by channel",
        activation_redistribution="mean-shifting",
        activation_gradient="piecewise polynomial",
    )
    profiles = {"bibench": "sign(0) = 0; in linear layers the threshold shapes the gradient only"}
    activation_estimator = Polynomial()

    def __init__(self, spec: LayerSpec, *, profile: str = "default") -> None:
        super().__init__(spec, profile=profile)
        self.shift = nn.Parameter(spec.per_input(torch.zeros(spec.in_channels)))
        self._unshifted = profile == "bibench" and spec.kind == "linear"

    def activation_shift(self) -> Tensor:
        return self.shift

    def quantize_activation(self, x: Tensor) -> Tensor:
        quantized = super().quantize_activation(x)
        if self._unshifted:  # the release's linear layer: value of sign(x), gradient at x + b
            return quantized + (torch.sign(x) - quantized).detach()
        return quantized

    @property
    def exact_signs(self) -> bool:
        return not self.ternary  # quantize_activation differs in the release's profile alone

    def scale(self, w: Tensor) -> Tensor:
        return channel_mean_abs(w)

    def inference_form(self, w: Tensor) -> InferenceForm:
        with torch.no_grad():
            threshold = None if self._unshifted else -self.shift.flatten()
            return InferenceForm(sign(w), channel_scale=self.scale(w), threshold=threshold)
