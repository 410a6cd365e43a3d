"""A TensorFlow Lite model in memory: one graph of tensors and operators, as a `.tflite` file holds it.

Maps are channels-last (N, H, W, C). `file.write` and `file.read` are the file form; the names of operators
and of their options are those of the schema.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

QUANTIZE, BCONV = "LceQuantize", "LceBconv2d"
"""Larq Compute Engine's custom operators: signs to bits, and the 1-bit convolution."""
CUSTOM = (QUANTIZE, BCONV)

ABSENT = -1
"""In the place of an optional input."""

_ACTIVATION = "FusedActivationFunction"
_CONV = ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", _ACTIVATION)
_POOL = ("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", _ACTIVATION)
OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ADD": ("AddOptions", (_ACTIVATION,)),
    "SUB": ("SubOptions", (_ACTIVATION,)),
    "MUL": ("MulOptions", (_ACTIVATION,)),
    "DIV": ("DivOptions", (_ACTIVATION,)),
    "MAXIMUM": ("MaximumMinimumOptions", ()),
    "MINIMUM": ("MaximumMinimumOptions", ()),
    "CONV_2D": ("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_CONV, "DepthMultiplier")),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "FULLY_CONNECTED": ("FullyConnectedOptions", (_ACTIVATION, "KeepNumDims")),
    "BATCH_MATMUL": ("BatchMatMulOptions", ("AdjX", "AdjY")),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SUM": ("ReducerOptions", ("KeepDims",)),
    "REDUCE_MAX": ("ReducerOptions", ("KeepDims",)),
    "PAD": ("PadOptions", ()),
    "PADV2": ("PadV2Options", ()),
    "MIRROR_PAD": ("MirrorPadOptions", ("Mode",)),
    "RESHAPE": ("ReshapeOptions", ()),
    "TRANSPOSE": ("TransposeOptions", ()),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", _ACTIVATION)),
    "SLICE": ("SliceOptions", ()),
    "BROADCAST_TO": ("BroadcastToOptions", ()),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "LEAKY_RELU": ("LeakyReluOptions", ("Alpha",)),
    "HARD_SWISH": ("HardSwishOptions", ()),
    "ABS": ("AbsOptions", ()),
    "EXP": ("ExpOptions", ()),
    "NEG": ("NegOptions", ()),
    "GELU": ("GeluOptions", ("Approximate",)),
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "PRELU", "LOGISTIC", "TANH", "SQRT"), ("", ())),
}
"""Of each builtin operator that we write: the table of its options and their names."""
VERSIONS = {"BROADCAST_TO": 2}
"""Of operators that began above 1."""

TYPES: dict[str, str] = {"float32": "FLOAT32", "int32": "INT32", "int64": "INT64", "bool": "BOOL", "uint8": "UINT8"}
"""Names of NumPy and of the schema."""

SAME, VALID = 0, 1
"""Values of the option `Padding`."""
ACTIVATIONS = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
"""Values of the option `FusedActivationFunction`."""


@dataclass
class Tensor:
    """A value of static shape; a constant has `data`."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    data: Array | None = None


@dataclass
class Operator:
    """An operator: indices of its tensors, and its options (of a custom operator: the map that it reads)."""

    code: str
    inputs: list[int]
    outputs: list[int]
    options: dict[str, Any] = field(default_factory=dict)


class LayerNotes(TypedDict):
    """Of a 1-bit layer: the value whose signs it takes and its layout, and the shape of a linear layer's output."""

    input: str
    channels_last: bool
    rank: int
    pads: NotRequired[list[Any] | None]
    shape: NotRequired[list[int]]


class Notes(TypedDict, total=False):
    """What is kept in a file's metadata: names of the values that are channels-last, and the 1-bit layers."""

    channels_last: list[str]
    layers: dict[str, LayerNotes]


@dataclass
class Graph:
    """A model; `notes` is kept in the file's metadata."""

    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, tensor: Tensor) -> int:
        """Append a tensor; its index."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, data: Array, name: str) -> int:
        """Append a constant."""
        return self.add(Tensor(name, data.shape, data.dtype.name, np.ascontiguousarray(data)))

    def named(self, name: str) -> int | None:
        """The index of the tensor of that name."""
        return next((i for i, t in enumerate(self.tensors) if t.name == name), None)

    def producer(self, index: int) -> Operator | None:
        """The operator whose output a tensor is."""
        return next((op for op in self.operators if index in op.outputs), None)
