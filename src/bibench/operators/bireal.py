"""Bi-Real Net's operator (Liu et al., ECCV 2018), without its shortcut: a polynomial estimator.

https://arxiv.org/abs/1808.00278
"""

from torch import Tensor

from bibench.operators.base import Operator, channel_mean_abs, operator
from bibench.operators.method import Techniques
from bibench.spec import LayerSpec
from bibench.surrogate import Polynomial


@operator("bireal")
class BiReal(Operator):
    """DoReFa's forward pass; the gradient of activations is the piecewise polynomial of Eq. 16."""

    title = "Bi-Real"
    paper = "Liu et al., Bi-Real Net, ECCV 2018 (arXiv:1808.00278)"
    formula = r"o = \alpha \odot (\mathrm{sign}(a) \circledast \mathrm{sign}(w)),\quad \alpha_c = \tfrac1n\|w_c\|_1"
    techniques = Techniques(weight_scale="statistics by channel", activation_gradient="piecewise polynomial")
    profiles = {
        "original": "the paper's magnitude-aware gradient: the weight's gradient is multiplied by α",
        "bibench": "sign(0) = 0",
    }
    activation_estimator = Polynomial()

    def __init__(self, spec: LayerSpec, *, profile: str = "default") -> None:
        super().__init__(spec, profile=profile)
        self.scale_in_weight_gradient = profile == "original"

    def scale(self, w: Tensor) -> Tensor:
        return channel_mean_abs(w)
