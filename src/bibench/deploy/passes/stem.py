"""Give the float convolution at a network's input, with its activation and max pooling, to the operator `StemConv`.

The same sums in another order: only the rounding of floats changes. For the engine that has the operator; elsewhere the
graph keeps its ordinary nodes. Convolutions are left alone where the operator would not be faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bibench.deploy import domain
from bibench.deploy.passes import activation, nodes

if TYPE_CHECKING:
    import onnx_ir as ir

# Where it is faster than ONNX Runtime's convolution, as measured (docs/deployment.md).
CHANNELS = (3, 4)
LEAST_OUTPUTS = {1: 128, 2: 32}
"""Channels, by stride."""
LEAST_PIXELS = 1024
TAPS = (3, 4)
"""Of a filter's phase along an axis: its size by the stride, rounded up. Two save too few products."""
MOST_POOL = 16


def fold(model: ir.Model) -> list[str]:
    """Apply it; the names of the nodes that it made."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    made = []
    for node in [n for n in model.graph if n.op_type == "Conv" and not n.domain and _suits(n)]:
        stem = _replace(model, node)
        made.append(stem.name or "")
        activation.fold_into(model, [stem])
        _pool(model, next(n for n in model.graph if n.name == stem.name))
    if made:
        model.opset_imports.setdefault(domain.DOMAIN, domain.VERSION)
        RemoveUnusedNodesPass()(model)
    return made


def _ints(node: ir.Node, name: str, otherwise: Sequence[int]) -> list[int]:
    found = node.attributes.get(name)
    return list(otherwise) if found is None else [int(v) for v in found.value]


def _plain(node: ir.Node, **expected: Any) -> bool:
    """Whether attributes that are present have these values."""
    return all(
        (list(found.value) if isinstance(value, list) else found.value) == value
        for name, value in expected.items()
        if (found := node.attributes.get(name)) is not None
    )


def _suits(node: ir.Node) -> bool:
    import onnx_ir as ir

    weight = nodes.constant(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if weight is None or weight.ndim != 4 or node.inputs[0] is None or node.inputs[0].dtype != ir.DataType.FLOAT:
        return False
    if bias is not None and nodes.constant(bias) is None:
        return False
    if not _plain(node, group=1, dilations=[1, 1], auto_pad="NOTSET"):
        return False
    outputs, channels, *kernel = weight.shape
    down, along = _ints(node, "strides", (1, 1))
    taps = [-(-size // stride) for size, stride in zip(kernel, (down, along), strict=True)]
    return (
        channels in CHANNELS
        and down == along
        and down in LEAST_OUTPUTS
        and outputs >= LEAST_OUTPUTS[down]
        and all(t in TAPS for t in taps)
        and min(_ints(node, "pads", (0, 0, 0, 0))) >= 0
        and _large(node.outputs[0])
    )


def _large(value: ir.Value) -> bool:
    """Whether a map is, or may be, large enough."""
    sizes = [] if value.shape is None else [size for size in value.shape[2:] if isinstance(size, int)]
    return len(sizes) < 2 or sizes[0] * sizes[1] >= LEAST_PIXELS


def _replace(model: ir.Model, node: ir.Node) -> ir.Node:
    import onnx_ir as ir

    attributes = {
        name: _ints(node, name, ()) for name in ("kernel_shape", "strides", "pads") if name in node.attributes
    }
    made = ir.node(
        domain.STEM,
        node.inputs,
        {**attributes, "opset": domain.VERSION},
        domain=domain.DOMAIN,
        name=node.name or "stem",
    )
    old, new = node.outputs[0], made.outputs[0]
    new.shape, new.type = old.shape, old.type
    name = old.name
    model.graph.insert_before(node, made)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)
    new.name = name
    return made


def _pool(model: ir.Model, node: ir.Node) -> None:
    last = nodes.only_consumer(node.outputs[0])
    if last is None or last.domain or last.op_type != "MaxPool" or len(last.outputs) > 1:
        return
    size = _ints(last, "kernel_shape", ())
    if not _plain(last, ceil_mode=0, storage_order=0, dilations=[1] * len(size), auto_pad="NOTSET"):
        return
    strides, pads = _ints(last, "strides", [1] * len(size)), _ints(last, "pads", [0] * 2 * len(size))
    if max(*size, *strides) > MOST_POOL or min(pads) < 0 or any(p >= s for p, s in zip(pads, size * 2, strict=True)):
        return
    nodes.replace(model, node, last, attributes={"pool_shape": size, "pool_strides": strides, "pool_pads": pads})
