"""The ONNX operator domain `bibench`: names, inputs, attributes and the file form of 1-bit weights.

A weight bit is 1 where the weight is negative. The weights of one output channel are flattened in
PyTorch's order and packed least significant bit first, each channel into whole bytes; padding bits are 0.

    Y = act((sign(X - threshold) ⊛ W) · (scale · rows · columns) · K · post_scale + bias + residual)

Absent inputs change nothing. K is computed from X where `activation_scale` says so, as `InferenceForm`
describes it. docs/deployment.md has the details.

`StemConv` is not a 1-bit operator: a float convolution of few channels with the max pooling that may follow,

    Y = maxpool(act(X ⊛ W + bias))

which the library computes by polyphase Winograd filtering, faster than an ordinary `Conv` and rounded differently.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bibench.foundation.errors import BiBenchError

if TYPE_CHECKING:
    import onnx
    import onnxscript

DOMAIN = "bibench"
VERSION = 1
CONV, LINEAR, ATTENTION, STEM = "BinaryConv", "BinaryLinear", "BinaryAttention", "StemConv"
BINARY = (CONV, LINEAR, ATTENTION)
"""Those of binarized layers."""

INPUTS: dict[str, tuple[str, ...]] = {
    CONV: ("X", "W", "scale", "bias", "threshold", "rows", "columns", "residual", "slope", "post_scale"),
    LINEAR: ("X", "W", "scale", "bias", "threshold", "residual", "slope", "post_scale"),
    ATTENTION: ("Q", "K", "V", "mask"),
    STEM: ("X", "W", "bias", "slope"),
}
"""Inputs in their order; those behind the first two (three for attention) are optional."""
REQUIRED = {CONV: 2, LINEAR: 2, ATTENTION: 3, STEM: 2}
TYPES = {(CONV, "W"): "tensor(uint8)", (LINEAR, "W"): "tensor(uint8)", (ATTENTION, "mask"): "tensor(bool)"}
"""Of the inputs that are not float."""

_EPILOGUE = {"activation": "STRING", "clip_min": "FLOAT", "clip_max": "FLOAT"}
_COMMON = {"opset": "INT", "layer": "STRING"}
ATTRIBUTES: dict[str, dict[str, str]] = {
    CONV: {
        "kernel_shape": "INTS",
        "strides": "INTS",
        "pads": "INTS",
        "dilations": "INTS",
        "group": "INT",
        "pad_value": "INT",
        "channels": "INT",
        "activation_scale": "STRING",
        **_EPILOGUE,
        **_COMMON,
    },
    LINEAR: {"channels": "INT", "activation_scale": "STRING", **_EPILOGUE, **_COMMON},
    ATTENTION: {"strict": "INT", **_COMMON},
    STEM: {
        "kernel_shape": "INTS",
        "strides": "INTS",
        "pads": "INTS",
        "pool_shape": "INTS",
        "pool_strides": "INTS",
        "pool_pads": "INTS",
        **_EPILOGUE,
        **_COMMON,
    },
}


def pack(signs: NDArray[Any]) -> NDArray[np.uint8]:
    """Bits of ±1 weights (C_o, ...) as (C_o, ⌈n/8⌉) bytes, n weights per output channel."""
    return np.packbits((signs < 0).reshape(signs.shape[0], -1), axis=1, bitorder="little")


def unpack(packed: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """±1 weights of `shape` (C_o, ...) from their bits; `BiBenchError` when they do not fit."""
    count = int(np.prod(shape[1:]))
    if packed.shape != (shape[0], -(-count // 8)):
        raise BiBenchError(f"packed weights of shape {packed.shape} do not hold weights of shape {shape}")
    bits = np.unpackbits(packed, axis=1, bitorder="little")
    if bits[:, count:].any():
        raise BiBenchError("packed weights have padding bits that are not 0: the file is damaged")
    return (1 - 2 * bits[:, :count].astype(np.float32)).reshape(shape)


@cache
def schema(name: str) -> onnx.defs.OpSchema:
    """The ONNX schema of an operator of the domain."""
    from onnx.defs import OpSchema

    def formal(index: int, input_name: str) -> Any:
        option = OpSchema.FormalParameterOption
        need = option.Single if index < REQUIRED[name] else option.Optional
        return OpSchema.FormalParameter(input_name, TYPES.get((name, input_name), "tensor(float)"), param_option=need)

    return OpSchema(
        name,
        DOMAIN,
        VERSION,
        doc="",
        inputs=[formal(i, n) for i, n in enumerate(INPUTS[name])],
        outputs=[OpSchema.FormalParameter("Y", "tensor(float)")],
        attributes=[
            OpSchema.Attribute(key, getattr(OpSchema.AttrType, kind), "", required=False)
            for key, kind in ATTRIBUTES[name].items()
        ],
    )


@cache
def onnx_operator(name: str) -> onnxscript.values.Op:
    """What builds a node of an operator of the domain in a translation to ONNX."""
    from onnxscript import values

    return values.Op(values.Opset(DOMAIN, VERSION), name, schema(name))
