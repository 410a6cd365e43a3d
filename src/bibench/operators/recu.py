"""ReCU (Xu et al., ICCV 2021): standardized weights, clamped at a quantile that widens in training.

https://arxiv.org/abs/2103.12369
"""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from bibench.operators.base import Operator, channel_mean_abs, operator
from bibench.operators.description import Signs
from bibench.operators.method import Techniques, choice
from bibench.rows import BehindScaling, Rectified, Scaling
from bibench.spec import LayerSpec
from bibench.surrogate import IDENTITY, Polynomial, Surrogate

WEIGHTS = Scaling(deviation=2 * math.sqrt(2))
ACTIVATIONS = Scaling(centre=False)
POLYNOMIAL = Polynomial()
TAU_START, TAU_END = 0.85, 0.99


@operator("recu")
class ReCU(Operator):
    """w_b = sign(clamp(ŵ, -Q, Q)) with ŵ balanced and scaled to std 2√2, Q = -b ln(2 - 2τ) (Eq. 25-29).

    The clamp passes gradients only where |ŵ| < Q, which revives dead weights. In training activations
    are divided by their standard deviation per example, which moves the polynomial's window but no
    sign. The scale per output channel is learned.

    Args:
        scale_init: ``paper`` (uniform in [0, 1), as the authors' code) or ``weight`` (mean|w_c| of the
            weight at conversion).
    """

    title = "ReCU"
    paper = "Xu et al., ReCU, ICCV 2021 (arXiv:2103.12369)"
    formula = r"o = \alpha \odot (\mathrm{sign}(a) \circledast \mathrm{sign}(\mathrm{clamp}(\hat w, -Q_\tau, Q_\tau)))"
    techniques = Techniques(
        weight_scale="learned by channel",
        weight_redistribution="balancing (mean-shift) + standardization",
        weight_gradient="rectified clamp unit",
        activation_gradient="piecewise polynomial",
    )
    profiles = {"bibench": "sign(0) = 0"}
    weight_estimator = IDENTITY

    def __init__(self, spec: LayerSpec, *, profile: str = "default", scale_init: str = "paper") -> None:
        super().__init__(spec, profile=profile)
        self.scale_init = choice("scale_init", scale_init, ("paper", "weight"))
        self.alpha = nn.Parameter(torch.rand(spec.out_channels))
        self.tau = TAU_START
        self._standardized = BehindScaling(ACTIVATIONS, POLYNOMIAL, by_token=spec.kind == "linear")

    def reset_parameters(self, w: Tensor) -> None:
        if self.scale_init == "weight":
            self.alpha.copy_(channel_mean_abs(w))

    def progress(self, t: float, dt: float) -> None:
        self.tau = tau_at(t)

    @property
    def activation_estimator(self) -> Surrogate:  # type: ignore[override]
        """The polynomial, in training at the standardized activations; their sign is that of the input."""
        return self._standardized if self.training else POLYNOMIAL

    def weight_signs(self) -> Signs:
        # Q = -b ln(2 - 2τ) with b the layer's mean magnitude.
        return replace(super().weight_signs(), scaling=Rectified(WEIGHTS, -math.log(2 - 2 * self.tau)))

    def scale(self, w: Tensor) -> Tensor:
        return self.alpha


def tau_at(t: float) -> float:
    """τ at progress t: 0.85 at t = 0, growing exponentially to 0.99 at t = 1."""
    a = (TAU_END - TAU_START) / (math.e - 1)
    return a * math.exp(t) + TAU_START - a
