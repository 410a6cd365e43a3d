"""What the binarized layers of a model state about their inference, in one list; engines judge by it alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from bibench import latent
from bibench.attention import BinaryAttention
from bibench.embedding import BinaryEmbedding
from bibench.layers import BinaryLayer
from bibench.operators import InferenceForm
from bibench.spec import LayerSpec


@dataclass(frozen=True)
class Stated:
    """One binarized layer.

    `kind` is "conv2d", "conv1d", "linear", "attention" or "embedding"; `spec` and `form` are those of
    the first three (`form` is None where `refusal` says why nothing 1-bit remains at inference).
    """

    name: str
    kind: str
    module: nn.Module
    operator: str
    spec: LayerSpec | None = None
    form: InferenceForm | None = None
    refusal: str = ""


def statements(model: nn.Module) -> list[Stated]:
    """The binarized layers of `model` in the order of registration. Works on the meta device."""
    found = []
    for name, module in model.named_modules():
        if isinstance(module, BinaryLayer) and module.operator.full_precision:
            continue
        if isinstance(module, BinaryLayer):
            refusal = _refusal(module)
            form = None if refusal else module.operator.inference_form(module.weight)
            refusal = refusal or _not_carried(module, form)
            op = module.operator.name
            found.append(Stated(name, module.spec.kind, module, op, module.spec, form, refusal))
        elif isinstance(module, BinaryAttention | BinaryEmbedding):
            masked = latent.refusal(module) if isinstance(module, BinaryEmbedding) else ""
            found.append(Stated(name, module.kind, module, module.operator_name, refusal=masked))
    return found


def _refusal(layer: BinaryLayer) -> str:
    op = layer.operator
    if op.weight_bits != 1 or op.activation_bits != 1:
        return f"operator {op.name!r} has W{op.weight_bits}A{op.activation_bits}; only W1A1 is packed"
    if op.weight_signs().ternary or op.activation_signs().ternary:
        return f"operator {op.name!r}, profile {op.profile!r}: sign(0) = 0 is a third value, which one bit cannot hold"
    return latent.refusal(layer)


NOT_CARRIED = {
    "window": "a sum of the signed inputs over each window",
    "offset": "an offset per output channel inside the layer",
    "centre": "a threshold that is a mean of the input at run time",
    "gate": "a gate computed from the input at run time",
}
"""What an operator may leave at inference that no 1-bit node has a place for yet."""


def _not_carried(layer: BinaryLayer, form: InferenceForm | None) -> str:
    left = [text for name, text in NOT_CARRIED.items() if getattr(form, name, None) is not None]
    return (
        f"operator {layer.operator.name!r} leaves {' and '.join(left)}, which 1-bit nodes do not carry" if left else ""
    )
