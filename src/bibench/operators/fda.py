"""FDA (Xu et al., "Learning Frequency Domain Approximation for Binary Neural Networks", NeurIPS 2021).

https://arxiv.org/abs/2103.00841
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from bibench.noise import noisy_activations, noisy_filters
from bibench.operators.base import Operator, Techniques, channel_mean_abs, operator
from bibench.spec import LayerSpec
from bibench.surrogate import Fourier, Surrogate

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
        weight_scale="statistics by channel",
        weight_gradient="Fourier series",
        activation_gradient="Fourier series",
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
        self.omega = omega
        self.first_lobe = first_lobe
        trained = profile != "bibench"
        self.activation_noise = Noise(spec.in_channels, trained) if noise else None
        self.weight_noise = Noise(spec.fan_in, trained) if noise else None
        self.progress(0.0, 0.0)

    def progress(self, t: float, dt: float) -> None:
        estimator = Fourier(N_START + math.floor(N_GROWTH * t), self.omega, first_lobe=self.first_lobe)
        self.activation_estimator = estimator
        self.weight_estimator = estimator
        self.noise_scale = max(0.0, NOISE_START * (1 + math.cos(math.pi * min(1.0, t + dt))))

    def quantize_activation(self, x: Tensor) -> Tensor:
        if not self._noisy() or self.activation_noise is None:
            return super().quantize_activation(x)
        return noisy_activations(x, self.spec, *self._noise(self.activation_noise, self.activation_estimator))

    def quantize_weight(self, w: Tensor) -> Tensor:
        if not self._noisy() or self.weight_noise is None:
            return super().quantize_weight(w)
        return noisy_filters(w, *self._noise(self.weight_noise, self.weight_estimator))

    def _noise(self, noise: Noise, estimator: Surrogate) -> tuple[Tensor, Tensor, float, Surrogate, bool]:
        return noise.down, noise.up, self.noise_scale, estimator, self.ternary

    @property
    def exact_signs(self) -> bool:
        return not self.ternary and not (self._noisy() and self.activation_noise is not None)

    @property
    def scale_first(self) -> bool:  # type: ignore[override]
        """With noise there are no integers to be kept: to scale the weights saves a pass over the output."""
        return not self.exact_signs and not self.ternary

    def scale(self, w: Tensor) -> Tensor:
        alpha = channel_mean_abs(w)
        return alpha.mean().expand_as(alpha) if self.profile == "original" else alpha

    def _noisy(self) -> bool:
        return self.noise_scale > 0 and (self.training or self.profile == "bibench")


class Noise(nn.Module):
    """W₁ and W₂ (transposed) of `bibench.noise` for vectors of `width` d; hidden width ⌊d/64⌋ (⌊d/4⌋ if d < 64)."""

    def __init__(self, width: int, trained: bool) -> None:
        super().__init__()
        hidden = width // 64 if width >= 64 else max(1, width // 4)
        if not trained and width < 64:
            hidden = 0  # the release's integer division: an empty, silent module
        self.down = nn.Parameter(torch.empty(hidden, width), requires_grad=trained)
        self.up = nn.Parameter(torch.empty(width, hidden), requires_grad=trained)
        for matrix in (self.down, self.up):
            if matrix.numel():
                nn.init.kaiming_uniform_(matrix, a=math.sqrt(5))  # nn.Linear's own
