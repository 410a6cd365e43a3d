"""A canonical graph becomes the ONNX form that daBNN's converter takes, node by node."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bibench.deploy import domain
from bibench.deploy.dabnn.pattern import EPSILON, IR_VERSION, OPSET, check_pattern
from bibench.deploy.engine import Array
from bibench.deploy.graph import Canonical
from bibench.deploy.passes import nodes
from bibench.deploy.plain import DOT
from bibench.deploy.tflite.translating import attribute
from bibench.foundation.errors import UnsupportedError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

WRITERS: dict[str, Callable[[Form, Any], None]] = {}


def writes(*names: str) -> Callable[[Callable[[Form, Any], None]], Callable[[Form, Any], None]]:
    """Decorator: the function writes these operators."""

    def enter(function: Callable[[Form, Any], None]) -> Callable[[Form, Any], None]:
        WRITERS.update(dict.fromkeys(names, function))
        return function

    return enter


def write(canonical: Canonical) -> onnx.ModelProto:
    """The model in the strict form; `UnsupportedError` names a node that has none."""
    form = Form()
    for node in canonical.model.graph:
        if all(nodes.constant(value) is not None for value in node.outputs):
            continue
        if node.op_type not in WRITERS:
            raise refuse(node, f"daBNN has no operator {node.op_type}; engine 'bibench' runs it")
        WRITERS[node.op_type](form, node)
    model = form.model(canonical)
    problems = check_pattern(model)
    assert not problems, problems
    return model


def refuse(node: ir.Node, why: str) -> UnsupportedError:
    """The error of a node without a strict form."""
    return UnsupportedError(f"node {node.name!r} cannot be exported for daBNN: {why}")


class Form:
    """The graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def op(self, kind: str, inputs: list[str], output: str = "", **facts: Any) -> str:
        """A node; the name of its output."""
        import onnx

        output = output or f"value{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], name=f"{kind}{len(self.nodes)}", **facts))
        return output

    def constant(self, data: Any, dtype: Any = np.float32) -> str:
        """An initializer."""
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(data, dtype)
        return name

    def read(self, node: ir.Node, *positions: int) -> list[str]:
        """Names of a node's computed inputs."""
        for i in positions:
            if nodes.constant(node.inputs[i]) is not None:
                raise refuse(node, "daBNN has no element-wise operators with constants")
        return [str(node.inputs[i].name) for i in positions]  # type: ignore[union-attr]

    def affine(self, x: str, scale: Any, shift: Any, output: str = "") -> str:
        """x · scale + shift per channel, as a norm of mean 0 whose variance and epsilon sum to 1."""
        scale = np.asarray(scale, np.float32)
        channels = scale.shape
        norm = [scale, np.broadcast_to(shift, channels), np.zeros(channels), np.full(channels, 1 - EPSILON)]
        return self.op("BatchNormalization", [x, *map(self.constant, norm)], output, epsilon=EPSILON)

    def clip(self, x: str, low: float, high: float, channels: int, output: str) -> str:
        """min(max(x, low), high) by ReLUs: high - relu((high - low) - relu(x - low))."""
        ones = np.ones(channels)
        y = self.op("Relu", [self.affine(x, ones, -low)])
        y = self.op("Relu", [self.affine(y, -ones, high - low)])
        return self.affine(y, -ones, high, output)

    def model(self, canonical: Canonical) -> onnx.ModelProto:
        """The finished model, its batch closed to 1."""
        from onnx import TensorProto, helper, numpy_helper

        graph = canonical.model.graph

        def about(value: ir.Value) -> Any:
            assert value.shape is not None
            shape = [d if isinstance(d, int) else 1 for d in value.shape]
            return helper.make_tensor_value_info(value.name or "", TensorProto.FLOAT, shape)

        constants = [numpy_helper.from_array(data, name) for name, data in self.constants.items()]
        listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in constants]
        inputs, outputs = [about(v) for v in graph.inputs], [about(v) for v in graph.outputs]
        made = helper.make_graph(self.nodes, "bibench", [*inputs, *listed], outputs, constants)
        return helper.make_model(
            made, producer_name="bibench", ir_version=IR_VERSION, opset_imports=[helper.make_opsetid("", OPSET)]
        )


