"""XNOR-Net++ (Bulat & Tzimiropoulos, BMVC 2019): learned scales along channels, rows and columns.

https://arxiv.org/abs/1909.13863
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.errors import UnsupportedError
from bibench.operators.base import Operator, channel_mean_abs, operator
from bibench.operators.description import Along, Description
from bibench.operators.method import Techniques, choice
from bibench.spec import LayerSpec

RELEASE_LENGTH = 2000


@operator("xnorpp")
class XNORPlusPlus(Operator):
    """o = Γ ⊙ (sign(a) ⊛ sign(w)), Γ = α ⊗ β ⊗ γ learned (Eq. 17-18); linear layers have α alone.

    α has shape (C_o,), β and γ the traced output map's (H_o,) and (W_o,). Another map size reads
    them by linear interpolation.

    Args:
        scale_init: ``paper`` (ones) or ``weight`` (α = mean|w_c| of the weight at conversion, which
            keeps the output of an unnormalised pretrained layer in range).
    """

    title = "XNOR-Net++"
    paper = "Bulat & Tzimiropoulos, XNOR-Net++, BMVC 2019 (arXiv:1909.13863)"
    formula = (
        r"o = \Gamma \odot (\mathrm{sign}(a) \circledast \mathrm{sign}(w)),"
        r"\quad \Gamma = \alpha \otimes \beta \otimes \gamma"
    )
    techniques = Techniques(weight_scale="learned, custom size (o×1×1, 1×h×1, 1×1×w)")
    profiles = {"bibench": f"sign(0) = 0; β and γ have {RELEASE_LENGTH} entries, of which the map uses the first"}

    def __init__(self, spec: LayerSpec, *, profile: str = "default", scale_init: str = "paper") -> None:
        super().__init__(spec, profile=profile)
        self.scale_init = choice("scale_init", scale_init, ("paper", "weight"))
        lengths = spec.output_spatial
        if len(lengths) != spec.spatial_axes:
            raise UnsupportedError(
                f"operator 'xnorpp' sizes its scales by the output map of layer {spec.name!r}, which is "
                "unknown: give example_inputs that reach the layer"
            )
        if profile == "bibench":
            if any(n > RELEASE_LENGTH for n in lengths):
                raise UnsupportedError(f"the release supports maps up to {RELEASE_LENGTH}, got {lengths}")
            lengths = (RELEASE_LENGTH,) * len(lengths)
        self.alpha = nn.Parameter(torch.ones(spec.out_channels))
        self.axis_scales = nn.ParameterList(torch.ones(n) for n in lengths)

    def reset_parameters(self, w: Tensor) -> None:
        if self.scale_init == "weight":
            self.alpha.copy_(channel_mean_abs(w))

    def describe(self, w: Tensor) -> Description:
        return replace(super().describe(w), gamma=Along(self.alpha, self._axis_scales, self.spec))

    def _axis_scales(self, sizes: tuple[int, ...]) -> list[Tensor]:
        return [
            values[:size] if self.profile == "bibench" else _resize(values, size)
            for values, size in zip(self.axis_scales, sizes, strict=True)
        ]


def _resize(values: Tensor, size: int) -> Tensor:
    if values.numel() == size:
        return values
    return F.interpolate(values[None, None], size=size, mode="linear", align_corners=False)[0, 0]
