"""What counting a model gives: rows, their sums by a convention, and the ratios to full precision (Eq. 7-8)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bibench.complexity.conventions import BIBENCH, LEFTOVERS, Convention


@dataclass(frozen=True)
class Row:
    """One layer with weights or products, or one module that does element operations. Counts are of one example.

    Attributes:
        name: of the module in the model.
        kind: ``conv1d``, ``conv2d``, ``linear`` or the module's class.
        weight_bits: bits of a weight.
        activation_bits: bits of an input.
        operator: name of the operator of a binarized layer; else empty.
        reason: why it was kept in full precision.
        macs: multiply-accumulates.
    """

    name: str
    kind: str
    weight_bits: int = 32
    activation_bits: int = 32
    operator: str = ""
    reason: str = ""
    weights: int = 0
    """Parameters stored with `weight_bits` each."""
    others: int = 0
    """Parameters that stay 32-bit: biases, the two numbers per channel of a norm."""
    leftovers: Mapping[str, int] = field(default_factory=dict)
    """32-bit numbers that the operator adds to the model, by what they are."""
    macs: int = 0
    elements: Mapping[str, int] = field(default_factory=dict)
    """Operations on elements by kind, see `bibench.complexity.conventions.KINDS`."""

    @property
    def parameters(self) -> int:
        """Parameters of the layer before binarization."""
        return self.weights + self.others

    @property
    def storage_bits(self) -> int:
        """Bits of its numbers at inference."""
        return self.weights * self.weight_bits + 32 * (self.others + sum(self.leftovers.values()))

    @property
    def storage_bytes(self) -> int:
        """Bytes of its numbers at inference, the weights packed and filled up to a whole byte."""
        return -(-self.weights * self.weight_bits // 8) + 4 * (self.others + sum(self.leftovers.values()))

    @property
    def bops(self) -> int:
        """Bit operations: multiply-accumulates × weight bits × activation bits."""
        return self.macs * self.weight_bits * self.activation_bits

    @property
    def precision(self) -> str:
        """Like ``W1A1``."""
        return f"W{self.weight_bits}A{self.activation_bits}"

    def operations(self, convention: Convention = BIBENCH) -> float:
        """Operations by the bits of this layer (what surrounds it does not matter).

        Args:
            convention: how operations are counted; see `Convention`.
        """
        products = self.macs * convention.share(self.weight_bits, self.activation_bits)
        return products + sum(convention.operations.get(kind, 0) * n for kind, n in self.elements.items())


@dataclass(frozen=True)
class Complexity:
    """All rows of a model, in the order of registration; `first` names the first full-precision layer called.

    Attributes:
        rows: one for each layer or module with operations.
    """

    rows: tuple[Row, ...]
    first: str = ""

    @property
    def parameters(self) -> int:
        """Parameters before binarization."""
        return sum(row.parameters for row in self.rows)

    @property
    def storage_bits(self) -> int:
        """Bits of all numbers at inference; Eq. 7 is made of them."""
        return sum(row.storage_bits for row in self.rows)

    @property
    def storage_bytes(self) -> int:
        """Bytes of all numbers at inference, each tensor filled up to a whole byte; no header of any format."""
        return sum(row.storage_bytes for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one example."""
        return sum(row.macs for row in self.rows)

    @property
    def bops(self) -> int:
        """Bit operations of all products."""
        return sum(row.bops for row in self.rows)

    @property
    def binarized(self) -> bool:
        """Whether any layer has fewer than 32 bits."""
        return any(row.weight_bits < 32 for row in self.rows)

    def macs_by_bits(self) -> dict[tuple[int, int], int]:
        """Multiply-accumulates by (weight bits, activation bits)."""
        counts: Counter[tuple[int, int]] = Counter()
        for row in self.rows:
            counts[row.weight_bits, row.activation_bits] += row.macs
        return {bits: n for bits, n in counts.items() if n}

    def elements(self) -> dict[str, int]:
        """Operations on elements by kind."""
        counts: Counter[str] = Counter()
        for row in self.rows:
            counts.update(row.elements)
        return dict(counts)

    def operations(self, convention: Convention = BIBENCH) -> float:
        """Operations of one example, in units of one full-precision multiply-accumulate.

        Args:
            convention: how operations are counted; see `Convention`.
        """
        return sum(self.row_operations(row, convention) for row in self.rows)

    def row_operations(self, row: Row, convention: Convention = BIBENCH) -> float:
        """The operations of one of its rows under a convention that may look at the whole model.

        Args:
            row: one of `rows`.
            convention: how operations are counted; see `Convention`.
        """
        if not (convention.first_layer_alone and self.binarized):
            return row.operations(convention)
        share = min(convention.share(r.weight_bits, r.activation_bits) for r in self.rows)
        left = {kind: n * convention.operations.get(kind, 0) for kind, n in row.elements.items()}
        remaining = sum(n for kind, n in left.items() if kind in LEFTOVERS)
        products = row.macs * (1.0 if row.name == self.first else share)
        return products + remaining + share * (sum(left.values()) - remaining)

    def to_dict(self, convention: Convention = BIBENCH) -> dict[str, Any]:
        """Plain data, for JSON.

        Args:
            convention: how operations are counted; see `Convention`.
        """
        rows = [
            {
                **asdict(row),
                "precision": row.precision,
                "storage_bytes": row.storage_bytes,
                "bops": row.bops,
                "operations": self.row_operations(row, convention),
            }
            for row in self.rows
        ]
        return {
            "parameters": self.parameters,
            "storage_bytes": self.storage_bytes,
            "macs": self.macs,
            "binary_macs": self.macs_by_bits().get((1, 1), 0),
            "bops": self.bops,
            "operations": self.operations(convention),
            "rows": rows,
        }


def compression(full: Complexity, binarized: Complexity) -> float:
    """r_c of Eq. 7: bits of the full-precision model / bits of the binarized one with its operator's leftovers.

    Args:
        full: the full-precision model's complexity.
        binarized: the binarized model's.
    """
    return full.storage_bits / binarized.storage_bits


def speedup(full: Complexity, binarized: Complexity, convention: Convention = BIBENCH) -> float:
    """r_s of Eq. 7: operations of the full-precision model / operations of the binarized one.

    Args:
        full: the full-precision model's complexity.
        binarized: the binarized model's.
        convention: how operations are counted; see `Convention`.
    """
    return full.operations(convention) / binarized.operations(convention)


def overall(compression: float, speedup: float) -> float:
    """OM_comp of Eq. 8 for one model: √(½(r_c² + r_s²)) of the ratios `compression` r_c and `speedup` r_s."""
    return math.sqrt((compression**2 + speedup**2) / 2)
