"""Matrix products in full precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bibench.deploy.passes import nodes
from bibench.deploy.tflite.translating import Net, attribute, constant_of, refuse, translator

if TYPE_CHECKING:
    import onnx_ir as ir


@translator("Gemm")
def gemm(net: Net, node: ir.Node) -> None:
    """A fully connected layer; alpha and beta go into its constants."""
    if attribute(node, "transA", 0):
        raise refuse(node, "a transposed first factor is not expressible")
    weight, bias = constant_of(node, 1, "the second factor"), constant_of(node, 2, "the summand")
    assert weight is not None
    weight = weight if attribute(node, "transB", 0) else weight.T  # (O, I)
    bias = np.zeros(len(weight)) if bias is None else np.broadcast_to(bias, (1, len(weight)))[0]
    factors = np.float32(attribute(node, "alpha", 1.0)), np.float32(attribute(node, "beta", 1.0))
    x = net.plain(node.inputs[0])
    constants = [net.constant(weight * factors[0]), net.constant(bias * factors[1])]
    net.give(node, net.op("FULLY_CONNECTED", [x, *constants], (net.shape(x)[0], len(weight))))


@translator("MatMul")
def matmul(net: Net, node: ir.Node) -> None:
    """With a constant matrix a fully connected layer, else a product per example."""
    weight = nodes.constant(node.inputs[1])
    x = net.plain(node.inputs[0])
    shape = net.shape(x)
    if weight is not None and weight.ndim == 2:
        constants = [net.constant(weight.T), net.constant(np.zeros(weight.shape[1]))]
        y = net.op("FULLY_CONNECTED", [x, *constants], (*shape[:-1], weight.shape[1]), KeepNumDims=True)
    else:
        other = net.plain(node.inputs[1])
        if min(len(shape), len(net.shape(other))) < 2:
            raise refuse(node, "a product with a vector is not expressible")
        batch = np.broadcast_shapes(shape[:-2], net.shape(other)[:-2])
        y = net.op("BATCH_MATMUL", [x, other], (*batch, shape[-2], net.shape(other)[-1]))
    net.give(node, y)
