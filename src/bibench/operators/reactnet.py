"""ReActNet's operator (Liu et al., ECCV 2020): RSign, a learned threshold per input channel.

https://arxiv.org/abs/2003.03488
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from bibench.operators.base import Operator, channel_mean_abs, operator
from bibench.operators.description import Signs
from bibench.operators.method import Techniques
from bibench.spec import LayerSpec
from bibench.surrogate import Polynomial


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

    def activation_shift(self) -> Tensor:
        return self.shift

    def scale(self, w: Tensor) -> Tensor:
        return channel_mean_abs(w)

    def activation_signs(self) -> Signs:
        signs = super().activation_signs()
        if not (self.profile == "bibench" and self.spec.kind == "linear"):
            return signs

        def unshifted(x: Tensor) -> Tensor:  # the release's linear layer: value of sign(x), gradient at x + b
            plain = signs.plain(x)
            return plain + (torch.sign(x) - plain).detach()

        return replace(signs, quantized=unshifted)
