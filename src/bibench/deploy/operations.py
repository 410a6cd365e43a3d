"""The operators of the domain as PyTorch operators: reference implementations, shapes and their ONNX nodes.

Importing this registers ``torch.ops.bibench.*``, which a saved `torch.export` program refers to.
They compute with the layers' own functions, so they equal the training graph bit for bit.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bibench.attention import binary_context, binary_scores, booleanize
from bibench.deploy import domain
from bibench.input_scale import activation_scale as scale_of_input
from bibench.products import product
from bibench.spec import LayerSpec


def sides(padding: Sequence[int]) -> list[int]:
    """ONNX's order (begins, then ends, first axis first) of a `LayerSpec`'s padding."""
    pairs = list(zip(padding[::2], padding[1::2], strict=True))[::-1]
    return [low for low, _ in pairs] + [high for _, high in pairs]


def geometry(
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int,
    pad_value: int,
    channels: int,
    out_channels: int,
) -> LayerSpec:
    """The spec that a node's attributes describe."""
    axes = len(kernel_shape)
    return LayerSpec(
        kind="conv2d" if axes == 2 else "conv1d",
        in_channels=channels,
        out_channels=out_channels,
        kernel_size=tuple(kernel_shape),
        stride=tuple(strides),
        padding=tuple(p for axis in reversed(range(axes)) for p in (pads[axis], pads[axis + axes])),
        dilation=tuple(dilations),
        groups=group,
        pad_value=float(pad_value),
    )


