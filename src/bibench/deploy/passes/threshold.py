"""Fold a constant per channel that is added before the sign into the threshold.

x + c >= 0 and x >= -c are the same for floats: a rounded sum has the sign of the exact one. Only where the
operator has no threshold yet (two constants would round), nor a scale computed from its input.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from bibench.deploy import domain
from bibench.deploy.passes import nodes

if TYPE_CHECKING:
    import onnx_ir as ir

SIGNS = {"Add": -1.0, "Sub": 1.0}


def fold(model: ir.Model) -> int:
    """Apply it; how often it did."""
    count = 0
    for node in nodes.binary_nodes(model):
        x = node.inputs[0]
        producer = None if x is None else x.producer()
        if x is None or producer is None or producer.domain or producer.op_type not in SIGNS:
            continue
        if "threshold" in nodes.inputs_of(node) or node.attributes["activation_scale"].as_string():
            continue
        if nodes.only_consumer(x) is not node:
            continue
        left, right = producer.inputs
        values, source = nodes.constant(right), left
        if values is None and producer.op_type == "Add":
            values, source = nodes.constant(left), right
        channels = node.attributes["channels"].as_int()
        if values is None or source is None or not nodes.same_shape(source, x):
            continue  # the sum of one channel and a constant of several has several
        channel = nodes.per_channel(values, node, nodes.rank(x), channels)
        if channel is None:
            continue
        threshold = np.float32(SIGNS[producer.op_type]) * channel
        made = nodes.replace(model, node, node, values={"X": source}, constants={"threshold": threshold})
        shape = (-1, *(1,) * ((nodes.rank(x) or 0) - 2)) if node.op_type == domain.CONV else (-1,)
        made.metadata_props[nodes.SHIFT] = json.dumps((-threshold).reshape(shape).tolist())
        model.graph.remove(producer, safe=True)
        count += 1
    return count
