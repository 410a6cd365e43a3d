"""A look into a model: the input and the integer products of each 1-bit layer as further outputs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from bibench.deploy.tflite import bits
from bibench.deploy.tflite.bits import Window
from bibench.deploy.tflite.graph import ABSENT, BCONV, QUANTIZE, Array, Graph, Operator, Tensor
from bibench.deploy.tflite.translating import LAYERS, SCALED, TO_FIRST
from bibench.errors import BiBenchError


def probed(graph: Graph) -> tuple[Graph, dict[str, tuple[int, int]]]:
    """A copy with further outputs, and of each layer the places of its input and its products among all outputs."""
    graph = copy.copy(graph)
    graph.tensors, graph.operators, graph.outputs = [*graph.tensors], [*graph.operators], [*graph.outputs]
    places = {}
    for layer, facts in graph.notes.get(LAYERS, {}).items():
        source = graph.named(facts["input"])
        op = _convolution(graph, layer)
        if source is None or op is None:
            raise BiBenchError(f"the file has no 1-bit layer {layer!r} with input {facts['input']!r}")
        filters = op.inputs[1]
        outputs = graph.tensors[filters].shape[0]
        ones = graph.constant(np.ones(outputs, np.float32), f"{layer}/ones")
        zeros = graph.constant(np.zeros(outputs, np.float32), f"{layer}/zeros")
        made = graph.add(Tensor(f"{layer}/dot", graph.tensors[op.outputs[0]].shape))
        graph.operators.append(Operator(BCONV, [op.inputs[0], filters, ones, zeros, ABSENT], [made], op.options))
        # An interpreter may not give a model's input as an output.
        if source in graph.inputs:
            copied = graph.add(Tensor(f"{layer}/input", graph.tensors[source].shape))
            nothing = graph.constant(np.float32(0.0).reshape(1), f"{layer}/nothing")
            graph.operators.append(Operator("ADD", [source, nothing], [copied]))
            source = copied
        places[layer] = (len(graph.outputs), len(graph.outputs) + 1)
        graph.outputs += [source, made]
    return graph, places


def products(graph: Graph, layer: str, found: Array) -> Array:
    """The integer products of a layer in the order of ONNX, from what the probe gave."""
    facts = graph.notes[LAYERS][layer]
    if "shape" in facts:  # linear
        shape = facts["shape"]
        return found.reshape(-1, *shape[1:])
    op = _convolution(graph, layer)
    assert op is not None
    if facts["pads"] is not None:
        found = found + bits.border(*_padded(graph, op, facts))
    return in_order(found, facts["rank"])


def in_order(found: Array, rank: int) -> Array:
    """A map (N, H, W, C) in the order of ONNX."""
    first = found.transpose(TO_FIRST)
    return first if rank == 4 else first[:, :, 0]


def _padded(graph: Graph, op: Operator, facts: dict[str, Any]) -> tuple[Array, tuple[int, int], Window]:
    words, options = graph.tensors[op.inputs[1]], op.options
    assert words.data is not None
    (top, bottom), (left, right) = pads = tuple(tuple(p) for p in facts["pads"])
    window = Window(
        words.shape[1:3],  # type: ignore[arg-type]
        (options["stride_height"], options["stride_width"]),
        pads,  # type: ignore[arg-type]
        (options["dilation_height_factor"], options["dilation_width_factor"]),
    )
    quantize = graph.producer(op.inputs[0])
    assert quantize is not None
    assert quantize.code == QUANTIZE
    _, h, w, _ = graph.tensors[quantize.inputs[0]].shape
    return bits.unpack(words.data, options["channels_in"]), (h - top - bottom, w - left - right), window


def _convolution(graph: Graph, layer: str) -> Operator | None:
    index = graph.named(f"{layer}{SCALED}")
    op = None if index is None else graph.producer(index)
    return op if op is not None and op.code == BCONV else None
