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

from bibench.kernels.products import BACKWARD
from bibench.kernels.spec import LayerSpec
from bibench.nn.computing import Case, compute
from bibench.nn.fx_leaf import make_leaf
from bibench.nn.latent import require_own
from bibench.operators.base import Operator
from bibench.operators.shapes import check_scale


class BinaryLayer(nn.Module):
    """What the binarized layers share. `operator` computes, `spec` describes the layer."""

    operator: Operator
    spec: LayerSpec
    weight: Tensor
    bias: Any
    backward_precision: str = "float32"
    _informed: bool

    @classmethod
    def convert_(cls, module: nn.Module, operator: Operator) -> None:
        """Make the float layer `module` a binarized one, in place.

        Args:
            operator: one that was built for this layer's `LayerSpec`.
        """
        module.__class__ = cls
        module.operator = operator
        module.spec = operator.spec  # type: ignore[assignment]
        module._informed = not operator.scheduled  # type: ignore[assignment]
        operator.train(module.training)
        make_leaf(module)

    def forward(self, input: Tensor) -> Tensor:  # the name in the float layers: it may be given by name
        """The layer's output, (B, C_o, L_o), (B, C_o, H_o, W_o) or (..., O), in the dtype of the input.

        Args:
            input: (B, C_i, L), (B, C_i, H, W) or (..., I), as the float layer takes it; convolutions also
                without batch axis.

        Raises:
            ValueError: another number of input channels than the layer has.
            UnsupportedError: a weight that is no parameter of the layer's own, as a parametrization makes it.
            DefinitionError: a scale of another shape than one factor per output channel.
        """
        x, op, spec = input, self.operator, self.spec
        if op.full_precision:
            return super().forward(x)
        if "weight" not in self._parameters:
            require_own(self)
        if spec.spatial_axes and x.dim() == spec.spatial_axes + 1:  # no batch axis
            return self.forward(x.unsqueeze(0)).squeeze(0)
        if x.shape[-1 - spec.spatial_axes] != spec.in_channels:
            raise ValueError(
                f"layer {spec.name!r} ({spec.kind}) expects {spec.in_channels} input channels, "
                f"got an input of shape {tuple(x.shape)}"
            )
        if self.training and not self._informed:
            self._warn_uninformed()
        return self._compute(x)

    def _compute(self, x: Tensor) -> Tensor:
        """The 1-bit forward, whoever asks for it: `bibench.nn.proving` counts how often."""
        op, spec = self.operator, self.spec
        described = op.describe(self.weight)
        check_scale(op, described.scale)
        y = compute(Case(described, x, self.weight, spec, self.backward_precision))
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


BACKWARD_PRECISIONS = tuple(BACKWARD)


def set_backward_precision(model: nn.Module, precision: str) -> None:
    """How the gradients of all binarized products of `model` are computed; the forward pass is exact in any case.

    ``float32`` (default): PyTorch's float32 products, bit for bit. ``lookup``: float32 sums in another order, by table
    lookup (`bibench.kernels.lookup`), which is faster on processors with AVX-512; elsewhere, and where lookups do not
    serve, as ``float32``. ``bfloat16``: the gradient and the scaled weights rounded to bfloat16, which changes the
    training. See docs/native.md.

    Args:
        precision: ``float32``, ``lookup`` or ``bfloat16``.

    Raises:
        ValueError: any other precision.
    """
    if precision not in BACKWARD_PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(BACKWARD_PRECISIONS)}; got {precision!r}")
    for _, layer in binary_layers(model):
        layer.backward_precision = precision


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

    Raises:
        ValueError: `t` or `dt` lies outside.
    """
    if not 0 <= t < 1 or not 0 <= dt <= 1:
        raise ValueError(f"progress expects t in [0, 1) and dt in [0, 1]; got t={t!r}, dt={dt!r}")
    for _, layer in binary_layers(model):
        layer.operator.progress(t, dt)
        layer._informed = True
    constrain_(model)


@torch.no_grad()
def constrain_(model: nn.Module) -> None:
    """Apply every operator's constraint to its latent weight, as after an optimizer step; frozen weights stay.

    Args:
        model: a binarized one; it is changed in place.
    """
    for _, layer in binary_layers(model):
        if layer.weight.requires_grad:
            layer.operator.constrain_(layer.weight)
