"""Lowering to standard ONNX: signs as ±1 floats, products as ordinary convolutions. Runs anywhere; the oracle.

The value names of the canonical graph stay; the integer dot products of layer `L` get the name ``L/dot``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bibench.deploy import domain
from bibench.deploy.passes import nodes

if TYPE_CHECKING:
    import onnx_ir as ir

DOT = "/dot"


def lower(model: ir.Model) -> ir.Model:
    """A copy of a canonical graph without the domain `bibench`."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    model = model.clone()
    for node in [n for n in model.graph if n.domain == domain.DOMAIN]:
        _replace(model, node, LOWERINGS[node.op_type])
    model.opset_imports.pop(domain.DOMAIN, None)
    RemoveUnusedNodesPass()(model)
    return model


class Writer:
    """Writes standard nodes in the place of one node of the domain; constants and values carry its name."""

    def __init__(self, node: ir.Node) -> None:
        from onnx_ir import tape

        self.node = node
        self.name = node.name or "layer"
        self.inputs = nodes.inputs_of(node)
        self.tape = tape.Tape()
        self.count = 0

    def op(self, kind: str, *inputs: ir.Value | None, name: str = "", **attributes: Any) -> ir.Value:
        """A node's output."""
        value: ir.Value = self.tape.op(kind, inputs, attributes or None)
        self.count += 1
        value.name = name or f"{self.name}/{kind}{self.count}"
        return value

    def constant(self, values: Any, dtype: Any = np.float32) -> ir.Value:
        """An initializer."""
        import onnx_ir as ir

        self.count += 1
        return self.tape.initializer(ir.tensor(np.asarray(values, dtype)), f"{self.name}/constant{self.count}")

    def given(self, name: str, shape: tuple[int, ...]) -> ir.Value | None:
        """A constant input of the node in another shape, or None."""
        if name not in self.inputs:
            return None
        values = nodes.constant(self.inputs[name])
        assert values is not None, name
        return self.constant(values.reshape(shape))

    def attribute(self, name: str, default: Any) -> Any:
        """The value of an attribute."""
        found = self.node.attributes.get(name)
        return default if found is None else found.value

    def sign(self, x: ir.Value, threshold: ir.Value | None = None) -> ir.Value:
        """±1 floats."""
        above = self.op("GreaterOrEqual", x, threshold or self.constant(0.0))
        return self.op("Where", above, self.constant(1.0), self.constant(-1.0))

    def integers(self, products: ir.Value) -> ir.Value:
        """Sums of ±1, as integers: a fast convolution may not give them exactly, and an optimizer that multiplied
        the scale into the weights would turn a 0, whose sign the next layer takes, into a small negative number."""
        return self.op("Round", products, name=self.name + DOT)


def _replace(model: ir.Model, node: ir.Node, lowering: Callable[[Writer], ir.Value]) -> None:
    import onnx_ir as ir

    writer = Writer(node)
    made, old = lowering(writer), node.outputs[0]
    name = old.name
    made.shape, made.type = old.shape, old.type
    for value in writer.tape.initializers:
        model.graph.register_initializer(value)
    model.graph.insert_before(node, list(writer.tape.nodes))
    ir.convenience.replace_all_uses_with(old, made, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)
    made.name = name


