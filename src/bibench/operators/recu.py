"""ReCU (Xu et al., ICCV 2021): standardized weights, clamped at a quantile that widens in training.

https://arxiv.org/abs/2103.12369
"""

import math

import torch
from torch import Tensor, nn

from bibench.operators.base import (
    InferenceForm,
    Operator,
    Techniques,
    channel_mean_abs,
    choice,
    operator,
)
from bibench.spec import LayerSpec
from bibench.surrogate import IDENTITY, Polynomial, sign

EPS = 1e-5
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
    activation_estimator = Polynomial()
    weight_estimator = IDENTITY

    def __init__(self, spec: LayerSpec, *, profile: str = "default", scale_init: str = "paper") -> None:
        super().__init__(spec, profile=profile)
        self.scale_init = choice("scale_init", scale_init, ("paper", "weight"))
        self.alpha = nn.Parameter(torch.rand(spec.out_channels))
        self.tau = TAU_START

    def reset_parameters(self, w: Tensor) -> None:
        if self.scale_init == "weight":
            self.alpha.copy_(channel_mean_abs(w))

    def progress(self, t: float, dt: float) -> None:
        self.tau = tau_at(t)

    def activation(self, x: Tensor) -> Tensor:
        if not self.training:
            return x  # a positive factor moves no sign
        axes = (-1,) if self.spec.kind == "linear" else tuple(range(-1 - self.spec.spatial_axes, 0))
        count = math.prod(x.shape[a] for a in axes)
        return x / (x.var(axes, correction=min(1, max(count - 1, 0)), keepdim=True) + EPS).sqrt()

    def weight(self, w: Tensor) -> Tensor:
        standard = standardize(w)
        quantile = standard.detach().abs().mean() * -math.log(2 - 2 * self.tau)
        return _Clamp.apply(standard, quantile)

    def scale(self, w: Tensor) -> Tensor:
        return self.alpha

    def inference_form(self, w: Tensor) -> InferenceForm:
        with torch.no_grad():
            return InferenceForm(sign(standardize(w)), channel_scale=self.alpha.detach())


class _Clamp(torch.autograd.Function):
    """clamp(x, -q, q) whose gradient passes only where |x| < q (torch's own passes at the bound)."""

    @staticmethod
    def forward(x: Tensor, q: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(x, -q), q)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        x, q = ctx.saved_tensors
        return grad * (x.abs() < q), None


def tau_at(t: float) -> float:
    """τ at progress t: 0.85 at t = 0, growing exponentially to 0.99 at t = 1."""
    a = (TAU_END - TAU_START) / (math.e - 1)
    return a * math.exp(t) + TAU_START - a


def standardize(w: Tensor) -> Tensor:
    """ŵ: each filter centred and scaled to standard deviation 2√2 (a Laplace of scale b = 2)."""
    flat = w.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    correction = 1 if flat.shape[1] > 1 else 0  # a one-element filter has no unbiased variance
    deviation = (centred.var(1, correction=correction, keepdim=True) + EPS).sqrt()
    return (centred * (2 * math.sqrt(2)) / deviation).reshape(w.shape)
