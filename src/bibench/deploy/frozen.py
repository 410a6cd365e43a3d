"""Frozen layers: of the float layer's class, with all that a forward may read of it; the product is of packed bits.

`weight` and `bias` are the trained layer's parameters, but not registered: who asks for the dtype gets it, and who
computes with the values gets the numbers that the model computes with. They are no part of the state, so an exported
file holds them only where a forward does compute with them.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from bibench.deploy.packed import Packed, PackedAttention, PackedConv, PackedEmbedding, PackedLinear
from bibench.deploy.statement import Stated
from bibench.nn.attention import Attention, BinaryAttention
from bibench.nn.embedding import BinarizableEmbedding, BinaryEmbedding
from bibench.nn.layers import BinaryLayer

LEFT = "operator"
"""Name of the child that computes: that of a binarized layer's operator, so it takes no name of the float layer's."""
TRAINED = ("weight", "bias")
"""What a frozen layer shows as the trained layer has it, without holding it."""
OF_CLASS = ("forward", "__module__")
"""What an instance may have in the place of its class's, bound to the trained layer."""


class Frozen(nn.Module):
    """What the frozen layers share: made of a binarized layer, of which they keep geometry, hooks and attributes."""

    operator: Packed

    @classmethod
    def of(cls, module: nn.Module, packed: Packed) -> Frozen:
        """The frozen form of the binarized layer `module`, which is not changed; their tensors are the same."""
        layer = cls.__new__(cls)
        own = {k: copy.copy(v) if isinstance(v, dict) else v for k, v in vars(module).items() if k not in OF_CLASS}
        layer.__dict__.update(own)
        for name in TRAINED:
            if name in layer._parameters:
                layer.__dict__[name] = layer._parameters.pop(name)
        layer._modules[LEFT] = packed
        return layer


class FrozenLinear(Frozen, nn.Linear):
    """A binarized `nn.Linear`."""

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.operator(input)
        return y


class FrozenConv1d(Frozen, nn.Conv1d):
    """A binarized `nn.Conv1d`."""

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.operator(input)
        return y


class FrozenConv2d(Frozen, nn.Conv2d):
    """A binarized `nn.Conv2d`."""

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.operator(input)
        return y


class FrozenAttention(Frozen, Attention):
    """Bi-attention."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        y: Tensor = self.operator(q, k, v, mask)
        return y


class FrozenEmbedding(Frozen, BinarizableEmbedding):
    """A binarized embedding."""

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = self.operator(input)
        return y


CLASSES: dict[str, tuple[type[Frozen], type[PackedConv] | type[PackedLinear]]] = {
    "linear": (FrozenLinear, PackedLinear),
    "conv1d": (FrozenConv1d, PackedConv),
    "conv2d": (FrozenConv2d, PackedConv),
}
"""By the kind of a `LayerSpec`."""


def frozen_form(stated: Stated) -> Frozen:
    """The frozen form of a layer that states no refusal."""
    module: Any = stated.module
    if isinstance(module, BinaryLayer):
        assert stated.spec is not None and stated.form is not None
        cls, packed = CLASSES[stated.kind]
        return cls.of(module, packed(stated.name, stated.spec, stated.form, module.bias))
    if isinstance(module, BinaryAttention):
        return FrozenAttention.of(module, PackedAttention(stated.name, module.strict))
    assert isinstance(module, BinaryEmbedding)
    return FrozenEmbedding.of(module, PackedEmbedding(stated.name, module.weight))
