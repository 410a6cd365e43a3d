"""How much faster a model file could be by its products alone: those that it runs at 1 bit, the rest in float."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bibench.complexity.conventions import PRODUCTS
from bibench.deploy import manifest
from bibench.deploy.engine import ENGINES
from bibench.deploy.manifest import Manifest


def theoretical_speedup(file: Path) -> float | None:
    """How many times fewer operations the products of the model in `file` take than those of full precision (Eq. 7-8).

    64 bit operations count as one: the bound that its float layers leave. As float counts what the file computes
    so: all of an engine without packed bits, and layers that are no 1-bit node; and what 1 bit makes no faster
    (`bibench.nn.gains`). None where no manifest tells the layers.
    """
    found = manifest.read(file)
    try:
        counted = [] if found is None else [(int(row["macs"] or 0), _bits(row, found)) for row in found.audit["rows"]]
    except (KeyError, TypeError, ValueError):
        return None
    left = sum(macs * PRODUCTS.share(bits, bits) for macs, bits in counted)
    return sum(macs for macs, _ in counted) / left if left else None


def at_one_bit(found: Manifest) -> Iterator[Mapping[str, Any]]:
    """The rows of the audit of the layers that the file computes at 1 bit, the slow ones among them."""
    return (row for row in found.audit.get("rows", ()) if _packed(row, found))


def _bits(row: Mapping[str, Any], found: Manifest) -> int:
    return 1 if _packed(row, found) and not row.get("slow") else 32


def _packed(row: Mapping[str, Any], found: Manifest) -> bool:
    packed = ENGINES[found.engine].packed if found.engine in ENGINES else True
    one_bit = int(row["weight_bits"]) == int(row["activation_bits"]) == 1
    return packed and one_bit and row["name"] in found.layers
