"""A canonical graph becomes a TensorFlow Lite graph, node by node.

A translator is a function for one ONNX operator, in `tflite/nodes/`:

    @translator("Relu")
    def relu(net, node):
        held = net.held(node.inputs[0])
        net.give(node, net.op("RELU", [held.index], net.shape(held.index)), last=held.last)

Values keep their ONNX names. A map (N, C, H, W) is held channels-last, a sequence (N, C, L) as a map of height 1,
from the first node that wants it so to the first that needs the order of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bibench.deploy import domain
from bibench.deploy.graph import BATCH, Canonical
from bibench.deploy.passes import nodes
from bibench.deploy.tflite.fusing import fuse_activations
from bibench.deploy.tflite.graph import CUSTOM, Array, Graph, Operator, Tensor
from bibench.foundation.errors import UnsupportedError
from bibench.foundation.registry import Registry

if TYPE_CHECKING:
    import onnx_ir as ir

Translator = Callable[["Net", Any], None]
TRANSLATORS: Registry[Translator] = Registry("ONNX operator", "bibench.deploy.tflite.nodes")

TO_LAST = (0, 2, 3, 1)
TO_FIRST = (0, 3, 1, 2)
LAYOUTS = "channels_last"
LAYERS = "layers"
SCALED = "/scaled"
"""What `Graph.notes` holds: names of the values that are channels-last, and of each 1-bit layer. The output
of a layer's 1-bit convolution is named as the layer with this ending."""


def translator(*names: str) -> Callable[[Translator], Translator]:
    """Decorator: the function translates these ONNX operators."""

    def enter(function: Translator) -> Translator:
        for name in names:
            TRANSLATORS.register(name, function)
        return function

    return enter


@dataclass(frozen=True)
class Held:
    """Where a value is: its tensor, whether it is channels-last, and its number of axes in ONNX."""

    index: int
    last: bool
    rank: int


class Net:
    """The graph under construction."""

    def __init__(self) -> None:
        self.graph = Graph(notes={LAYOUTS: [], LAYERS: {}})
        self._held: dict[Any, Held] = {}
        self._constants: dict[Any, int] = {}
        self._done: dict[Any, int] = {}
        self._names: set[str] = set()

    def shape(self, index: int) -> tuple[int, ...]:
        """Of a tensor."""
        return self.graph.tensors[index].shape

    def constant(self, data: Any, dtype: Any = np.float32) -> int:
        """A constant tensor; equal ones are shared."""
        array = np.asarray(data, dtype)
        key = (array.tobytes(), array.shape, array.dtype.name)
        if key not in self._constants:
            self._constants[key] = self.graph.constant(array, f"constant{len(self._constants)}")
        return self._constants[key]

    def op(
        self,
        code: str,
        inputs: list[int],
        shape: tuple[int, ...],
        *,
        dtype: str = "",
        unique: str = "",
        **options: Any,
    ) -> int:
        """The output of an operator; the same one on the same inputs is computed once, unless it is `unique`."""
        key = (code, tuple(inputs), tuple(shape), repr(sorted(options.items())), unique)
        if key not in self._done:
            dtype = dtype or self.graph.tensors[inputs[0]].dtype
            output = self.graph.add(Tensor(f"value{len(self.graph.tensors)}", tuple(shape), dtype))
            self.graph.operators.append(Operator(code, list(inputs), [output], options))
            self._done[key] = output
        return self._done[key]

    def reshape(self, index: int, shape: tuple[int, ...]) -> int:
        """The same values in another shape."""
        if self.shape(index) == tuple(shape):
            return index
        return self.op("RESHAPE", [index, self.constant(shape, np.int32)], shape)

    def transpose(self, index: int, order: tuple[int, ...]) -> int:
        """Axes in another order; a reshape where only axes of length 1 move."""
        old = self.shape(index)
        new = tuple(old[i] for i in order)
        if order == tuple(range(len(old))):
            return index
        if [i for i in order if old[i] > 1] == [i for i in range(len(old)) if old[i] > 1]:
            return self.reshape(index, new)
        return self.op("TRANSPOSE", [index, self.constant(order, np.int32)], new)

    def rename(self, index: int, name: str) -> None:
        """Give a tensor a lasting name, unless it has one."""
        if name not in self._names and self.graph.tensors[index].name not in self._names:
            self.graph.tensors[index].name = name
            self._names.add(name)

    def give(self, node: ir.Node, index: int, *, last: bool = False, rank: int | None = None) -> None:
        """State which tensor is the output of `node`."""
        value = node.outputs[0]
        self._hold(value, index, last, rank)

    def _hold(self, value: ir.Value, index: int, last: bool, rank: int | None) -> None:
        name = value.name or ""
        self.rename(index, name)
        if rank is None:
            rank = len(self.shape(index)) if not last else (nodes.rank(value) or 4)
        self._held[value] = Held(index, last, rank)

    def input(self, value: ir.Value, batch: int) -> None:
        """A model's input, its batch closed. Images are channels-last."""
        assert value.shape is not None
        assert value.dtype is not None
        shape = tuple(d if isinstance(d, int) else batch for d in value.shape)
        last = len(shape) == 4
        if last:
            shape = tuple(shape[i] for i in TO_LAST)
            self.graph.notes[LAYOUTS].append(value.name)
        dtype = np.dtype(value.dtype.numpy()).name
        self.graph.inputs.append(self.graph.add(Tensor(value.name or "", shape, dtype)))
        self._hold(value, self.graph.inputs[-1], last, len(value.shape))

    def output(self, value: ir.Value) -> None:
        """A model's output; maps stay channels-last."""
        held = self.held(value)
        if held.last and held.rank == 4:
            self.graph.notes[LAYOUTS].append(self.graph.tensors[held.index].name)
            self.graph.outputs.append(held.index)
        else:
            self.graph.outputs.append(self.plain(value))

    def held(self, value: ir.Value | None) -> Held:
        """Where a value is; constants become tensors in the order of ONNX."""
        assert value is not None
        if value not in self._held:
            data = nodes.constant(value)
            assert data is not None, value.name
            kind = np.int32 if data.dtype == np.int64 else data.dtype
            return Held(self.constant(data, kind), False, data.ndim)
        return self._held[value]

    def plain(self, value: ir.Value | None) -> int:
        """The value in the order of ONNX."""
        held = self.held(value)
        if not held.last:
            return held.index
        n, _, w, c = self.shape(held.index)
        first = self.transpose(held.index, TO_FIRST)
        return first if held.rank == 4 else self.reshape(first, (n, c, w))

    def last(self, value: ir.Value | None) -> int:
        """The value as a map (N, H, W, C)."""
        held = self.held(value)
        if held.last:
            return held.index
        shape = self.shape(held.index)
        index = held.index if held.rank == 4 else self.reshape(held.index, (*shape[:2], 1, *shape[2:]))
        return self.transpose(index, TO_LAST)

    def aligned(self, values: list[Any]) -> tuple[list[int], bool, int]:
        """Operands of an element-wise operator, brought to one layout: their tensors, it, and the number of axes."""
        known = [nodes.constant(v) if v not in self._held else None for v in values]
        held = [self.held(v) for v, data in zip(values, known, strict=True) if data is None]
        rank = max([h.rank for h in held] + [d.ndim for d in known if d is not None])
        last = any(h.last for h in held) and all(h.rank == rank for h in held) and rank in (3, 4)
        if not last:
            return [self.plain(v) for v in values], False, rank
        return (
            [self.last(v) if d is None else self.constant(to_last(d, rank)) for v, d in zip(values, known)],
            True,
            rank,
        )


