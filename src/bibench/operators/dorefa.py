"""DoReFa-Net at one bit (Zhou et al., 2016): sign with a statistical scale per output channel.

https://arxiv.org/abs/1606.06160
"""

from torch import Tensor

from bibench.operators.base import Operator, channel_mean_abs, operator
from bibench.operators.method import Techniques
from bibench.spec import LayerSpec
from bibench.surrogate import IDENTITY


@operator("dorefa")
class DoReFa(Operator):
    """Clipped STE for both; α_c = mean|w_c|, detached (Eq. 15 with k = 1). Activations are ±1."""

    title = "DoReFa"
    paper = "Zhou et al., DoReFa-Net, 2016 (arXiv:1606.06160)"
    formula = r"o = \alpha \odot (\mathrm{sign}(a) \circledast \mathrm{sign}(w)),\quad \alpha_c = \tfrac1n\|w_c\|_1"
    techniques = Techniques(weight_scale="statistics by channel")
    profiles = {
        "original": "one scale per layer and the unclipped STE for weights (activations stay ±1)",
        "bibench": "sign(0) = 0",
    }

    def __init__(self, spec: LayerSpec, *, profile: str = "default") -> None:
        super().__init__(spec, profile=profile)
        if profile == "original":
            self.weight_estimator = IDENTITY

    def scale(self, w: Tensor) -> Tensor:
        alpha = channel_mean_abs(w)
        return alpha.mean().expand_as(alpha) if self.profile == "original" else alpha
