"""Convolutions in full precision and pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bibench.deploy.tflite.bits import Window
from bibench.deploy.tflite.graph import SAME, VALID
from bibench.deploy.tflite.translating import Net, attribute, constant_of, refuse, translator

if TYPE_CHECKING:
    import onnx_ir as ir

LOWEST = float(np.finfo(np.float32).min)


@translator("Conv")
def conv(net: Net, node: ir.Node) -> None:
    """Depthwise ones have an operator of their own."""
    weight = constant_of(node, 1, "the weight")
    assert weight is not None
    bias = constant_of(node, 2, "the bias")
    outputs, per_group = weight.shape[:2]
    window = _window(node, list(weight.shape[2:]))
    weight = weight.reshape(outputs, per_group, *window.kernel).transpose(0, 2, 3, 1)
    groups = attribute(node, "group", 1)
    x = net.last(node.inputs[0])
    size = net.shape(x)[1:3]
    x, padding = _padded(net, x, window, 0.0)
    options: dict[str, Any] = {
        "Padding": padding,
        "StrideH": window.strides[0],
        "StrideW": window.strides[1],
        "DilationHFactor": window.dilations[0],
        "DilationWFactor": window.dilations[1],
    }
    post = net.constant(np.zeros(outputs) if bias is None else bias)
    shape = (net.shape(x)[0], *window.output(size), outputs)
    if groups > 1 and per_group == 1:
        filters = net.constant(weight.transpose(3, 1, 2, 0))  # (1, kh, kw, C_o)
        y = net.op("DEPTHWISE_CONV_2D", [x, filters, post], shape, DepthMultiplier=outputs // groups, **options)
    else:
        y = net.op("CONV_2D", [x, net.constant(weight), post], shape, **options)
    net.give(node, y, last=True, rank=weight.ndim if len(attribute(node, "kernel_shape", (0, 0))) == 2 else 3)


@translator("MaxPool")
def max_pool(net: Net, node: ir.Node) -> None:
    """Padding is the lowest number."""
    window = _window(node, list(attribute(node, "kernel_shape")))
    if window.dilations != (1, 1):
        raise refuse(node, "dilated pooling is not expressible")
    _pool(net, node, "MAX_POOL_2D", window, LOWEST)


@translator("AveragePool")
def average_pool(net: Net, node: ir.Node) -> None:
    """Padding counts as zeros, or not at all as TensorFlow's does."""
    window = _window(node, list(attribute(node, "kernel_shape")))
    size = net.shape(net.last(node.inputs[0]))[1:3]
    counted = bool(attribute(node, "count_include_pad", 0))
    if window.padded and not counted and not window.is_same(size):
        raise refuse(node, f"padding {window.pads} that is not counted is not expressible; use count_include_pad=True")
    _pool(net, node, "AVERAGE_POOL_2D", window, 0.0, explicit=counted)


@translator("GlobalAveragePool")
def global_average_pool(net: Net, node: ir.Node) -> None:
    """Mean over the map."""
    x = net.last(node.inputs[0])
    n, *_, c = net.shape(x)
    y = net.op("MEAN", [x, net.constant([1, 2], np.int32)], (n, 1, 1, c), KeepDims=True)
    net.give(node, y, last=True, rank=net.held(node.inputs[0]).rank)


def _pool(net: Net, node: ir.Node, code: str, window: Window, value: float, *, explicit: bool = False) -> None:
    x = net.last(node.inputs[0])
    size = net.shape(x)[1:3]
    if attribute(node, "ceil_mode", 0) and _ceiled(window, size) != window.output(size):
        raise refuse(node, f"ceil_mode that adds to a map of {size[0]}×{size[1]} is not expressible")
    n, *_, c = net.shape(x)
    x, padding = _padded(net, x, window, value, explicit=explicit)
    y = net.op(
        code,
        [x],
        (n, *window.output(size), c),
        Padding=padding,
        StrideH=window.strides[0],
        StrideW=window.strides[1],
        FilterHeight=window.kernel[0],
        FilterWidth=window.kernel[1],
    )
    net.give(node, y, last=True, rank=net.held(node.inputs[0]).rank)


def _window(node: ir.Node, kernel: list[int]) -> Window:
    if attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        raise refuse(node, "auto_pad is not read; state pads")
    if len(kernel) not in (1, 2):
        raise refuse(node, f"expected 1 or 2 spatial axes, got {len(kernel)}")
    return Window.of(kernel, *(attribute(node, name) for name in ("strides", "pads", "dilations")))


def _ceiled(window: Window, size: tuple[int, ...]) -> tuple[int, int]:
    h, w = (-(-(size[a] + sum(window.pads[a]) - window.reach(a)) // window.strides[a]) + 1 for a in (0, 1))
    return h, w


def _padded(net: Net, x: int, window: Window, value: float, *, explicit: bool = False) -> tuple[int, int]:
    """The map, with its border where TensorFlow's own padding is another one; and the option `Padding`."""
    n, h, w, c = net.shape(x)
    if not window.padded:
        return x, VALID
    if window.is_same((h, w)) and not explicit:
        return x, SAME
    widths = net.constant([(0, 0), *window.pads, (0, 0)], np.int32)
    shape = (n, h + sum(window.pads[0]), w + sum(window.pads[1]), c)
    if value == 0:
        return net.op("PAD", [x, widths], shape), VALID
    return net.op("PADV2", [x, widths, net.constant(value)], shape), VALID
