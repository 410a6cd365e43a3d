"""How much faster a model file could be by its products alone: those that it runs at 1 bit, the rest in float."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bibench.complexity.conventions import PRODUCTS
from bibench.deploy import manifest
from bibench.deploy.engine import ENGINES
from bibench.deploy.manifest import Manifest

Row = Mapping[str, Any]
"""Of an audit (`bibench.nn.auditing.AuditRow`) in JSON."""


def theoretical_speedup(file: Path, engine: str) -> float | None:
    """How many times fewer operations the products of the model in `file` take than those of full precision (Eq. 7-8).

    64 bit operations count as one: the bound that its float layers leave. As float counts what is computed so: all
    of an engine without packed bits or of a file that is another engine's, layers that are no 1-bit node, and what
    1 bit makes no faster (`bibench.nn.gains`). None where no manifest tells the layers.

    Args:
        file: a model file.
        engine: that runs it.
    """
    found = manifest.read(file)
    if found is None:
        return None
    at_one = {name(row) for row in at_one_bit(found, engine) if not row.get("slow")}
    rows = rows_of(found)
    left = sum(macs(row) * PRODUCTS.share(*((1, 1) if name(row) in at_one else (32, 32))) for row in rows)
    return sum(map(macs, rows)) / left if left else None


def float_share(found: Manifest, engine: str) -> float | None:
    """The part of the multiply-accumulates that is computed in float; None where the manifest tells of none."""
    at_one = {name(row) for row in at_one_bit(found, engine)}
    total = sum(map(macs, rows_of(found)))
    return sum(macs(row) for row in rows_of(found) if name(row) not in at_one) / total if total else None


def at_one_bit(found: Manifest, engine: str) -> list[Row]:
    """The rows of the audit of the layers that are computed at 1 bit, the slow ones among them."""
    return [row for row in one_bit(found) if packs(found, engine) and name(row) in found.layers]


def one_bit(found: Manifest) -> list[Row]:
    """The rows of the layers that were trained with 1-bit weights and activations."""
    return [row for row in rows_of(found) if row.get("weight_bits") == row.get("activation_bits") == 1]


def packs(found: Manifest, engine: str) -> bool:
    """Whether an engine computes the file's 1-bit layers from packed bits, and not as ±1 in float."""
    return engine == found.engine and (engine not in ENGINES or ENGINES[engine].packed)


def rows_of(found: Manifest) -> list[Row]:
    """The layers that the manifest's audit tells of."""
    return list(found.audit.get("rows", ()))


def name(row: Row) -> str:
    """Of a layer."""
    return str(row.get("name", ""))


def macs(row: Row) -> int:
    """Multiply-accumulates of a layer for one example; 0 if unknown."""
    return int(row.get("macs") or 0)