@writes(domain.CONV)
def binary_conv(form: Form, node: ir.Node) -> None:
    """Pad, Sign, Conv and BatchNormalization; the epilogue by nodes of their own."""
    given = nodes.inputs_of(node)
    kernel, pads = [list(attribute(node, name)) for name in ("kernel_shape", "pads")]
    packed = nodes.constant(given["W"])
    assert packed is not None
    outputs = len(packed)
    x = str(given["X"].name)
    padded = form.op("Pad", [x], mode="constant", value=-1.0, pads=[0, 0, *pads[:2], 0, 0, *pads[2:]])
    weight = domain.unpack(packed, (outputs, int(attribute(node, "channels")), *kernel))
    signs = [form.op("Sign", [padded]), form.op("Sign", [form.constant(weight)])]
    moves = {"strides": attribute(node, "strides"), "dilations": attribute(node, "dilations")}
    y = form.op("Conv", signs, f"{node.name}{DOT}", kernel_shape=kernel, pads=[0] * 4, group=1, **moves)
    scale, bias = (nodes.constant(given[k]) if k in given else None for k in ("scale", "bias"))
    name, residual = str(node.outputs[0].name), given.get("residual")
    activation = _needed_activation(node)
    last = residual is None and not activation
    scales = np.ones(outputs) if scale is None else scale
    y = form.affine(y, scales, np.float32(0) if bias is None else bias, name if last else "")
    if residual is not None:
        y = form.op("Add", [y, str(residual.name)], "" if activation else name)
    if activation == "relu":
        form.op("Relu", [y], name)
    elif activation == "prelu":
        slope = nodes.constant(given["slope"])
        assert slope is not None
        form.op("PRelu", [y, form.constant(np.broadcast_to(slope.reshape(-1), outputs).reshape(-1, 1, 1))], name)
    elif activation == "clip":
        form.clip(y, float(attribute(node, "clip_min")), float(attribute(node, "clip_max")), outputs, name)


def _needed_activation(node: ir.Node) -> str:
    """The node's activation; "" also for a clip around 0 of which only the signs are taken, as it moves none."""
    activation = str(attribute(node, "activation", ""))
    if activation == "clip" and _only_signs(node.outputs[0], attribute(node, "clip_min"), attribute(node, "clip_max")):
        return ""
    return activation


def _only_signs(value: ir.Value, low: float, high: float) -> bool:
    uses = list(value.uses())
    signed = all(use.node.domain == domain.DOMAIN and use.idx == 0 for use in uses)
    return low < 0 < high and signed and bool(uses) and not value.is_graph_output()


@writes("Conv")
def conv(form: Form, node: ir.Node) -> None:
    """In full precision."""
    facts = {name: attribute(node, name) for name in ("kernel_shape", "strides", "pads", "dilations")}
    if attribute(node, "group", 1) != 1:
        raise refuse(node, "daBNN has no grouped convolutions")
    parts = [nodes.constant(v) for v in node.inputs[1:]]
    if len(parts[0].shape) != 4:  # type: ignore[union-attr]
        raise refuse(node, "daBNN has 2-d convolutions alone")
    inputs = [*form.read(node, 0), *(form.constant(p) for p in parts)]
    form.op("Conv", inputs, str(node.outputs[0].name), group=1, **facts)


@writes("BatchNormalization")
def batch_norm(form: Form, node: ir.Node) -> None:
    """With the epsilon that daBNN computes with; the factor absorbs the difference."""
    weight, bias, mean, variance = (np.asarray(nodes.constant(v), np.float64) for v in node.inputs[1:5])
    epsilon = float(attribute(node, "epsilon", 1e-5))
    weight = weight * np.sqrt((variance + EPSILON) / (variance + epsilon))
    constants = map(form.constant, (weight, bias, mean, variance))
    form.op("BatchNormalization", [*form.read(node, 0), *constants], str(node.outputs[0].name), epsilon=EPSILON)


