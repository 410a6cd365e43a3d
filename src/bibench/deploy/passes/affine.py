"""Fold batch norms, and constant factors and offsets per channel, into scale, post-scale and bias.

(v - mean) · γ/√(var + ε) + β becomes v·g + b. Factors are multiplied in float64 and rounded once, so only
the float rounding of the layer's output changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from bibench.deploy import domain
from bibench.deploy.passes import nodes

if TYPE_CHECKING:
    import onnx_ir as ir

Affine = tuple[nodes.Array, nodes.Array]


def fold(model: ir.Model) -> int:
    """Apply it; how often it did."""
    count = 0
    for node in nodes.binary_nodes(model):
        while (following := _next(node)) is not None:
            last, (factor, offset) = following
            node = nodes.replace(model, node, last, constants=_folded(node, factor, offset))
            count += 1
    return count


def _next(node: ir.Node) -> tuple[ir.Node, Affine] | None:
    last = nodes.only_consumer(node.outputs[0])
    if (
        last is None
        or last.domain
        or last.op_type not in READERS
        or not nodes.epilogue_free(node, "residual", "activation")
    ):
        return None
    affine = READERS[last.op_type](node, last)
    return None if affine is None else (last, affine)


def _folded(node: ir.Node, factor: nodes.Array, offset: nodes.Array) -> dict[str, nodes.Array]:
    present = {k: nodes.constant(v) for k, v in nodes.inputs_of(node).items() if k in ("scale", "post_scale", "bias")}
    changed: dict[str, nodes.Array] = {}
    if not np.all(factor == 1):
        # What multiplies K or the spatial scale must stay behind it; elsewhere the channel's scale takes it.
        behind = node.attributes["activation_scale"].as_string() or {"rows", "columns"} & nodes.inputs_of(node).keys()
        name = "post_scale" if behind else "scale"
        old = present.get(name)
        changed[name] = factor if old is None else old.astype(np.float64) * factor
    bias = present.get("bias")
    shifted = offset if bias is None else bias.astype(np.float64) * factor + offset
    if bias is not None or np.any(shifted != 0):
        changed["bias"] = shifted
    return changed


def _batch_norm(node: ir.Node, last: ir.Node) -> Affine | None:
    rank = nodes.rank(node.outputs[0])
    if last.inputs[0] is not node.outputs[0] or (node.op_type == domain.LINEAR and rank != 2):
        return None  # behind a linear layer of more axes, axis 1 is not that of the channels
    held = [nodes.constant(v) for v in last.inputs[1:5]]
    training = last.attributes.get("training_mode")
    if any(v is None for v in held) or (training is not None and training.as_int()):
        return None
    gamma, beta, mean, variance = (v.astype(np.float64) for v in held if v is not None)
    epsilon = last.attributes["epsilon"].as_float() if "epsilon" in last.attributes else 1e-5
    factor = gamma / np.sqrt(variance + np.float64(np.float32(epsilon)))
    return factor, beta - mean * factor


def _elementwise(
    combine: Callable[[nodes.Array], Affine], ordered: bool
) -> Callable[[ir.Node, ir.Node], Affine | None]:
    def read(node: ir.Node, last: ir.Node) -> Affine | None:
        left, right = last.inputs
        if ordered and left is not node.outputs[0]:
            return None
        values = nodes.constant(right if left is node.outputs[0] else left)
        rank = nodes.rank(node.outputs[0])
        if values is None or rank is None:
            return None
        channel = nodes.per_channel(values.astype(np.float64), node, rank, nodes.channels_out(node))
        return None if channel is None else combine(channel)

    return read


READERS: dict[str, Callable[[ir.Node, ir.Node], Affine | None]] = {
    "BatchNormalization": _batch_norm,
    "Mul": _elementwise(lambda v: (v, np.zeros_like(v)), ordered=False),
    "Div": _elementwise(lambda v: (1 / v, np.zeros_like(v)), ordered=True),
    "Add": _elementwise(lambda v: (np.ones_like(v), v), ordered=False),
    "Sub": _elementwise(lambda v: (np.ones_like(v), -v), ordered=True),
}
"""What follows, as factor and offset per channel."""
