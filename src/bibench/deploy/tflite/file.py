"""The file form of `Graph`: a flatbuffer of TensorFlow Lite's schema (file identifier ``TFL3``).

Reading validates everything that is used, so that a damaged or hostile file is refused before an
interpreter sees it: sizes of constants, indices, operators.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bibench.deploy.tflite.graph import CUSTOM, OPTIONS, TYPES, VERSIONS, Array, Graph, Notes, Operator, Tensor
from bibench.errors import BiBenchError, require
from bibench.typed_json import conform

IDENTIFIER = b"TFL3"
SCHEMA = 3
ALIGNMENT = 16
"""Of constants, in bytes, as the schema demands."""
METADATA = "bibench"
LIMIT = 2**31 - 1


def require_libraries() -> None:
    """Raise with the install line unless the schema and flatbuffers are installed."""
    for library in ("flatbuffers", "tflite"):
        require(library, extra="larq", purpose="writing TensorFlow Lite files")


def write(graph: Graph) -> bytes:
    """The bytes of a `.tflite` file."""
    require_libraries()
    import flatbuffers  # type: ignore[import-untyped]
    import tflite  # type: ignore[import-untyped]

    if sum(t.data.nbytes for t in graph.tensors if t.data is not None) > LIMIT - 2**20:
        raise BiBenchError("the model's constants exceed the 2 GB that a TensorFlow Lite file holds")
    out = _Writer(flatbuffers.Builder(1 << 16), tflite)
    return out.model(graph)


class _Writer:
    """Writes tables from the leaves up, as flatbuffers need it."""

    def __init__(self, builder: Any, schema: Any) -> None:
        self.builder, self.schema = builder, schema

    def table(self, kind: str, **fields: Any) -> int:
        """A table; offsets of its parts must have been made before."""
        getattr(self.schema, f"{kind}Start")(self.builder)
        for name, value in fields.items():
            getattr(self.schema, f"{kind}Add{name}")(self.builder, value)
        return int(getattr(self.schema, f"{kind}End")(self.builder))

    def blob(self, content: bytes) -> int:
        """An aligned vector of bytes."""
        b = self.builder
        b.StartVector(1, len(content), ALIGNMENT)
        b.head = b.Head() - len(content)
        b.Bytes[b.Head() : b.Head() + len(content)] = content
        return int(b.EndVector())

    def integers(self, values: Sequence[int]) -> int:
        return int(self.builder.CreateNumpyVector(np.asarray(values, np.int32)))

    def tables(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def string(self, text: str) -> int:
        return int(self.builder.CreateString(text))

    def model(self, graph: Graph) -> bytes:
        contents = [b"", *(t.data.tobytes() for t in graph.tensors if t.data is not None)]
        contents.append(json.dumps(graph.notes).encode())
        places = iter(range(1, len(contents)))
        tensors = [self.tensor(t, 0 if t.data is None else next(places)) for t in graph.tensors]
        codes = list(dict.fromkeys(op.code for op in graph.operators))
        operators = [self.operator(op, codes.index(op.code)) for op in graph.operators]
        subgraph = self.table(
            "SubGraph",
            Tensors=self.tables(tensors),
            Inputs=self.integers(graph.inputs),
            Outputs=self.integers(graph.outputs),
            Operators=self.tables(operators),
            Name=self.string("main"),
        )
        about = self.table("Metadata", Name=self.string(METADATA), Buffer=len(contents) - 1)
        made = self.table(
            "Model",
            Version=SCHEMA,
            OperatorCodes=self.tables([self.code(code) for code in codes]),
            Subgraphs=self.tables([subgraph]),
            Description=self.string("bibench"),
            Buffers=self.tables([self.buffer(content) for content in contents]),
            Metadata=self.tables([about]),
        )
        self.builder.Finish(made, IDENTIFIER)
        return bytes(self.builder.Output())

    def buffer(self, content: bytes) -> int:
        return self.table("Buffer", Data=self.blob(content)) if content else self.table("Buffer")

    def tensor(self, tensor: Tensor, place: int) -> int:
        kind = getattr(self.schema.TensorType, TYPES[tensor.dtype])
        return self.table(
            "Tensor", Shape=self.integers(tensor.shape), Type=kind, Buffer=place, Name=self.string(tensor.name)
        )

    def code(self, code: str) -> int:
        builtin = self.schema.BuiltinOperator
        number = builtin.CUSTOM if code in CUSTOM else getattr(builtin, code)
        fields = {"DeprecatedBuiltinCode": min(number, 127), "BuiltinCode": number, "Version": VERSIONS.get(code, 1)}
        if code in CUSTOM:
            fields["CustomCode"] = self.string(code)
        return self.table("OperatorCode", **fields)

    def operator(self, op: Operator, code: int) -> int:
        fields: dict[str, Any] = {"OpcodeIndex": code}
        if op.code in CUSTOM:
            if op.options:
                from flatbuffers import flexbuffers

                fields["CustomOptions"] = self.blob(bytes(flexbuffers.Dumps(op.options)))
        elif OPTIONS[op.code][0]:
            table, known = OPTIONS[op.code]
            assert not op.options.keys() - set(known), (op.code, op.options)
            fields["BuiltinOptionsType"] = getattr(self.schema.BuiltinOptions, table)
            fields["BuiltinOptions"] = self.table(table, **op.options)
        return self.table("Operator", Inputs=self.integers(op.inputs), Outputs=self.integers(op.outputs), **fields)


def read(content: bytes, source: str) -> Graph:
    """The graph of a `.tflite` file that `write` made; a `BiBenchError` for anything else."""
    require_libraries()
    import tflite

    try:
        if content[4:8] != IDENTIFIER:
            raise BiBenchError("its identifier is not TFL3")
        graph = _Reader(content, tflite).graph()
    except Exception as error:  # of many kinds, from offsets that lead anywhere
        raise BiBenchError(
            f"{source} is not a TensorFlow Lite file that bibench wrote, or damaged "
            f"({type(error).__name__}: {error}); export the model again"
        ) from error
    return graph


class _Reader:
    def __init__(self, content: bytes, schema: Any) -> None:
        self.size, self.schema = len(content), schema
        self.model = schema.Model.GetRootAs(content, 0)

    def graph(self) -> Graph:
        model, schema = self.model, self.schema
        if model.Version() != SCHEMA or model.SubgraphsLength() != 1:
            raise BiBenchError("expected one graph of schema version 3")
        names = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        codes = []
        for one in self.each(model.OperatorCodesLength(), model.OperatorCodes):
            name = names[max(one.BuiltinCode(), one.DeprecatedBuiltinCode())]
            codes.append(one.CustomCode().decode() if name == "CUSTOM" else name)
        if unknown := [c for c in codes if c not in CUSTOM and c not in OPTIONS]:
            raise BiBenchError(f"operator {unknown[0]} is none that bibench writes")
        main = model.Subgraphs(0)
        graph = Graph([self.tensor(t) for t in self.each(main.TensorsLength(), main.Tensors)])
        count = len(graph.tensors)
        graph.inputs = self.indices(main.InputsLength(), main.Inputs, count)
        graph.outputs = self.indices(main.OutputsLength(), main.Outputs, count)
        for op in self.each(main.OperatorsLength(), main.Operators):
            inputs = self.indices(op.InputsLength(), op.Inputs, count, -1)
            outputs = self.indices(op.OutputsLength(), op.Outputs, count)
            code = codes[op.OpcodeIndex()]
            graph.operators.append(Operator(code, inputs, outputs, self.options(op, code)))
        for about in self.each(model.MetadataLength(), model.Metadata):
            if about.Name() == METADATA.encode():
                said = json.loads(self.data(about.Buffer()).tobytes())
                graph.notes = dict(conform(said, Notes, f"metadata {METADATA!r}", "it was changed"))
        return graph

    def each(self, count: int, get: Any) -> list[Any]:
        if count * 4 > self.size:
            raise BiBenchError("a list is longer than the file")
        return [get(i) for i in range(count)]

    def indices(self, count: int, get: Any, limit: int, lowest: int = 0) -> list[int]:
        found = self.each(count, get)
        if any(not lowest <= i < limit for i in found):
            raise BiBenchError("a tensor is named that does not exist")
        return found

    def data(self, place: int) -> Array:
        if not 0 <= place < self.model.BuffersLength():
            raise BiBenchError("a buffer is named that does not exist")
        found = self.model.Buffers(place).DataAsNumpy()
        return np.zeros(0, np.uint8) if isinstance(found, int) else found

    def tensor(self, given: Any) -> Tensor:
        kinds = {getattr(self.schema.TensorType, name): dtype for dtype, name in TYPES.items()}
        dtype = kinds[given.Type()]
        shape = tuple(self.each(given.ShapeLength(), given.Shape))
        bytes_ = math.prod(shape) * np.dtype(dtype).itemsize
        name = given.Name().decode()
        if len(shape) > 6 or min(shape, default=1) < 1 or bytes_ > LIMIT:
            raise BiBenchError(f"tensor {name!r} has shape {shape}")
        if not given.Buffer():
            return Tensor(name, shape, dtype)
        content = self.data(given.Buffer())
        if content.nbytes != bytes_:
            raise BiBenchError(f"constant {name!r} has {content.nbytes} bytes, its shape {shape} needs {bytes_}")
        return Tensor(name, shape, dtype, np.frombuffer(content.tobytes(), dtype).reshape(shape))

    def options(self, op: Any, code: str) -> dict[str, Any]:
        if code in CUSTOM:
            from flatbuffers import flexbuffers

            count = op.CustomOptionsLength()
            return dict(flexbuffers.Loads(bytearray(op.CustomOptionsAsNumpy().tobytes()))) if count else {}
        table, names = OPTIONS[code]
        if not table or op.BuiltinOptions() is None:
            return {}
        if op.BuiltinOptionsType() != getattr(self.schema.BuiltinOptions, table):
            raise BiBenchError(f"operator {code} has options of another one")
        found = getattr(self.schema, table)()
        found.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
        return {name: getattr(found, name)() for name in names}