@writes("Clip")
def clip(form: Form, node: ir.Node) -> None:
    """By ReLUs."""
    bounds = [nodes.constant(v) if v is not None else None for v in [*node.inputs[1:], None, None][:2]]
    low, high = (float(b) if b is not None else limit for b, limit in zip(bounds, (-math.inf, math.inf)))
    (x,), name = form.read(node, 0), str(node.outputs[0].name)
    shape = node.outputs[0].shape
    if not math.isfinite(low) or shape is None or len(shape) != 4:
        raise refuse(node, "daBNN has no clip, and ReLUs express only one with a lower bound over maps")
    channels = int(shape[1])  # type: ignore[arg-type]
    if math.isfinite(high):
        form.clip(x, low, high, channels, name)
    else:
        ones = np.ones(channels)
        form.affine(form.op("Relu", [form.affine(x, ones, -low)]), ones, low, name)


@writes("Relu", "Add", "Concat", "Flatten", "Softmax")
def unchanged(form: Form, node: ir.Node) -> None:
    """The same in opset 9, for what daBNN takes."""
    known = {"Concat": ("axis",), "Flatten": ("axis",), "Softmax": ("axis",)}.get(node.op_type, ())
    facts = {name: attribute(node, name) for name in known if name in node.attributes}
    form.op(node.op_type, form.read(node, *range(len(node.inputs))), str(node.outputs[0].name), **facts)


@writes("PRelu")
def prelu(form: Form, node: ir.Node) -> None:
    """Constant slopes."""
    slope = nodes.constant(node.inputs[1])
    form.op("PRelu", [*form.read(node, 0), form.constant(slope)], str(node.outputs[0].name))


@writes("MaxPool", "AveragePool")
def pool(form: Form, node: ir.Node) -> None:
    """Without what opset 9 has not."""
    if attribute(node, "ceil_mode", 0) or any(d != 1 for d in attribute(node, "dilations", ())):
        raise refuse(node, "daBNN has neither ceil_mode nor dilated pooling")
    if attribute(node, "count_include_pad", 0) and any(attribute(node, "pads", ())):
        raise refuse(node, "daBNN does not count padding in means")
    facts = {name: attribute(node, name) for name in ("kernel_shape", "strides", "pads") if name in node.attributes}
    form.op(node.op_type, form.read(node, 0), str(node.outputs[0].name), **facts)


@writes("GlobalAveragePool", "ReduceMean")
def mean(form: Form, node: ir.Node) -> None:
    """A pooling window as large as the map: daBNN hangs on GlobalAveragePool."""
    source = node.inputs[0]
    assert source is not None
    shape = [d if isinstance(d, int) else 1 for d in source.shape or ()]
    axes = nodes.constant(node.inputs[1]) if len(node.inputs) > 1 else np.array([2, 3])
    if len(shape) != 4 or axes is None or sorted(int(a) % 4 for a in axes) != [2, 3]:
        raise refuse(node, "daBNN has means over the whole map alone")
    name = str(node.outputs[0].name)
    keep = node.op_type != "ReduceMean" or attribute(node, "keepdims", 1)
    y = form.op("AveragePool", form.read(node, 0), name if keep else "", kernel_shape=shape[2:])
    if not keep:
        form.op("Flatten", [y], name, axis=1)


@writes("Reshape")
def reshape(form: Form, node: ir.Node) -> None:
    """To a constant shape."""
    wanted = nodes.constant(node.inputs[1])
    if wanted is None:
        raise refuse(node, "its shape is computed")
    form.op("Reshape", [*form.read(node, 0), form.constant(wanted, np.int64)], str(node.outputs[0].name))


@writes("Gemm")
def gemm(form: Form, node: ir.Node) -> None:
    """With transB, alpha and beta as daBNN assumes them."""
    weight = nodes.constant(node.inputs[1])
    bias = nodes.constant(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(1)
    if weight is None or bias is None or attribute(node, "transA", 0):
        raise refuse(node, "daBNN has products with constant matrices alone")
    weight = (weight if attribute(node, "transB", 0) else weight.T) * np.float32(attribute(node, "alpha", 1.0))
    bias = np.broadcast_to(bias.reshape(-1), len(weight)) * np.float32(attribute(node, "beta", 1.0))
    constants = [form.constant(weight), form.constant(bias)]
    form.op("Gemm", [*form.read(node, 0), *constants], str(node.outputs[0].name), transB=1, alpha=1.0, beta=1.0)
