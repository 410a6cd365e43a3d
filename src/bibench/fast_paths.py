"""What computes with the weights of layers in place of calling them: fused paths of PyTorch's transformer encoder.

In evaluation without gradients, `nn.TransformerEncoderLayer` gives its weights to one fused function, and
`nn.TransformerEncoder` packs the tokens that are not masked into a nested tensor, which only that function takes.
Hooks on the layers inside switch the first off and leave the second on, so that then a masked forward raises.
Both have a switch on the instance.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

SWITCHES: dict[type[nn.Module], tuple[str, Any]] = {
    nn.TransformerEncoderLayer: ("activation_relu_or_gelu", 0),  # the fused function has no other activations
    nn.TransformerEncoder: ("use_nested_tensor", False),
}
"""The attribute of a class that switches its fused path off, and the value that does."""


Switched = list[tuple[nn.Module, str, Any]]
"""What was switched: modules, attributes, and the values before."""


def switch_off(model: nn.Module, layers: Collection[nn.Module] | None = None) -> Switched:
    """Have the encoders of `model` that hold one of `layers` (default: all encoders) call them always.

    Outputs at masked positions are then what the layers give there, as in training, in the place of zeros.
    """
    switched: Switched = []
    for module in model.modules():
        for cls, (switch, off) in SWITCHES.items():
            concerned = isinstance(module, cls) and (layers is None or any(m in layers for m in module.modules()))
            if concerned and getattr(module, switch, off) != off:
                switched.append((module, switch, getattr(module, switch)))
                setattr(module, switch, off)
    return switched


def switch_back(switched: Switched) -> None:
    """As it was before `switch_off`."""
    for module, switch, value in switched:
        setattr(module, switch, value)


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """No fused path of any encoder inside."""
    switched = switch_off(model)
    try:
        yield
    finally:
        switch_back(switched)


def eagerly() -> AbstractContextManager[Any]:
    """Compiled parts run as what they were compiled from, which hooks and modes can see into."""
    compiler = "torch._dynamo" in sys.modules  # else nothing is compiled, and to import it takes a second
    return torch.compiler.set_stance("force_eager") if compiler else nullcontext()
