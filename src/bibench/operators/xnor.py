"""XNOR-Net (Rastegari et al., ECCV 2016): statistical scales of weights and activations.

https://arxiv.org/abs/1603.05279
"""

from dataclasses import replace

from torch import Tensor

from bibench.operators.base import Operator, channel_mean_abs, operator
from bibench.operators.description import Description, InputScale
from bibench.operators.method import Techniques, choice
from bibench.spec import LayerSpec


@operator("xnor")
class XNOR(Operator):
    """o = K ⊙ α ⊙ (sign(a) ⊛ sign(w)): α_c = mean|w_c|, K = box filter of the channel mean of |a| (Eq. 14).

    K has shape (B, 1, H_o, W_o), (B, 1, L_o) or (..., 1); with groups each group has its own. It is
    detached and computed from the input at run time.

    Args:
        act_scale: ``spatial`` (K; per token in linear layers), ``sample`` (one scalar per example) or
            ``none`` (the released networks of the authors).
        center: subtract the latent weight's mean before the sign: over the input channels (``cin``),
            over the whole filter (``fan``) or not (``none``).
    """

    title = "XNOR-Net"
    paper = "Rastegari et al., XNOR-Net, ECCV 2016 (arXiv:1603.05279)"
    formula = (
        r"o = K \odot \alpha \odot (\mathrm{sign}(a) \circledast \mathrm{sign}(w)),"
        r"\quad K = \big(\tfrac{1}{C_i}\textstyle\sum_i |a_i|\big) * k"
    )
    techniques = Techniques(weight_scale="statistics by channel", activation_scale="statistics by sub-tensor (K)")
    profiles = {
        "original": "latent weights centred over the input channels and clipped in place before every step; "
        "gradient through α",
        "bibench": "sign(0) = 0; convolutions: one activation scale per sample; linear: rows centred, "
        "2-D inputs only; activation scales are not in the gradient",
    }

    def __init__(
        self,
        spec: LayerSpec,
        *,
        profile: str = "default",
        act_scale: str | None = None,
        center: str | None = None,
    ) -> None:
        super().__init__(spec, profile=profile)
        linear = spec.kind == "linear"
        release = profile == "bibench"
        self.act_scale = choice(
            "act_scale",
            act_scale or ("sample" if release and not linear else "spatial"),
            ("spatial", "sample", "none"),
        )
        self.center = choice("center", center or ("fan" if release and linear else "none"), ("none", "cin", "fan"))

    def weight(self, w: Tensor) -> Tensor:
        if self.center == "none":
            return w
        return w - w.mean(1 if self.center == "cin" else self.spec.fan_axes, keepdim=True)

    def scale(self, w: Tensor) -> Tensor:
        if self.profile == "original":  # differentiable: the paper's gradient has a term through α
            return w.abs().flatten(1).mean(1)
        return channel_mean_abs(self.weight(w))

    def describe(self, w: Tensor) -> Description:
        factor = None if self.act_scale == "none" else InputScale(self.act_scale, self.spec)  # type: ignore[arg-type]
        in_gradient = self.profile != "bibench"
        return replace(super().describe(w), input_scale=factor, input_scale_in_gradient=in_gradient)

    @property
    def scheduled(self) -> bool:
        return self.profile == "original"

    def constrain_(self, w: Tensor) -> None:
        if self.profile == "original":
            w.sub_(w.mean(1, keepdim=True)).clamp_(-1, 1)
