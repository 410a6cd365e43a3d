"""Element-wise operators."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bibench.deploy.tflite.translating import Net, attribute, constant_of, refuse, to_last, translator

if TYPE_CHECKING:
    import onnx_ir as ir

UNARY = {
    "Relu": "RELU",
    "Sigmoid": "LOGISTIC",
    "Tanh": "TANH",
    "HardSwish": "HARD_SWISH",
    "Abs": "ABS",
    "Exp": "EXP",
    "Neg": "NEG",
    "Sqrt": "SQRT",
}
BINARY = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV", "Min": "MINIMUM", "Max": "MAXIMUM"}

BOUNDS = {(0.0, math.inf): "RELU", (0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1"}
"""Clips that have an operator of their own."""


@translator(*UNARY)
def unary(net: Net, node: ir.Node) -> None:
    """Layout stays."""
    held = net.held(node.inputs[0])
    y = net.op(UNARY[node.op_type], [held.index], net.shape(held.index))
    net.give(node, y, last=held.last, rank=held.rank)


@translator("Identity", "Dropout")
def identity(net: Net, node: ir.Node) -> None:
    """Nothing remains of it."""
    held = net.held(node.inputs[0])
    net.give(node, held.index, last=held.last, rank=held.rank)


@translator(*BINARY)
def binary(net: Net, node: ir.Node) -> None:
    """Broadcast as in NumPy."""
    if len(node.inputs) != 2:
        raise refuse(node, f"expected 2 inputs, got {len(node.inputs)}")
    pair, last, rank = net.aligned(list(node.inputs))
    shape = np.broadcast_shapes(*(net.shape(i) for i in pair))
    net.give(node, net.op(BINARY[node.op_type], pair, shape), last=last, rank=rank)


@translator("Clip")
def clipped(net: Net, node: ir.Node) -> None:
    """Constant bounds."""
    bounds = [constant_of(node, i, "a bound") for i in (1, 2)]
    low, high = (float(b) if b is not None else limit for b, limit in zip(bounds, (-math.inf, math.inf)))
    held = net.held(node.inputs[0])
    net.give(node, clip(net, held.index, low, high), last=held.last, rank=held.rank)


def clip(net: Net, x: int, low: float, high: float) -> int:
    """min(max(x, low), high)."""
    shape = net.shape(x)
    if (low, high) in BOUNDS:
        return net.op(BOUNDS[low, high], [x], shape)
    y = x if low == -math.inf else net.op("MAXIMUM", [x, net.constant(low)], shape)
    return y if high == math.inf else net.op("MINIMUM", [y, net.constant(high)], shape)


@translator("PRelu")
def prelu(net: Net, node: ir.Node) -> None:
    """Constant slopes, broadcast to the input without its batch."""
    slope = constant_of(node, 1, "the slope")
    assert slope is not None
    held = net.held(node.inputs[0])
    shape = net.shape(held.index)
    slopes = (
        to_last(slope, held.rank)[0] if held.last else slope.reshape((1,) * (held.rank - slope.ndim) + slope.shape)[0]
    )
    full = np.broadcast_to(slopes, (*slopes.shape[:-1], shape[-1]))
    net.give(node, net.op("PRELU", [held.index, net.constant(full)], shape), last=held.last, rank=held.rank)


@translator("LeakyRelu")
def leaky_relu(net: Net, node: ir.Node) -> None:
    """One slope."""
    held = net.held(node.inputs[0])
    y = net.op("LEAKY_RELU", [held.index], net.shape(held.index), Alpha=float(attribute(node, "alpha", 0.01)))
    net.give(node, y, last=held.last, rank=held.rank)


@translator("Gelu")
def gelu(net: Net, node: ir.Node) -> None:
    """By the error function, or its tanh approximation."""
    held = net.held(node.inputs[0])
    approximate = attribute(node, "approximate", "none") == "tanh"
    net.give(
        node,
        net.op("GELU", [held.index], net.shape(held.index), Approximate=approximate),
        last=held.last,
        rank=held.rank,
    )


@translator("Softmax")
def softmax(net: Net, node: ir.Node) -> None:
    """Over the last axis of ONNX."""
    x = net.plain(node.inputs[0])
    if attribute(node, "axis", -1) not in (-1, len(net.shape(x)) - 1):
        raise refuse(node, "only over the last axis")
    net.give(node, net.op("SOFTMAX", [x], net.shape(x), Beta=1.0))


@translator("BatchNormalization")
def batch_norm(net: Net, node: ir.Node) -> None:
    """A factor and a summand per channel."""
    constants = [constant_of(node, i, "a parameter") for i in range(1, 5)]
    weight, bias, mean, variance = (np.asarray(c, np.float64) for c in constants)
    factor = weight / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    held = net.held(node.inputs[0])
    last = held.rank in (3, 4)
    x = net.last(node.inputs[0]) if last else net.plain(node.inputs[0])
    y = net.op("MUL", [x, net.constant(factor)], net.shape(x))
    net.give(node, net.op("ADD", [y, net.constant(bias - mean * factor)], net.shape(x)), last=last, rank=held.rank)
