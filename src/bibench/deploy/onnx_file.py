"""What the engines that write ONNX share: bytes of a graph, and running with a look at the layers' inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bibench.deploy import manifest
from bibench.deploy.engine import Array, check_inputs
from bibench.errors import BiBenchError

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
    """Outputs of an ONNX Runtime session."""
    expected = [
        (i.name, [d if isinstance(d, int) else "any" for d in i.shape], _dtype(i.type)) for i in session.get_inputs()
    ]
    arrays = check_inputs(expected, inputs)
    feed = {name: array for (name, *_), array in zip(expected, arrays, strict=True)}
    return list(session.run(None, feed))


def layer_inputs(path: Path, inputs: Sequence[Array], open_: Callable[[bytes], Any]) -> dict[str, Array] | None:
    """The inputs of the 1-bit layers that the manifest names, from a session with further outputs."""
    import onnx

    described = manifest.read(path)
    if described is None or not described.layers:
        return None
    proto = onnx.load(str(path))
    present = {o.name for o in proto.graph.output}
    wanted = list(dict.fromkeys(described.layers.values()))
    for name in wanted:
        if name not in present and name not in {i.name for i in proto.graph.input}:
            proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = open_(proto.SerializeToString())
    names = [o.name for o in session.get_outputs()]
    found = dict(zip(names, run(session, inputs), strict=True))
    found |= {i.name: array for i, array in zip(session.get_inputs(), inputs, strict=True)}
    return {layer: found[name] for layer, name in described.layers.items()}


def _dtype(kind: str) -> str:
    names = {"float": "float32", "double": "float64", "float16": "float16"}
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return names.get(inner, inner)
