"""The operators of the domain `bibench`: thresholds, bits, 1-bit products and their epilogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bibench.deploy import domain
from bibench.deploy.passes import nodes
from bibench.deploy.tflite import bits
from bibench.deploy.tflite.bits import Window
from bibench.deploy.tflite.graph import ABSENT, BCONV, QUANTIZE, SAME, VALID, Array
from bibench.deploy.tflite.nodes.elementwise import clip
from bibench.deploy.tflite.translating import LAYERS, SCALED, Net, attribute, refuse, translator

if TYPE_CHECKING:
    import onnx_ir as ir


@translator(domain.CONV)
def binary_conv(net: Net, node: ir.Node) -> None:
    """Padding that the 1-bit convolution has not is done before the sign; zeros there by a constant border."""
    given = nodes.inputs_of(node)
    _refuse_scales(node, given)
    if attribute(node, "group", 1) != 1:
        raise refuse(node, "grouped 1-bit convolutions are not expressible")
    kernel = [int(k) for k in attribute(node, "kernel_shape")]
    window = Window.of(kernel, *(attribute(node, name) for name in ("strides", "pads", "dilations")))
    channels, pad_value = int(attribute(node, "channels")), int(attribute(node, "pad_value", 0))
    packed = nodes.constant(given["W"])
    assert packed is not None
    filters = domain.unpack(packed, (packed.shape[0], channels, *window.kernel)).transpose(0, 2, 3, 1)
    x = _shifted(net, given, net.last(given["X"]))
    size = net.shape(x)[1:3]
    padding = bits.native_padding(window, size, channels, pad_value)
    if padding is None:
        x = _pad(net, x, window, -1.0 if pad_value == -1 else 1.0)
    shape = (net.shape(x)[0], *window.output(size), len(filters))
    mode, native = (VALID, 0) if padding != SAME else (SAME, pad_value)
    options = bits.options(channels, window, mode, native)
    y = _product(net, node, x, filters, shape, options)
    if padding is None and pad_value == 0:
        y = net.op("ADD", [y, net.constant(_scale(given, filters) * bits.border(filters, size, window))], shape)
    net.graph.notes[LAYERS][node.name] = {
        "input": _name(net, given["X"]),
        "channels_last": net.held(given["X"]).last,
        "rank": len(kernel) + 2,
        "pads": window.pads if padding is None and pad_value == 0 else None,
    }
    residual = net.last(given["residual"]) if "residual" in given else None
    net.give(node, _epilogue(net, node, given, y, residual), last=True, rank=len(kernel) + 2)


def _name(net: Net, value: ir.Value) -> str:
    """Of a value's tensor: behind a 1-bit layer with a folded norm it is that layer's, and not the norm's."""
    return net.graph.tensors[net.held(value).index].name


@translator(domain.LINEAR)
def binary_linear(net: Net, node: ir.Node) -> None:
    """A 1×1 convolution over a map whose height is the number of rows."""
    given = nodes.inputs_of(node)
    _refuse_scales(node, given)
    packed = nodes.constant(given["W"])
    assert packed is not None
    channels = int(attribute(node, "channels"))
    filters = domain.unpack(packed, (packed.shape[0], channels))[:, None, None]
    x = _shifted(net, given, net.plain(given["X"]))
    shape = net.shape(x)
    rows = int(np.prod(shape[:-1]))
    made = (1, rows, 1, len(filters))
    y = net.reshape(x, (1, rows, 1, channels))
    y = _product(net, node, y, filters, made, bits.options(channels, Window((1, 1)), VALID, 0))
    y = net.reshape(y, (*shape[:-1], len(filters)))
    net.graph.notes[LAYERS][node.name] = {
        "input": _name(net, given["X"]),
        "channels_last": net.held(given["X"]).last,
        "rank": net.held(given["X"]).rank,
        "shape": [*shape[:-1], len(filters)],
    }
    residual = net.plain(given["residual"]) if "residual" in given else None
    net.give(node, _epilogue(net, node, given, y, residual))


def _refuse_scales(node: ir.Node, given: dict[str, Any]) -> None:
    if attribute(node, "activation_scale", "") or given.keys() & {"rows", "columns", "post_scale"}:
        raise refuse(node, "its output is scaled by a constant per channel alone")


def _shifted(net: Net, given: dict[str, Any], x: int) -> int:
    """x - threshold, which is negative exactly where x < threshold: a rounded difference keeps its sign."""
    if "threshold" not in given:
        return x
    threshold = nodes.constant(given["threshold"])
    assert threshold is not None
    return net.op("SUB", [x, net.constant(threshold.reshape(-1))], net.shape(x))


def _pad(net: Net, x: int, window: Window, value: float) -> int:
    n, h, w, c = net.shape(x)
    widths = net.constant([(0, 0), *window.pads, (0, 0)], np.int32)
    shape = (n, h + sum(window.pads[0]), w + sum(window.pads[1]), c)
    return net.op("PADV2", [x, widths, net.constant(value)], shape)


def _scale(given: dict[str, Any], filters: Array) -> Array:
    scale = nodes.constant(given["scale"]) if "scale" in given else None
    return np.ones(len(filters), np.float32) if scale is None else scale.reshape(-1).astype(np.float32)


def _product(net: Net, node: ir.Node, x: int, filters: Array, shape: tuple[int, ...], options: dict[str, Any]) -> int:
    given = nodes.inputs_of(node)
    bias = nodes.constant(given["bias"]) if "bias" in given else np.zeros(len(filters), np.float32)
    assert bias is not None
    *places, channels = net.shape(x)
    packed = net.op(QUANTIZE, [x], (*places, -(-channels // bits.WORD)), dtype="int32")
    constants = (bits.pack(filters), _scale(given, filters), bias.reshape(-1).astype(np.float32))
    weight, scale, post = (net.constant(data, data.dtype) for data in constants)
    y = net.op(BCONV, [packed, weight, scale, post, ABSENT], shape, dtype="float32", unique=node.name or "", **options)
    net.rename(y, f"{node.name}{SCALED}")
    return y


def _epilogue(net: Net, node: ir.Node, given: dict[str, Any], y: int, residual: int | None) -> int:
    shape = net.shape(y)
    if residual is not None:
        y = net.op("ADD", [y, residual], shape)
    activation = attribute(node, "activation", "")
    if activation == "relu":
        return net.op("RELU", [y], shape)
    if activation == "clip":
        return clip(net, y, float(attribute(node, "clip_min")), float(attribute(node, "clip_max")))
    if activation == "prelu":
        slope = nodes.constant(given["slope"])
        assert slope is not None
        slopes = np.broadcast_to(slope.reshape(-1), shape[-1:]).reshape((1,) * (len(shape) - 2) + shape[-1:])
        return net.op("PRELU", [y, net.constant(slopes)], shape)
    return y