def to_last(data: Array, rank: int) -> Array:
    """A constant that is broadcast to values of `rank` axes, for their channels-last form."""
    data = data.reshape((1,) * (rank - data.ndim) + data.shape)
    data = data if rank == 4 else data[:, :, None]
    return data.transpose(TO_LAST)


def translate(canonical: Canonical) -> Graph:
    """The TensorFlow Lite graph of a canonical one. An open batch becomes 1.

    Raises:
        UnsupportedError: nodes that have no translator, all of them named; or what a translator cannot express.
    """
    model = _closed(canonical)
    missing = sorted({n.op_type for n in model.graph if n.op_type not in TRANSLATORS and not _constant(n)})
    if missing:
        first = next(n for n in model.graph if n.op_type == missing[0])
        raise UnsupportedError(
            f"TensorFlow Lite: no translation of the ONNX operators {', '.join(missing)} (such as node "
            f"{first.name!r}); add one with bibench.deploy.tflite.translating.translator, or use engine 'bibench'"
        )
    net = Net()
    for value in model.graph.inputs:
        net.input(value, 1 if canonical.dynamic else canonical.example.batch)
    for node in model.graph:
        if _constant(node):
            continue
        if node.domain not in ("", domain.DOMAIN):
            raise UnsupportedError(f"TensorFlow Lite: node {node.name!r} is of the unknown domain {node.domain!r}")
        TRANSLATORS[node.op_type](net, node)
    for value in model.graph.outputs:
        net.output(value)
    _prune(net.graph)
    fuse_activations(net.graph)
    return net.graph


def _closed(canonical: Canonical) -> ir.Model:
    """The graph with the batch closed, and without the computation of shapes from it."""
    import onnx_ir as ir
    from onnxscript import optimizer

    model = canonical.model
    if not any(node.op_type == "Shape" for node in model.graph):
        return model
    model = model.clone()
    for value in [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]:
        if value.shape is not None:
            named = [1 if str(getattr(d, "value", d)) == BATCH else d for d in value.shape]
            value.shape = ir.Shape(named)
    optimizer.optimize_ir(model)
    return model


def _constant(node: ir.Node) -> bool:
    return all(nodes.constant(value) is not None for value in node.outputs)


def _prune(graph: Graph) -> None:
    """Drop operators whose results nothing reads."""
    needed = set(graph.outputs)
    for op in reversed(graph.operators):
        if needed.intersection(op.outputs):
            needed.update(op.inputs)
    graph.operators = [op for op in graph.operators if needed.intersection(op.outputs)]
    assert all(op.outputs for op in graph.operators if op.code in CUSTOM)


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The value of an attribute."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def refuse(node: ir.Node, what: str) -> UnsupportedError:
    """The error of a node that has no exact translation."""
    return UnsupportedError(f"TensorFlow Lite: node {node.name!r} ({node.op_type}): {what}")


def constant_of(node: ir.Node, position: int, what: str) -> Array | None:
    """The constant input at a position; None if absent; refused if computed."""
    if len(node.inputs) <= position or node.inputs[position] is None:
        return None
    data = nodes.constant(node.inputs[position])
    if data is None:
        raise refuse(node, f"{what} must be constant")
    return data
