"""What the passes share: the inputs of a 1-bit node by name, and replacing two nodes by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bibench.deploy import domain

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]

SHIFT = "bibench.shift"
"""Metadata of a node whose input was shifted by what is now in its threshold; broadcast to the input."""


def binary_nodes(model: ir.Model) -> list[ir.Node]:
    """The convolutions and linear layers of the domain, in the order of the graph."""
    return [n for n in model.graph if n.domain == domain.DOMAIN and n.op_type in (domain.CONV, domain.LINEAR)]


def inputs_of(node: ir.Node) -> dict[str, ir.Value]:
    """The inputs that are present, by name."""
    return {
        name: value for name, value in zip(domain.INPUTS[node.op_type], node.inputs, strict=False) if value is not None
    }


def constant(value: ir.Value | None) -> Array | None:
    """The value of an initializer or constant node, else None."""
    import onnx_ir as ir

    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that uses `value`, once; None when it is used elsewhere or is an output of the model."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def channels_out(node: ir.Node) -> int:
    """C_o."""
    weight = inputs_of(node)["W"].shape
    assert weight is not None
    return int(weight[0])  # type: ignore[arg-type]


def rank(value: ir.Value) -> int | None:
    """Number of axes, if known."""
    return None if value.shape is None else len(value.shape)


def same_shape(one: ir.Value, other: ir.Value) -> bool:
    """Whether two values are known to have the same shape."""
    return one.shape is not None and one.shape == other.shape and not one.shape.has_unknown_dim()


def per_channel(values: Array, node: ir.Node, output_rank: int | None, channels: int) -> Array | None:
    """A constant that is broadcast to the node's map, as one value per channel (channels,); None if it is not that."""
    from_right = 1 if node.op_type == domain.LINEAR else (output_rank or 0) - 1  # place of the channel axis
    if output_rank is None or values.ndim > output_rank:
        return None
    if values.size == 1:
        return np.full(channels, values.reshape(()), values.dtype)
    if values.ndim < from_right or values.shape[values.ndim - from_right] != channels or values.size != channels:
        return None
    return values.reshape(-1)


def epilogue_free(node: ir.Node, *stages: str) -> bool:
    """Whether none of the later `stages` ("residual", "activation") is in the node yet."""
    activation = node.attributes.get("activation")
    taken = {"residual"} if "residual" in inputs_of(node) else set()
    taken |= {"activation"} if activation is not None and activation.as_string() else set()
    return not taken & set(stages)


def replace(
    model: ir.Model,
    node: ir.Node,
    last: ir.Node,
    *,
    constants: dict[str, Array] | None = None,
    values: dict[str, ir.Value] | None = None,
    attributes: dict[str, Any] | None = None,
) -> ir.Node:
    """Put one node in the place of `node` and `last` (which may be the same), with further inputs and attributes."""
    import onnx_ir as ir

    inputs = inputs_of(node) | (values or {})
    for name, array in (constants or {}).items():
        inputs[name] = _initializer(model, f"{node.name}.{name}", array.astype(np.float32))
    order = domain.INPUTS[node.op_type]
    given = [inputs.get(name) for name in order]
    while given[-1] is None:
        given.pop()
    kept = [*node.attributes.values(), *(ir.convenience.convert_attributes(attributes or {}))]
    made = ir.Node(
        node.domain,
        node.op_type,
        given,
        {a.name: a for a in kept}.values(),
        num_outputs=1,
        name=node.name,
    )
    made.metadata_props.update(node.metadata_props)
    old, new = last.outputs[0], made.outputs[0]
    new.shape, new.type = old.shape, old.type
    name = old.name or ""
    model.graph.insert_before(last, made)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    model.graph.remove([last] if last is node else [last, node], safe=True)
    new.name = name
    return made


def _initializer(model: ir.Model, name: str, array: Array) -> ir.Value:
    import onnx_ir as ir

    while name in model.graph.initializers:  # of another node, too, where equal ones were merged
        name += ".folded"
    value = ir.Value(
        name=name,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.FLOAT),
        const_value=ir.tensor(array, name=name),
    )
    model.graph.register_initializer(value)
    return value
