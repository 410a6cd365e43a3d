"""XNOR-Net (Rastegari et al., ECCV 2016): statistical scales of weights and activations.

https://arxiv.org/abs/1603.05279
"""

import math
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from bibench import native
from bibench.operators.base import (
    InferenceForm,
    Operator,
    Techniques,
    channel_mean_abs,
    choice,
    operator,
)
from bibench.rows import as_rows, mean_magnitudes
from bibench.spec import LayerSpec
from bibench.surrogate import sign


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

    def output_pixels(self, x: Tensor) -> Tensor | None:
        if self.act_scale == "none":
            return None
        return activation_scale(x.detach(), self.spec, self.act_scale)

    def output(self, y: Tensor, x: Tensor) -> Tensor:
        factor = self.output_pixels(x) if self.profile == "bibench" else None
        return super().output(y, x) if factor is None else y + (y * factor - y).detach()

    @property
    def plain_slots(self) -> bool:
        cls = type(self)
        return cls.activation is Operator.activation and cls.output is XNOR.output and self.profile != "bibench"

    @property
    def scheduled(self) -> bool:
        return self.profile == "original"

    def constrain_(self, w: Tensor) -> None:
        if self.profile == "original":
            w.sub_(w.mean(1, keepdim=True)).clamp_(-1, 1)

    def inference_form(self, w: Tensor) -> InferenceForm:
        kind = "token" if self.spec.kind == "linear" and self.act_scale == "spatial" else self.act_scale
        with torch.no_grad():
            return InferenceForm(
                weight=sign(self.weight(w)),
                channel_scale=self.scale(w),
                activation_scale=None if kind == "none" else kind,  # type: ignore[arg-type]
            )


def activation_scale(x: Tensor, spec: LayerSpec, form: str) -> Tensor:
    """The factor K that multiplies a layer's output, from its input `x` (see `XNOR`)."""
    if form == "sample":
        return mean_magnitudes(as_rows(x)).reshape(-1, *(1,) * (x.dim() - 1))
    plain = spec.kind == "conv2d" and spec.groups == 1 and spec.padding_mode == "zeros"
    if plain and native.serves(x) and native.same_memory(x) and x.numel():
        return native.box_means(x, spec)
    last = x.movedim(-1 - spec.spatial_axes, -1)  # (…, C_i)
    by_group = last.unflatten(-1, (spec.groups, -1))
    mean = mean_magnitudes(by_group.flatten(0, -2)).reshape(by_group.shape[:-1])
    if spec.kind == "linear":
        return mean
    filtered = box_filter(spec.pad(mean.movedim(-1, 1), 0.0), spec)
    return filtered if spec.groups == 1 else filtered.repeat_interleave(spec.out_channels // spec.groups, 1)


def box_filter(x: Tensor, spec: LayerSpec) -> Tensor:
    """Mean over the layer's window at every output position of the padded `x`, axis by axis."""
    for axis in range(-spec.spatial_axes, 0):
        size, step, gap = spec.kernel_size[axis], spec.stride[axis], spec.dilation[axis]
        end = x.shape[axis] - gap * (size - 1)
        taps = (x.narrow(axis, gap * tap, end) for tap in range(size))
        every: Any = (..., slice(None, None, step), *(slice(None),) * (-1 - axis))
        x = reduce(torch.add, (tap[every] for tap in taps))
    return x / math.prod(spec.kernel_size)
