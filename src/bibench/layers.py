"""Binarized layers: subclasses of the float layers that ask their operator how to compute.

`nn.Conv1d`, `nn.Conv2d` and `nn.Linear` become binarized in place, by a change of class: parameters,
hooks, device and state-dict keys stay; the operator's own parameters live under ``operator.``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bibench.operators.base import Operator
from bibench.spec import LayerSpec, convolve


class BinaryLayer(nn.Module):
    """What the binarized layers share. `operator` computes, `spec` describes the layer."""

    operator: Operator
    spec: LayerSpec
    weight: Tensor
    bias: Any
    _informed: bool

    @classmethod
    def convert_(cls, module: nn.Module, operator: Operator) -> None:
        """Make the float layer `module` a binarized one, in place."""
        module.__class__ = cls
        module.operator = operator
        module.spec = operator.spec  # type: ignore[assignment]
        module._informed = not operator.scheduled  # type: ignore[assignment]
        operator.train(module.training)

    def forward(self, x: Tensor) -> Tensor:
        op, spec = self.operator, self.spec
        if op.full_precision:
            return super().forward(x)
        if spec.spatial_axes and x.dim() == spec.spatial_axes + 1:  # no batch axis
            return self.forward(x.unsqueeze(0)).squeeze(0)
        if x.shape[-1 - spec.spatial_axes] != spec.in_channels:
            raise ValueError(
                f"layer {spec.name!r} ({spec.kind}) expects {spec.in_channels} input channels, "
                f"got an input of shape {tuple(x.shape)}"
            )
        if self.training and not self._informed:
            self._warn_uninformed()
        activation = op.quantize_activation(x)
        weight = op.quantize_weight(self.weight)
        y = scaled_product(activation, weight, op.scale(self.weight), spec, op.scale_in_weight_gradient)
        y = op.output(y, x)
        if self.bias is not None:
            y = y + spec.per_output(self.bias)
        return y.to(x.dtype)

    def _warn_uninformed(self) -> None:
        self._informed = True
        warnings.warn(
            f"operator {self.operator.name!r} follows a schedule but was not told the training's progress; "
            "call bibench.progress(model, t, dt) before every step, with t = done/total in [0, 1)",
            stacklevel=3,
        )


class BinaryConv1d(BinaryLayer, nn.Conv1d):
    """Binarized `nn.Conv1d`: (B, C_i, L) → (B, C_o, L_o)."""


class BinaryConv2d(BinaryLayer, nn.Conv2d):
    """Binarized `nn.Conv2d`: (B, C_i, H, W) → (B, C_o, H_o, W_o)."""


class BinaryLinear(BinaryLayer, nn.Linear):
    """Binarized `nn.Linear`: (..., I) → (..., O)."""


BINARY_LAYERS: dict[type[nn.Module], type[BinaryLayer]] = {
    nn.Conv1d: BinaryConv1d,
    nn.Conv2d: BinaryConv2d,
    nn.Linear: BinaryLinear,
}


def product(activation: Tensor, weight: Tensor, spec: LayerSpec) -> Tensor:
    """The integer dot products of ±1 values, with the layer's padding *after* the sign.

    Computed in float32 (float64 for float64 layers) even under autocast: sums of ±1 are exact there
    up to 2^24 terms, and not in 16 bits.
    """
    padded, padding = spec.padded(_exact(activation))
    with torch.autocast(activation.device.type, enabled=False):
        return convolve(padded, _exact(weight), spec, padding)


def scaled_product(
    activation: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    spec: LayerSpec,
    scale_in_weight_gradient: bool = False,
) -> Tensor:
    """`product` times the scale per output channel, with the operator's convention for gradients.

    A scale that requires grad follows the product rule (so does any with `scale_in_weight_gradient`).
    Any other is a statistic of the weight: the gradient is that of the product with the weight
    scale·w_b, taken with respect to the scaled weight, so the scale does not multiply it.
    """
    if scale is None:
        return product(activation, weight, spec)
    if scale.requires_grad or scale_in_weight_gradient or not weight.requires_grad:
        return product(activation, weight, spec) * spec.per_output(scale)
    padded, padding = spec.padded(_exact(activation))
    return _StatisticalScale.apply(padded, _exact(weight), scale, spec, padding)


class _StatisticalScale(torch.autograd.Function):
    """Forward scale · (a ⊛ w), the integer product first; backward as of a ⊛ (scale·w)."""

    @staticmethod
    def forward(a: Tensor, w: Tensor, scale: Tensor, spec: LayerSpec, padding: tuple[int, ...]) -> Tensor:
        with torch.autocast(a.device.type, enabled=False):
            return convolve(a, w, spec, padding) * spec.per_output(scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.spec, ctx.padding = inputs[3:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, w, scale = ctx.saved_tensors
        scaled = w * scale.reshape(-1, *(1,) * (w.dim() - 1))
        with torch.autocast(a.device.type, enabled=False):
            grads = product_gradients(grad, a, scaled, ctx.spec, ctx.padding, ctx.needs_input_grad[:2])
        return *grads, None, None, None


def product_gradients(
    grad: Tensor,
    a: Tensor,
    w: Tensor,
    spec: LayerSpec,
    padding: tuple[int, ...],
    needed: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of ``convolve(a, w, spec, padding)`` with respect to a and w (None where not needed)."""
    if spec.kind == "linear":
        rows = grad.reshape(-1, spec.out_channels)
        grad_w = rows.T @ a.reshape(-1, spec.in_channels) if needed[1] else None
        return grad @ w if needed[0] else None, grad_w
    axes = spec.spatial_axes
    grad_a, grad_w, _ = torch.ops.aten.convolution_backward(
        grad, a, w, None, spec.stride, padding, spec.dilation, False, (0,) * axes, spec.groups, (*needed, False)
    )
    return grad_a, grad_w


def _exact(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def binary_layers(model: nn.Module) -> Iterator[tuple[str, BinaryLayer]]:
    """Name and module of every binarized layer of `model` (each module once)."""
    for name, module in model.named_modules():
        if isinstance(module, BinaryLayer):
            yield name, module


def progress(model: nn.Module, t: float, dt: float) -> None:
    """Tell every operator of `model` how far training is; call it before each training step.

    Args:
        t: training done, in [0, 1): step / total steps, or epoch / epochs to move once an epoch.
        dt: how far `t` will have moved at the next change (1 / total steps, or 1 / epochs).
    """
    if not 0 <= t < 1 or not 0 <= dt <= 1:
        raise ValueError(f"progress expects t in [0, 1) and dt in [0, 1]; got t={t!r}, dt={dt!r}")
    for _, layer in binary_layers(model):
        layer.operator.progress(t, dt)
        layer._informed = True
    constrain_(model)


@torch.no_grad()
def constrain_(model: nn.Module) -> None:
    """Apply every operator's constraint to its latent weight, as after an optimizer step."""
    for _, layer in binary_layers(model):
        layer.operator.constrain_(layer.weight)
