"""Latent weights with weights left out: masks and parametrizations in the place of a parameter, and exact zeros.

A 1-bit weight is +1 or -1 and sign(0) = +1, so a weight that pruning set to 0 would count as +1. `torch.nn.utils.prune`
and the older norms keep the weight as an attribute that a hook computes anew before each forward, parametrizations
(of `torch.nn.utils.parametrize`, which the sparsifiers of `torch.ao` use) as a property of the module's class. Either
takes the parameter itself away, which is what a forward can afford to look at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from bibench.errors import UnsupportedError

PRUNED = "its weight is pruned (mask)"
PARAMETRIZED = "its weight is parametrized"
FEW = 0.01
"""Up to this share of exact zeros a weight is taken for an ordinary one; trained float32 weights have next to none."""


def replaced(module: nn.Module) -> str:
    """Why the weight of `module` is no parameter of its own, as a reason; "" if it is.

    Also where its storage alone is elsewhere: sharded training (FSDP) puts views of its own in the place of parameters.
    """
    if "weight" in module._parameters:
        return ""
    hooks = list(module._forward_pre_hooks.values())
    if any(isinstance(hook, prune.BasePruningMethod) and hook._tensor_name == "weight" for hook in hooks):
        return PRUNED
    if parametrize.is_parametrized(module, "weight"):
        parametrizations: Any = module.parametrizations
        return PRUNED if any("mask" in one._buffers for one in parametrizations["weight"]) else PARAMETRIZED
    normed = any(isinstance(hook, WeightNorm | SpectralNorm) and hook.name == "weight" for hook in hooks)
    return PARAMETRIZED if normed else ""


def refusal(layer: Any) -> str:
    """Why a binarized layer or embedding cannot compute with its weight; "" if it can.

    Operators with a level at 0 can: they leave pruned weights out as they should.
    """
    reason = replaced(layer)
    if not reason or _keeps_zeros(layer):
        return ""
    return (
        f"{reason}, and a 1-bit weight has no 0: what is left out would count as +1. Remove the mask or "
        "parametrization, or apply it before bibench.binarize, which then keeps the layer full precision"
    )


def require_own(layer: Any) -> None:
    """Raise `UnsupportedError` with the `refusal` of a binarized layer or embedding."""
    if reason := refusal(layer):
        name = f"layer {layer.spec.name!r}" if hasattr(layer, "spec") else f"a {type(layer).__name__}"
        raise UnsupportedError(f"{name} cannot be computed with signs: {reason}")


def share_of_zeros(layer: Any) -> float:
    """The share of exact zeros among the weights whose signs a binarized layer takes; 0 where it takes none.

    Rows of zeros of an embedding do not count: that of the padding is one.
    """
    weight, op = layer.weight.detach(), getattr(layer, "operator", None)
    if weight.is_meta or (op is not None and (op.weight_bits > 1 or op.weight_signs().ternary)):
        return 0.0
    if op is None:
        weight = weight[weight.any(-1)]
    return 1 - int(torch.count_nonzero(weight)) / weight.numel() if weight.numel() else 0.0


def zeros_told(layers: Iterable[tuple[str, Any]]) -> str:
    """One warning for the binarized layers (name, module) with more exact zeros than `FEW`; "" if there is none."""
    shares = {name: share for name, layer in layers if (share := share_of_zeros(layer)) > FEW}
    if not shares:
        return ""
    (name, share), *others = shares.items()
    listed = ", ".join(repr(other) for other, _ in others[:3]) + (", ..." if others[3:] else "")
    more = f" (so it is in {len(others)} more: {listed})" if others else ""
    return (
        f"layer {name!r}: {100 * share:.3g} % of its weights are exactly 0, as pruning leaves them{more}. A 1-bit "
        "weight has no 0, and each of these counts as +1: keep pruned layers full precision (keep=...), or binarize "
        "the network from before it was pruned"
    )


@torch.no_grad()
def _keeps_zeros(layer: Any) -> bool:
    op = getattr(layer, "operator", None)
    if op is None or (op.weight_bits == 1 and not op.weight_signs().ternary):
        return False
    weight = layer.weight
    return not bool(op.quantize_weight(weight)[weight == 0].any())
