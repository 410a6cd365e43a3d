"""Operators that move values or reduce axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bibench.deploy.tflite.translating import Net, attribute, constant_of, refuse, translator

if TYPE_CHECKING:
    import onnx_ir as ir

REDUCTIONS = {"ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX", "ReduceL2": "SUM"}
PLACES = {4: (0, 3, 1, 2), 3: (0, 3, 2)}
"""Of ONNX's axes in the channels-last form, by their number."""


@translator(*REDUCTIONS)
def reduce(net: Net, node: ir.Node) -> None:
    """Over maps without reordering them, where the order of what remains is ONNX's."""
    held = net.held(node.inputs[0])
    given = constant_of(node, 1, "the axes")
    listed = attribute(node, "axes") if given is None else given.reshape(-1).tolist()
    if not listed and attribute(node, "noop_with_empty_axes", 0):
        net.give(node, held.index, last=held.last, rank=held.rank)
        return
    axes = sorted(int(a) % held.rank for a in (listed or range(held.rank)))
    keep = bool(attribute(node, "keepdims", 1))
    last = held.last and (keep or (1 in axes) or len([a for a in range(2, held.rank) if a not in axes]) == 0)
    x = held.index if last else net.plain(node.inputs[0])
    places = sorted(PLACES[held.rank][a] for a in axes) if last else axes
    if last and not keep and held.rank == 3:
        places = sorted({*places, 1})  # the height of a sequence
    sizes = net.shape(x)
    shape = tuple(1 if i in places else s for i, s in enumerate(sizes) if keep or i not in places)
    norm = node.op_type == "ReduceL2"
    x = net.op("MUL", [x, x], sizes) if norm else x
    y = net.op(REDUCTIONS[node.op_type], [x, net.constant(places, np.int32)], shape, KeepDims=keep)
    y = net.op("SQRT", [y], shape) if norm else y
    net.give(node, y, last=last and keep, rank=held.rank if keep else held.rank - len(axes))


@translator("Reshape")
def reshape(net: Net, node: ir.Node) -> None:
    """In the order of ONNX: maps are put back into it first."""
    wanted = constant_of(node, 1, "the shape")
    assert wanted is not None
    x = net.plain(node.inputs[0])
    sizes, count = net.shape(x), math.prod(net.shape(x))
    zero_is_same = not attribute(node, "allowzero", 0)
    shape = [sizes[i] if n == 0 and zero_is_same else int(n) for i, n in enumerate(wanted.tolist())]
    if -1 in shape:
        shape[shape.index(-1)] = count // -math.prod(shape)
    if math.prod(shape) != count:
        raise refuse(node, f"the shape {wanted.tolist()} depends on the batch; lead with -1")
    net.give(node, net.reshape(x, tuple(shape)))


@translator("Flatten")
def flatten(net: Net, node: ir.Node) -> None:
    """To two axes, in the order of ONNX."""
    x = net.plain(node.inputs[0])
    sizes = net.shape(x)
    axis = attribute(node, "axis", 1) % (len(sizes) + 1)
    net.give(node, net.reshape(x, (math.prod(sizes[:axis]), math.prod(sizes[axis:]))))


@translator("Squeeze")
def squeeze(net: Net, node: ir.Node) -> None:
    """Drops axes of length 1."""
    x = net.plain(node.inputs[0])
    sizes = net.shape(x)
    given = constant_of(node, 1, "the axes")
    axes = [i for i, n in enumerate(sizes) if n == 1] if given is None else [int(a) % len(sizes) for a in given]
    net.give(node, net.reshape(x, tuple(n for i, n in enumerate(sizes) if i not in axes)))


@translator("Unsqueeze")
def unsqueeze(net: Net, node: ir.Node) -> None:
    """Adds axes of length 1."""
    x = net.plain(node.inputs[0])
    given = constant_of(node, 1, "the axes")
    assert given is not None
    rank = len(net.shape(x)) + given.size
    axes = {int(a) % rank for a in given.reshape(-1)}
    sizes = iter(net.shape(x))
    net.give(node, net.reshape(x, tuple(1 if i in axes else next(sizes) for i in range(rank))))


@translator("Transpose")
def transpose(net: Net, node: ir.Node) -> None:
    """Of ONNX's axes."""
    x = net.plain(node.inputs[0])
    order = tuple(attribute(node, "perm") or reversed(range(len(net.shape(x)))))
    net.give(node, net.transpose(x, order))


@translator("Concat")
def concat(net: Net, node: ir.Node) -> None:
    """Maps stay channels-last."""
    indices, last, rank = net.aligned(list(node.inputs))
    axis = int(attribute(node, "axis")) % rank
    place = PLACES[rank][axis] if last else axis
    shape = list(net.shape(indices[0]))
    shape[place] = sum(net.shape(i)[place] for i in indices)
    net.give(node, net.op("CONCATENATION", indices, tuple(shape), Axis=place), last=last, rank=rank)


@translator("Slice")
def slice_(net: Net, node: ir.Node) -> None:
    """Without steps."""
    given = [constant_of(node, i, "a bound") for i in range(1, 5)]
    x = net.plain(node.inputs[0])
    sizes = net.shape(x)
    starts, ends, axes, steps = (None if g is None else [int(n) for n in g.reshape(-1)] for g in given)
    assert starts is not None
    assert ends is not None
    if steps is not None and set(steps) != {1}:
        raise refuse(node, f"steps {steps} are not expressible")
    begin, size = [0] * len(sizes), list(sizes)
    for start, end, axis in zip(starts, ends, axes or range(len(starts))):
        length = sizes[axis]
        low, high = (min(max(n + length if n < 0 else n, 0), length) for n in (start, end))
        begin[axis % len(sizes)], size[axis % len(sizes)] = low, high - low
    constants = [net.constant(begin, np.int32), net.constant(size, np.int32)]
    net.give(node, net.op("SLICE", [x, *constants], tuple(size)))


@translator("Expand")
def expand(net: Net, node: ir.Node) -> None:
    """To a constant shape."""
    wanted = constant_of(node, 1, "the shape")
    assert wanted is not None
    x = net.plain(node.inputs[0])
    shape = np.broadcast_shapes(net.shape(x), tuple(int(n) for n in wanted))
    net.give(node, net.op("BROADCAST_TO", [x, net.constant(shape, np.int32)], shape))


@translator("Pad")
def pad(net: Net, node: ir.Node) -> None:
    """With a constant, or reflected."""
    given, value, some = (
        constant_of(node, i, what) for i, what in ((1, "the pads"), (2, "the value"), (3, "the axes"))
    )
    assert given is not None
    mode = attribute(node, "mode", "constant")
    if mode not in ("constant", "reflect") or int(given.min()) < 0:
        raise refuse(node, f"mode {mode!r} with pads {given.tolist()} is not expressible")
    held = net.held(node.inputs[0])
    sides = np.zeros((held.rank, 2), np.int32)
    axes = range(held.rank) if some is None else [int(a) % held.rank for a in some]
    sides[list(axes)] = given.reshape(2, -1).T
    if held.last:
        placed = np.zeros((4, 2), np.int32)
        placed[list(PLACES[held.rank])] = sides
        sides = placed
    shape = tuple(int(n) for n in np.asarray(net.shape(held.index)) + sides.sum(axis=1))
    widths = net.constant(sides, np.int32)
    if mode == "reflect":
        y = net.op("MIRROR_PAD", [held.index, widths], shape, Mode=0)
    else:
        constant = net.constant(0.0 if value is None else float(value))
        y = net.op("PADV2", [held.index, widths, constant], shape)
    net.give(node, y, last=held.last, rank=held.rank)
