"""Fold the addition of a shortcut of the same shape into the operator. Exact: the same sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bibench.deploy.passes import nodes

if TYPE_CHECKING:
    import onnx_ir as ir


def fold(model: ir.Model) -> int:
    """Apply it; how often it did."""
    count = 0
    # Backwards: of two branches that both end in a 1-bit operator, the one computed last takes the other.
    for node in reversed(nodes.binary_nodes(model)):
        last = nodes.only_consumer(node.outputs[0])
        if (
            last is None
            or last.domain
            or last.op_type != "Add"
            or not nodes.epilogue_free(node, "residual", "activation")
        ):
            continue
        y = node.outputs[0]
        other = last.inputs[1] if last.inputs[0] is y else last.inputs[0]
        if other is None or nodes.constant(other) is not None or not nodes.same_shape(y, other):
            continue
        nodes.replace(model, node, last, values={"residual": other})
        count += 1
    return count
