"""The ONNX form that daBNN's converter takes in its strict mode, and a check of it.

Operators of opset 9 in a file of IR version 4, initializers listed as inputs too, static shapes, batch 1. A
1-bit convolution is four nodes in a row, and nothing else is recognized:

    Pad (constant, -1) → Sign → Conv (no padding, one group, weight = Sign of an initializer) → BatchNormalization
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

OPSET, IR_VERSION = 9, 4
EPSILON = 1e-5
"""Of BatchNormalization: the converter reads no other."""
ACTIVATIONS = ("PRelu", "Relu", "Softmax")
SHAPES = ("AveragePool", "Concat", "Flatten", "MaxPool", "Reshape")
OPERATORS = frozenset({"Add", "BatchNormalization", "Conv", "Gemm", "Pad", "Sign", *ACTIVATIONS, *SHAPES})
"""What it takes; Pad and Sign only within the pattern."""


def check_pattern(model: onnx.ModelProto) -> list[str]:
    """What keeps daBNN's converter from taking a model; empty if nothing does."""
    found = []
    if model.ir_version > IR_VERSION:
        found.append(f"IR version {model.ir_version}, expected at most {IR_VERSION}")
    if [(one.domain, one.version) for one in model.opset_import] != [("", OPSET)]:
        found.append(f"expected opset {OPSET} alone")
    graph = model.graph
    named = {value.name: value for value in graph.input}
    found += [f"initializer {t.name!r} is not listed as an input" for t in graph.initializer if t.name not in named]
    constants = {t.name for t in graph.initializer}
    for name, value in named.items():
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if name not in constants and (not dims or min(dims) < 1 or dims[0] != 1):
            found.append(f"input {name!r} has no static shape of batch 1")
    producers = {name: node for node in graph.node for name in node.output}
    consumers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type not in OPERATORS:
            found.append(f"node {node.name!r}: operator {node.op_type} is unknown to it")
        elif check := _CHECKS.get(node.op_type):
            found += [f"node {node.name!r}: {why}" for why in check(node, producers, consumers, constants)]
    return found


def attributes(node: Any) -> dict[str, Any]:
    """The attributes of a node as Python values."""
    import onnx

    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def is_binary(node: Any, producers: dict[str, Any]) -> bool:
    """Whether a convolution is 1-bit: its input or its weight is a sign."""
    return any(name in producers and producers[name].op_type == "Sign" for name in node.input[:2])


def _conv(node: Any, producers: Any, consumers: Any, constants: Any) -> list[str]:
    facts = attributes(node)
    found = [f"{facts['group']} groups, it has one"] if facts.get("group", 1) != 1 else []
    if not is_binary(node, producers):
        return found
    sign, weight = (producers.get(name) for name in node.input[:2])
    if sign is None or sign.op_type != "Sign":
        found.append("its weight is a sign, its input is not")
    if weight is None or weight.op_type != "Sign" or weight.input[0] not in constants:
        found.append("its weight is not the Sign of an initializer")
    if any(facts.get("pads", [])) or len(node.input) > 2:
        found.append("a 1-bit convolution has neither padding nor bias of its own")
    if [n.op_type for n in consumers.get(node.output[0], [])] != ["BatchNormalization"]:
        found.append("a 1-bit convolution must be followed by BatchNormalization alone")
    return found


def _sign(node: Any, producers: Any, consumers: Any, constants: Any) -> list[str]:
    if any(n.op_type != "Conv" for n in consumers.get(node.output[0], [])):
        return ["a sign is read by a convolution alone"]
    before = producers.get(node.input[0])
    if node.input[0] in constants or (before is not None and before.op_type == "Pad"):
        return []
    return ["a sign must follow a Pad, even one of nothing"]


def _pad(node: Any, producers: Any, consumers: Any, constants: Any) -> list[str]:
    facts = attributes(node)
    if facts.get("value", 0.0) != -1.0 or facts.get("mode", b"constant") != b"constant":
        return ["a border is of constants -1"]
    after = [n.op_type for n in consumers.get(node.output[0], [])]
    return [] if set(after) == {"Sign"} else ["a Pad is followed by Sign alone"]


def _norm(node: Any, producers: Any, consumers: Any, constants: Any) -> list[str]:
    epsilon = attributes(node).get("epsilon", EPSILON)
    return [] if abs(epsilon - EPSILON) < 1e-9 else [f"epsilon {epsilon:g} is ignored, {EPSILON:g} is used"]


_CHECKS = {"Conv": _conv, "Sign": _sign, "Pad": _pad, "BatchNormalization": _norm}
