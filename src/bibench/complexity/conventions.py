"""Conventions of counting: what an operation costs beside a full-precision multiply-accumulate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bibench.foundation.errors import UnknownNameError

KINDS = {
    "batch_norm": "batch normalization, folded to a factor and a shift per channel",
    "norm": "other normalization: mean, variance, difference, factor, shift",
    "activation": "activation function",
    "softmax": "softmax: maximum, difference, exponential, sum, quotient",
    "pool": "pooling and other reductions, per element read",
    "arithmetic": "sums, products and other functions of elements (residual connections, positions)",
    "bias": "bias of a layer, per output",
    "sign": "sign of an input of a binarized layer, or threshold of a score",
    "quantize": "division, rounding and clamp of an input of a layer with 2 to 31 bits",
    "threshold": "shift before the sign, per input (ReActNet)",
    "channel_scale": "factor per output channel, per output",
    "spatial_scale": "factor per position, per output (XNOR-Net++)",
    "activation_scale": "factor K from the input at run time: |x| per input, the box filter, the product per output",
}
"""Operations on elements, as opposed to multiply-accumulates."""

LEFTOVERS = ("threshold", "channel_scale", "spatial_scale", "activation_scale")
"""What operators leave to compute in full precision beside the binary product."""


@dataclass(frozen=True)
class Convention:
    """How Eq. 7 is read.

    Attributes:
        operations: operations per element by kind (`KINDS`); kinds not named cost nothing. One
            multiply-accumulate of 32-bit numbers is 1 operation, as in the paper's FLOPs.
        operations_per_word: bit operations in the time of one operation; the paper's CPU does 64 at once. A
            multiply-accumulate of w × a bits is w·a bit operations.
        first_layer_alone: in a binarized model only the first layer kept in full precision and what the
            operator leaves count as full precision; the classifier, norms and pooling as binarized.
        model_options: options that a model gets if it has them and none is given.
        name: as the command line takes it.
        description: what is counted, in a sentence.
    """

    name: str
    description: str
    operations: Mapping[str, float] = field(default_factory=dict)
    operations_per_word: float = 64
    first_layer_alone: bool = False
    model_options: Mapping[str, Any] = field(default_factory=dict)

    def share(self, weight_bits: int, activation_bits: int) -> float:
        """The operations per multiply-accumulate: 1/64 for W1A1, w·a/64 up to 1, and 1 with a 32-bit factor.

        Args:
            weight_bits: bits of a weight.
            activation_bits: bits of an input.
        """
        if max(weight_bits, activation_bits) >= 32:
            return 1.0
        return min(1.0, weight_bits * activation_bits / self.operations_per_word)


_LEFTOVERS = dict.fromkeys(LEFTOVERS, 1.0)

BIBENCH = Convention(
    "bibench",
    "everything a forward pass computes: products by their bits (W1A1: 1/64), all else in full precision",
    {
        "batch_norm": 2,
        "norm": 5,
        "activation": 1,
        "softmax": 5,
        "pool": 1,
        "arithmetic": 1,
        "bias": 1,
        "sign": 1,
        "quantize": 3,
    }
    | _LEFTOVERS,
)
"""All that a forward pass computes, each product by its bits (W1A1: 1/64); the default."""
PAPER = Convention(
    "paper",
    "the paper's count, as its 12.60× for ResNet-18 implies: products, norms × 2, activations, pooling; in a "
    "binarized model all but the first layer and the operator's scales at 1/64; downsample convolutions binarized",
    {"batch_norm": 2, "norm": 2, "activation": 1, "pool": 1} | _LEFTOVERS,
    first_layer_alone=True,
    model_options={"binarize_downsample": True},
)
"""The paper's count (Section 3.2, Eq. 7), as its 12.60× for ResNet-18 implies."""
PRODUCTS = Convention(
    "products",
    "products alone: OPs = BOPs/64 + FLOPs, as Bi-Real Net and ReActNet count",
)
"""Products alone, as Bi-Real Net and ReActNet count: BOPs/64 + FLOPs."""

CONVENTIONS = {convention.name: convention for convention in (BIBENCH, PAPER, PRODUCTS)}
"""The conventions by name."""


def convention(name: str) -> Convention:
    """The convention of this name; `UnknownNameError` for any other.

    Args:
        name: ``bibench``, ``paper`` or ``products``.

    Raises:
        UnknownNameError: no such convention.
    """
    if name not in CONVENTIONS:
        raise UnknownNameError(f"no convention {name!r}; choose from {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