def _conv(w: Writer) -> ir.Value:
    kernel = [int(k) for k in w.attribute("kernel_shape", None)]
    axes, group, channels = len(kernel), int(w.attribute("group", 1)), int(w.attribute("channels", None))
    pads = [int(p) for p in w.attribute("pads", [0] * 2 * axes)]
    moves = {"strides": w.attribute("strides", [1] * axes), "dilations": w.attribute("dilations", [1] * axes)}
    packed = nodes.constant(w.inputs["W"])
    assert packed is not None
    outputs = packed.shape[0]
    weight = domain.unpack(packed, (outputs, channels // group, *kernel))
    along = (1,) * axes
    x = w.inputs["X"]
    signs = w.sign(x, w.given("threshold", (channels, *along)))
    value = int(w.attribute("pad_value", 0))
    left = pads
    if value and any(pads):
        widths = [0, 0, *pads[:axes], 0, 0, *pads[axes:]]
        signs = w.op("Pad", signs, w.constant(widths, np.int64), w.constant(float(value)), mode="constant")
        left = [0] * (2 * axes)
    y = w.integers(w.op("Conv", signs, w.constant(weight), kernel_shape=kernel, pads=left, group=group, **moves))
    # Factors are multiplied with each other first, as the layers compute.
    scale, rows = w.given("scale", (outputs, *along)), w.given("rows", (-1, 1))
    columns = w.given("columns", (-1,))
    factors = [f for f in (scale, rows, columns) if f is not None]
    if factors:
        factor = factors[0]
        for other in factors[1:]:
            factor = w.op("Mul", factor, other)
        y = w.op("Mul", y, factor)
    form = w.attribute("activation_scale", "")
    if form == "sample":
        y = w.op("Mul", y, _mean(w, w.op("Abs", x), list(range(1, axes + 2))))
    elif form == "spatial":
        y = w.op("Mul", y, _box(w, x, kernel, pads, group, channels, outputs, moves))
    return _epilogue(w, y, (outputs, *along))


def _box(
    w: Writer,
    x: ir.Value,
    kernel: list[int],
    pads: list[int],
    group: int,
    channels: int,
    outputs: int,
    moves: dict[str, Any],
) -> ir.Value:
    """XNOR-Net's K: the channel mean of |x|, box filtered with zero padding."""
    magnitude = w.op("Abs", x)
    ones = (1,) * len(kernel)
    if group == 1:
        mean, filters = _mean(w, magnitude, [1]), 1
    else:  # each group of channels has its own, which all its filters share
        each = channels // group
        mean = w.op("Conv", magnitude, w.constant(np.full((group, each, *ones), 1 / each)), group=group)
        filters = outputs
    weight = w.constant(np.full((filters, 1, *kernel), 1 / np.prod(kernel)))
    return w.op("Conv", mean, weight, kernel_shape=kernel, pads=pads, group=group, **moves)


def _linear(w: Writer) -> ir.Value:
    packed = nodes.constant(w.inputs["W"])
    assert packed is not None
    weight = domain.unpack(packed, (packed.shape[0], int(w.attribute("channels", None))))
    x = w.inputs["X"]
    signs = w.sign(x, w.given("threshold", (-1,)))
    y = w.integers(w.op("MatMul", signs, w.constant(weight.T)))
    scale = w.given("scale", (-1,))
    if scale is not None:
        y = w.op("Mul", y, scale)
    form = w.attribute("activation_scale", "")
    if form == "token":
        y = w.op("Mul", y, _mean(w, w.op("Abs", x), [-1]))
    elif form == "sample":
        assert x.shape is not None
        y = w.op("Mul", y, _mean(w, w.op("Abs", x), list(range(1, len(x.shape)))))
    return _epilogue(w, y, (-1,))


def _mean(w: Writer, x: ir.Value, axes: list[int]) -> ir.Value:
    return w.op("ReduceMean", x, w.constant(axes, np.int64), keepdims=1)


def _epilogue(w: Writer, y: ir.Value, channel: tuple[int, ...]) -> ir.Value:
    post_scale, bias = w.given("post_scale", channel), w.given("bias", channel)
    if post_scale is not None:
        y = w.op("Mul", y, post_scale)
    if bias is not None:
        y = w.op("Add", y, bias)
    if "residual" in w.inputs:
        y = w.op("Add", y, w.inputs["residual"])
    return ACTIVATIONS[w.attribute("activation", "")](w, y, channel)


def _slope(w: Writer, y: ir.Value, channel: tuple[int, ...]) -> ir.Value:
    values = nodes.constant(w.inputs["slope"])
    assert values is not None
    return w.op("PRelu", y, w.constant(values.reshape(() if values.size == 1 else channel)))


def _clip(w: Writer, y: ir.Value, channel: tuple[int, ...]) -> ir.Value:
    return w.op("Clip", y, w.constant(w.attribute("clip_min", None)), w.constant(w.attribute("clip_max", None)))


def _attention(w: Writer) -> ir.Value:
    q, k, v = (w.sign(w.inputs[name]) for name in "QKV")
    scores = w.op("MatMul", q, w.op("Transpose", k, perm=[0, 1, 3, 2]))
    compare = "Greater" if w.attribute("strict", 0) else "GreaterOrEqual"
    attended = w.op(compare, scores, w.constant(0.0))
    if "mask" in w.inputs:
        attended = w.op("And", attended, w.inputs["mask"])
    return w.op("MatMul", w.op("Where", attended, w.constant(1.0), w.constant(0.0)), v)


ACTIVATIONS: dict[str, Callable[[Writer, Any, tuple[int, ...]], Any]] = {
    "": lambda w, y, channel: y,
    "relu": lambda w, y, channel: w.op("Relu", y),
    "prelu": _slope,
    "clip": _clip,
}
LOWERINGS: dict[str, Callable[[Writer], Any]] = {
    domain.CONV: _conv,
    domain.LINEAR: _linear,
    domain.ATTENTION: _attention,
}
