"""Folding what surrounds the 1-bit operators into them, where it is exact up to the rounding of floats.

Nothing is folded whose intermediate value is used elsewhere, nor in another order than the operator
computes: scale, K, post-scale, bias, residual, activation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bibench.deploy.passes import activation, affine, residual, threshold

if TYPE_CHECKING:
    import onnx_ir as ir

PASSES = {
    "threshold": threshold.fold,
    "affine": affine.fold,
    "residual": residual.fold,
    "activation": activation.fold,
}
"""In the order in which the operator computes, so that one round suffices."""


def fold(model: ir.Model) -> dict[str, int]:
    """Apply all passes in place; how often each one applied."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    counts = {name: apply(model) for name, apply in PASSES.items()}
    RemoveUnusedNodesPass()(model)
    model.graph.sort()
    return counts
