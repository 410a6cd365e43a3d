"""Fold the activation that follows into the operator: Hardtanh and other clips, ReLU, PReLU, leaky ReLU. Exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bibench.deploy.passes import nodes

if TYPE_CHECKING:
    import onnx_ir as ir

Epilogue = tuple[dict[str, Any], dict[str, nodes.Array]]
"""Attributes and constant inputs."""
LARGEST = float(np.finfo(np.float32).max)


def fold(model: ir.Model) -> int:
    """Apply it; how often it did."""
    return fold_into(model, nodes.binary_nodes(model))


def fold_into(model: ir.Model, operators: Sequence[ir.Node]) -> int:
    """Apply it to some nodes of the domain; how often it did."""
    count = 0
    for node in operators:
        last = nodes.only_consumer(node.outputs[0])
        if last is None or last.domain or last.op_type not in READERS or not nodes.epilogue_free(node, "activation"):
            continue
        if last.inputs[0] is not node.outputs[0]:
            continue
        epilogue = READERS[last.op_type](node, last)
        if epilogue is not None:
            attributes, constants = epilogue
            nodes.replace(model, node, last, attributes=attributes, constants=constants)
            count += 1
    return count


def _clip(node: ir.Node, last: ir.Node) -> Epilogue | None:
    bounds = [-LARGEST, LARGEST]
    for index, given in enumerate(last.inputs[1:3]):
        if given is not None:
            value = nodes.constant(given)
            if value is None:
                return None
            bounds[index] = float(value)
    return {"activation": "clip", "clip_min": bounds[0], "clip_max": bounds[1]}, {}


def _relu(node: ir.Node, last: ir.Node) -> Epilogue:
    return {"activation": "relu"}, {}


def _prelu(node: ir.Node, last: ir.Node) -> Epilogue | None:
    values = nodes.constant(last.inputs[1])
    if values is None:
        return None
    if values.size == 1:
        return {"activation": "prelu"}, {"slope": values.reshape(1)}
    slope = nodes.per_channel(values, node, nodes.rank(node.outputs[0]), nodes.channels_out(node))
    return None if slope is None else ({"activation": "prelu"}, {"slope": slope})


def _leaky_relu(node: ir.Node, last: ir.Node) -> Epilogue:
    alpha = last.attributes["alpha"].as_float() if "alpha" in last.attributes else 0.01
    return {"activation": "prelu"}, {"slope": np.array([alpha])}


READERS: dict[str, Callable[[ir.Node, ir.Node], Epilogue | None]] = {
    "Clip": _clip,
    "Relu": _relu,
    "PRelu": _prelu,
    "LeakyRelu": _leaky_relu,
}
