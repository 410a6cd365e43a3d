"""BNN (Courbariaux et al., "Binarized Neural Networks", NeurIPS 2016): the plain sign.

https://arxiv.org/abs/1602.02830
"""

from torch import Tensor

from bibench.kernels.spec import LayerSpec
from bibench.kernels.surrogate import IDENTITY
from bibench.operators.base import Operator, operator


@operator("bnn")
class BNN(Operator):
    """Sign of weights and activations, clipped straight-through gradients, no scale (Eq. 12-13).

    Args:
        clip_latent_weights: clip the latent weights to [-1, 1] after every step, as the original does
            (None: only in the ``original`` profile).
    """

    title = "BNN"
    paper = "Courbariaux et al., Binarized Neural Networks, NeurIPS 2016 (arXiv:1602.02830)"
    formula = r"o = \mathrm{sign}(a) \circledast \mathrm{sign}(w)"
    profiles = {
        "original": "unclipped STE for both and latent weights clipped to [-1, 1] after each step",
        "bibench": "sign(0) = 0",
    }

    def __init__(self, spec: LayerSpec, *, profile: str = "default", clip_latent_weights: bool | None = None) -> None:
        super().__init__(spec, profile=profile)
        original = profile == "original"
        self.clip_latent_weights = original if clip_latent_weights is None else clip_latent_weights
        if original:
            self.activation_estimator = IDENTITY
            self.weight_estimator = IDENTITY

    @property
    def scheduled(self) -> bool:
        return self.clip_latent_weights

    def constrain_(self, w: Tensor) -> None:
        if self.clip_latent_weights:
            w.clamp_(-1, 1)
