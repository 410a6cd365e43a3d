"""What the engines that write ONNX share: bytes of a graph, and running with a look at the layers' inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bibench.deploy import domain, manifest
from bibench.deploy.engine import Array, LayerValues, check_inputs
from bibench.deploy.plain import DOT
from bibench.deploy.session import first_line
from bibench.foundation.errors import BiBenchError

if TYPE_CHECKING:
    import onnx_ir as ir

LIMIT = 2**31 - 1


def serialize(model: ir.Model) -> bytes:
    """The bytes of a graph; a `BiBenchError` where protobuf's limit of 2 GB is exceeded."""
    import onnx_ir as ir

    content = ir.to_proto(model).SerializeToString()
    if len(content) > LIMIT:
        raise BiBenchError(f"the model has {len(content):,} bytes; ONNX files hold at most 2 GB")
    return bytes(content)


def run(session: Any, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of an ONNX Runtime session; a `BiBenchError` for inputs that the model does not take."""
    expected = [
        (i.name, [d if isinstance(d, int) else "any" for d in i.shape], _dtype(i.type)) for i in session.get_inputs()
    ]
    arrays = check_inputs(expected, inputs)
    feed = {name: array for (name, *_), array in zip(expected, arrays, strict=True)}
    try:
        return list(session.run(None, feed))
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise BiBenchError(f"ONNX Runtime does not run the model: {first_line(error)}") from error


def layer_values(path: Path, inputs: Sequence[Array], open_: Callable[[bytes], Any]) -> dict[str, LayerValues] | None:
    """What the 1-bit layers that the manifest names see and give, from a session with further outputs."""
    import onnx

    described = manifest.read(path)
    if described is None or not described.layers:
        return None
    proto = onnx.load(str(path))
    products = {layer: _product(proto, layer, values) for layer, values in described.layers.items()}
    wanted = [name for values in described.layers.values() for name in values["inputs"]] + list(products.values())
    known = {value.name for value in (*proto.graph.output, *proto.graph.input)}
    for name in dict.fromkeys(wanted):
        if name not in known:
            proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = open_(proto.SerializeToString())
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, run(session, inputs), strict=True))
    found |= {i.name: array for i, array in zip(session.get_inputs(), inputs, strict=True)}
    return {
        layer: LayerValues(
            tuple(found[name] + np.float32(values.get("shift", 0.0)) for name in values["inputs"]),
            found[products[layer]],
        )
        for layer, values in described.layers.items()
    }


def _product(proto: Any, layer: str, values: dict[str, Any]) -> str:
    """The name of the layer's integer products; a packed layer gets a node that gives them, without epilogue."""
    import onnx

    node = next((n for n in proto.graph.node if n.name == layer and n.domain == domain.DOMAIN), None)
    if node is None:  # lowered
        named = {name for n in proto.graph.node for name in n.output}
        return layer + DOT if layer + DOT in named else str(values["output"])
    if node.op_type == domain.ATTENTION:
        return str(values["output"])
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    bare.name, bare.output[:] = layer + DOT, [layer + DOT]
    kept = {"X", "W", "threshold"}
    names = [name if kind in kept else "" for kind, name in zip(domain.INPUTS[node.op_type], node.input, strict=False)]
    while not names[-1]:
        names.pop()
    bare.input[:] = names
    dropped = ("activation", "activation_scale", "clip_min", "clip_max")
    attributes = [a for a in bare.attribute if a.name not in dropped]
    del bare.attribute[:]
    bare.attribute.extend(attributes)
    proto.graph.node.append(bare)
    return layer + DOT


def _dtype(kind: str) -> str:
    names = {"float": "float32", "double": "float64", "float16": "float16"}
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return names.get(inner, inner)
