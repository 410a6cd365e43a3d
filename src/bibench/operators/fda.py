"""FDA (Xu et al., "Learning Frequency Domain Approximation for Binary Neural Networks", NeurIPS 2021).

https://arxiv.org/abs/2103.00841
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import Tensor

from bibench.noise import Noise, noisy_activations, noisy_filters
from bibench.operators.base import Operator, channel_mean_abs, operator
from bibench.operators.description import Signs
from bibench.operators.method import Techniques
from bibench.spec import LayerSpec
from bibench.surrogate import Fourier

N_START, N_GROWTH = 9, 9
NOISE_START = 0.05


@operator("fda")
class FDA(Operator):
    """Fourier-series gradient for both; in training a decaying noise module adapts the signs (Eq. 30-31).

    Training uses sign(x) + α_t (ReLU(x W₁) W₂ + 0.1 sin x); α_t falls from about 0.1 to exactly 0 in
    the last interval, n grows from 9 to 17. Evaluation and export have neither: what remains is DoReFa.

    Args:
        noise: use the noise adaptation modules.
        omega: the series' base frequency ω.
        first_lobe: clip the gradient at its first zero, so that it is never negative (n ≥ 15).
    """

    title = "FDA"
    paper = "Xu et al., Learning Frequency Domain Approximation for BNNs, NeurIPS 2021 (arXiv:2103.00841)"
    formula = r"o = \alpha \odot (\mathrm{sign}(a) \circledast \mathrm{sign}(w)),\quad \alpha_c = \tfrac1n\|w_c\|_1"
    techniques = Techniques(
        "statistics by channel", weight_gradient="Fourier series", activation_gradient="Fourier series"
    )
    profiles = {
        "original": "one scale per layer",
        "bibench": "sign(0) = 0; noise modules are never trained, also act in evaluation, and are empty "
        "where the width is below 64",
    }

    def __init__(
        self,
        spec: LayerSpec,
        *,
        profile: str = "default",
        noise: bool = True,
        omega: float = 0.1,
        first_lobe: bool = False,
    ) -> None:
        super().__init__(spec, profile=profile)
        self.omega, self.first_lobe, trained = omega, first_lobe, profile != "bibench"
        self.activation_noise = Noise(spec.in_channels, trained) if noise else None
        self.weight_noise = Noise(spec.fan_in, trained) if noise else None
        self.progress(0.0, 0.0)

    def progress(self, t: float, dt: float) -> None:
        terms = N_START + math.floor(N_GROWTH * t)
        self.activation_estimator = self.weight_estimator = Fourier(terms, self.omega, first_lobe=self.first_lobe)
        self.noise_scale = max(0.0, NOISE_START * (1 + math.cos(math.pi * min(1.0, t + dt))))

    def activation_signs(self) -> Signs:
        quantize = partial(noisy_activations, spec=self.spec)
        return self._noisy(super().activation_signs(), self.activation_noise, quantize)

    def weight_signs(self) -> Signs:
        return self._noisy(super().weight_signs(), self.weight_noise, noisy_filters)

    def scale(self, w: Tensor) -> Tensor:
        alpha = channel_mean_abs(w)
        return alpha.mean().expand_as(alpha) if self.profile == "original" else alpha

    def _noisy(self, signs: Signs, noise: Noise | None, quantize: Callable[..., Tensor]) -> Signs:
        """`signs` with the noise of this point of training, if there is any."""
        acts = self.noise_scale > 0 and (self.training or self.profile == "bibench")
        if noise is None or not acts:
            return signs
        how = {"down": noise.down, "up": noise.up, "amount": self.noise_scale, "ternary": signs.ternary}
        # With noise there are no integers to be kept: to scale the weights saves a pass over the output.
        noisy = partial(quantize, surrogate=signs.estimator, **how)
        return replace(signs, quantized=noisy, scale_first=not signs.ternary)
