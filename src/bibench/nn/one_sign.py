"""1-bit layers whose signs are all the same, as no input is negative behind a ReLU: they tell no two inputs apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bibench.nn.calls import Call
from bibench.nn.layers import BinaryLayer
from bibench.operators.description import Signs

FIX = (
    "Nothing is learned from signs that are always the same: move or replace what comes before such a layer (Hardtanh "
    "in the place of a ReLU), or give it an operator with learned thresholds, such as reactnet"
)
LEARNED = "until its thresholds, which are learned, lie between the inputs"
LEARNED_FIX = (
    "Training begins with signs that are all the same, and has to move the thresholds first: move or replace what "
    "comes before such a layer (Hardtanh in the place of a ReLU)"
)


def one_sign(module: nn.Module, name: str, call: Call | None) -> str:
    """What is wrong with a 1-bit layer none of whose inputs is negative in the traced forward, or "".

    Judged by what its operator signs: inputs that it centres or shifts may have both signs. Nothing is known where all
    inputs are 0; inputs that are all negative are chance, before training.
    """
    if not isinstance(module, BinaryLayer) or module.operator.activation_bits != 1 or call is None:
        return ""
    if not (call.low >= 0 and call.high > 0):
        return ""
    signs = module.operator.activation_signs()
    above = _signed(signs, call, module.weight) >= 0
    if above.any() and not above.all():
        return ""
    sign = "+1" if above.all() else "-1"
    told = f"layer {name!r} takes the signs of inputs between {call.low:.3g} and {call.high:.3g}: all are {sign}"
    learned = signs.shift is not None and signs.quantized is None
    return f"{told} {LEARNED}" if learned else told


def fix(told: str) -> str:
    """What helps against what `one_sign` told."""
    return LEARNED_FIX if told.endswith(LEARNED) else FIX


@torch.no_grad()
def _signed(signs: Signs, call: Call, like: Tensor) -> Tensor:
    """The values that are signed, of made-up inputs between the extremes; no random numbers of training are used up."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((2, *call.input_shape), generator=generator) * (call.high - call.low) + call.low
    x = x.to(device=like.device, dtype=like.dtype)
    return signs.real(x) if signs.quantized is None else signs.quantized(x)