def unpacked(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    """±1 weights of `shape` from their bits, on the device of `packed`."""
    powers = torch.arange(8, device=packed.device, dtype=torch.uint8)
    bits = (packed.unsqueeze(-1) >> powers) & 1
    count = math.prod(shape[1:])
    return (1.0 - 2.0 * bits.flatten(1)[:, :count].float()).reshape(shape)


def _signs(x: Tensor, threshold: Tensor | None, spec: LayerSpec) -> Tensor:
    above = x >= (0 if threshold is None else spec.per_input(threshold))
    return torch.where(above, 1.0, -1.0)


def _finish(y: Tensor, x: Tensor, spec: LayerSpec, factor: Tensor | None, form: str, bias: Tensor | None) -> Tensor:
    if factor is not None:
        y = y * factor
    if form:
        y = y * scale_of_input(x, spec, form)
    return y if bias is None else y + spec.per_output(bias)


_NODES: dict[str, tuple[str, inspect.Signature]] = {}
"""ONNX operator and arguments of each operator, by name."""


def _operator(name: str, node: str, shape: Callable[..., Sequence[int]]) -> Callable[[Callable[..., Tensor]], Any]:
    """Registers a function as ``torch.ops.bibench.NAME``, in ONNX a `node`; `shape` takes the same arguments."""

    def register(function: Callable[..., Tensor]) -> Any:
        signature = inspect.signature(function, eval_str=True)
        _NODES[name] = node, signature
        operator = torch.library.custom_op(f"bibench::{name}", function, mutates_args=())

        @operator.register_fake
        def _(x: Tensor, *others: Any, **named: Any) -> Tensor:
            return x.new_empty(tuple(shape(**signature.bind(x, *others, **named).arguments)))

        return operator

    return register


def _conv_shape(
    x: Tensor,
    weight: Tensor,
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    **_: Any,
) -> Sequence[int]:
    axes = len(kernel_shape)
    outputs = [
        (x.shape[2 + i] + pads[i] + pads[i + axes] - dilations[i] * (kernel_shape[i] - 1) - 1) // strides[i] + 1
        for i in range(axes)
    ]
    return (x.shape[0], weight.shape[0], *outputs)


def _linear_shape(x: Tensor, weight: Tensor, **_: Any) -> Sequence[int]:
    return (*x.shape[:-1], weight.shape[0])


def _attention_shape(q: Tensor, v: Tensor, **_: Any) -> Sequence[int]:
    return (*q.shape[:-1], v.shape[-1])


@_operator("binary_conv", domain.CONV, _conv_shape)
def binary_conv(
    x: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    rows: Tensor | None,
    columns: Tensor | None,
    kernel_shape: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    group: int,
    pad_value: int,
    channels: int,
    activation_scale: str,
    layer: str,
) -> Tensor:
    spec = geometry(kernel_shape, strides, pads, dilations, group, pad_value, channels, weight.shape[0])
    factors = [spec.per_output(scale)] if scale is not None else []
    factors += [rows.reshape(-1, 1)] if rows is not None else []
    factors += [columns] if columns is not None else []
    factor = math.prod(factors[1:], start=factors[0]) if factors else None
    filters = unpacked(weight, (weight.shape[0], channels // group, *kernel_shape))
    y = product(_signs(x, threshold, spec), filters, spec)
    return _finish(y, x, spec, factor, activation_scale, bias)


@_operator("binary_linear", domain.LINEAR, _linear_shape)
def binary_linear(
    x: Tensor,
    weight: Tensor,
    scale: Tensor | None,
    bias: Tensor | None,
    threshold: Tensor | None,
    channels: int,
    activation_scale: str,
    layer: str,
) -> Tensor:
    spec = LayerSpec(kind="linear", in_channels=channels, out_channels=weight.shape[0])
    y = product(_signs(x, threshold, spec), unpacked(weight, (weight.shape[0], channels)), spec)
    return _finish(y, x, spec, scale, activation_scale, bias)


@_operator("binary_attention", domain.ATTENTION, _attention_shape)
def binary_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, strict: bool, layer: str) -> Tensor:
    attended = booleanize(binary_scores(q, k), strict=strict)  # 1/√d moves no sign
    if mask is not None:
        attended = attended.masked_fill(~mask, 0)
    return binary_context(attended, v)


def stem_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    slope: Tensor | None = None,
    *,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    activation: str = "",
    clip_min: float = -math.inf,
    clip_max: float = math.inf,
    pool_shape: Sequence[int] = (1, 1),
    pool_strides: Sequence[int] = (1, 1),
    pool_pads: Sequence[int] = (0, 0, 0, 0),
) -> Tensor:
    """What `StemConv` computes: a convolution (N, C, H, W) → (N, C_o, H_o, W_o), an activation, max pooling."""

    def padded(values: Tensor, sizes: Sequence[int], value: float) -> Tensor:
        top, left, bottom, right = sizes
        return functional.pad(values, (left, right, top, bottom), value=value)

    y = functional.conv2d(padded(x, pads, 0.0), weight, bias, tuple(strides))
    if activation == "prelu":
        assert slope is not None
        y = torch.where(y < 0, y * slope.reshape(-1, 1, 1), y)
    elif activation == "relu":
        y = y.relu()
    elif activation == "clip":
        y = y.clamp(clip_min, clip_max)
    return functional.max_pool2d(padded(y, pool_pads, -math.inf), tuple(pool_shape), tuple(pool_strides))


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For `torch.onnx.export`: the ONNX node of each of these operators."""
    return {getattr(torch.ops.bibench, name).default: _node(*of) for name, of in _NODES.items()}


def _node(kind: str, signature: inspect.Signature) -> Callable[..., Any]:
    """Makes nodes of a `kind`: tensors are their inputs, in order, all else attributes of the same names."""
    tensors = [name for name, one in signature.parameters.items() if one.annotation in (Tensor, Tensor | None)]

    def node(*arguments: Any, **named: Any) -> Any:
        attributes = dict(signature.bind(*arguments, **named).arguments)
        inputs = [attributes.pop(name) for name in tensors]
        plain = {name: int(value) if isinstance(value, bool) else value for name, value in attributes.items()}
        return domain.onnx_operator(kind)(*inputs, **plain, opset=domain.VERSION)

    seen = {name: Any if name in tensors else one.annotation for name, one in signature.parameters.items()}
    parameters = [one.replace(annotation=seen[name]) for name, one in signature.parameters.items()]
    node.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # which torch.onnx reads
    node.__annotations__ = seen
    return node
