"""What one example costs in a forward pass: products and operations on elements, of each layer and module."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from torch import nn


@dataclass(frozen=True)
class LayerCall:
    """Shapes of one call of a layer, batch axis included, and its multiply-accumulates."""

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    scores: int = 0
    """Of an attention: the elements of all score matrices."""

    @property
    def inputs(self) -> int:
        """Elements read."""
        return math.prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """Elements written."""
        return math.prod(self.output_shape)


@dataclass
class Work:
    """Counts of a forward pass over `examples` examples; methods give those of one."""

    calls: dict[nn.Module, list[LayerCall]] = field(default_factory=dict)
    """Of the layers in `bibench.tracing.watching.WATCHED`, in the order of their first call."""
    products: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Multiply-accumulates outside of these layers, by module and by its parameter or buffer ("": none has a part)."""
    elements: dict[str, Counter[str]] = field(default_factory=dict)
    """Operations on elements outside of these layers: module name → kind → elements."""
    uncounted: Counter[str] = field(default_factory=Counter)
    """Calls of operations that may multiply but whose work is not known, by name."""
    used: set[str] = field(default_factory=set)
    """Names of the parameters and buffers that operations took."""
    examples: int = 1

    def of_one(self, count: int) -> int:
        """The share of one example, rounded up, so that what a batch does once is not lost."""
        return -(-count // self.examples)

    def layer_macs(self, module: nn.Module) -> int:
        """Multiply-accumulates of all calls of a watched layer."""
        return self.of_one(sum(call.macs for call in self.calls.get(module, ())))

    def product_macs(self, module: str, weight: str | None = None) -> int:
        """Those outside of watched layers, of a module by name: with one weight or, by default, all."""
        return sum(self.of_one(n) for (name, of), n in self.products.items() if name == module and weight in (None, of))

    @property
    def macs(self) -> int:
        """All multiply-accumulates."""
        outside = sum(map(self.of_one, self.products.values()))
        return outside + sum(map(self.layer_macs, self.calls))
