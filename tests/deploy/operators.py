"""One-node models of the operators of domain ``bibench``, and the definitions their results are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional as F

from bibench import _core

CONV_INPUTS = (
    "X",
    "W",
    "scale",
    "bias",
    "threshold",
    "rows",
    "columns",
    "residual",
    "slope",
    "post_scale",
)
LINEAR_INPUTS = ("X", "W", "scale", "bias", "threshold", "residual", "slope", "post_scale")
ATTENTION_INPUTS = ("Q", "K", "V", "mask")
INPUTS = {
    "BinaryConv": CONV_INPUTS,
    "BinaryLinear": LINEAR_INPUTS,
    "BinaryAttention": ATTENTION_INPUTS,
    "StemConv": ("X", "W", "bias", "slope"),
}
Arrays = dict[str, np.ndarray]


def pack(w: Tensor) -> np.ndarray:
    """The file form of a weight (C_o, …): a bit for each value, 1 where it is negative."""
    return np.packbits((w < 0).reshape(w.shape[0], -1).numpy(), axis=1, bitorder="little")


@dataclass
class Node:
    """An operator with inputs by name; those in `feeds` come at run time, with free sizes."""

    op: str
    inputs: Arrays
    attributes: dict[str, Any] = field(default_factory=dict)
    feeds: tuple[str, ...] = ("X", "residual", "Q", "K", "V", "mask")
    name: str = "layer"

    def model(self) -> onnx.ModelProto:
        """A model of this node alone."""
        used = [name if name in self.inputs else "" for name in INPUTS[self.op]]
        while used and not used[-1]:
            used.pop()
        node = helper.make_node(self.op, used, ["Y"], name=self.name, domain="bibench", **self.attributes)
        fed = [name for name in used if name in self.feeds]
        values = [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(self.inputs[name].dtype),
                [f"{name}_{i}" for i in range(self.inputs[name].ndim)],
            )
            for name in fed
        ]
        stored = [numpy_helper.from_array(self.inputs[name], name) for name in used if name and name not in fed]
        output = helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)
        graph = helper.make_graph([node], "one node", values, [output], stored)
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("bibench", 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=9)

    def feed(self) -> Arrays:
        """What to run the model with."""
        return {name: v for name, v in self.inputs.items() if name in self.feeds}

    def run(self, threads: int = 1) -> Tensor:
        """The output of a new session."""
        return torch.from_numpy(session(self.model(), threads).run(None, self.feed())[0])


def session(model: onnx.ModelProto | bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session with our operators."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.register_custom_ops_library(_core.__file__)
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def sign(x: Tensor) -> Tensor:
    """+1 for x >= 0, else (also NaN) -1."""
    return torch.where(x >= 0, 1.0, -1.0)


def convolution(x: Tensor, w: Tensor, threshold: Tensor | None, a: dict[str, Any]) -> Tensor:
    """Integer dot products (N, C_o, …) in float64; `a` are the node's attributes."""
    axes = w.dim() - 2
    signs = sign(x if threshold is None else x - threshold.reshape(-1, *[1] * axes)).double()
    padded = F.pad(signs, padding(a, axes), value=float(a.get("pad_value", 0)))
    return convolver(axes)(padded, sign(w).double(), **geometry(a, axes), groups=a.get("group", 1))


def activation_scale(x: Tensor, w: Tensor, a: dict[str, Any]) -> Tensor:
    """XNOR-Net's K for a convolution: (N, 1, 1…) per sample, (N, C_o, …) over the output map."""
    axes, groups = w.dim() - 2, a.get("group", 1)
    if a["activation_scale"] == "sample":
        return x.abs().mean(tuple(range(1, x.dim())), keepdim=True)
    mean = F.pad(x.abs().unflatten(1, (groups, -1)).mean(2), padding(a, axes)).double()
    kernel = mean.new_full((groups, 1, *w.shape[2:]), 1 / w[0, 0].numel())
    filtered = convolver(axes)(mean, kernel, **geometry(a, axes), groups=groups)
    return filtered.repeat_interleave(w.shape[0] // groups, 1)


def convolver(axes: int) -> Any:
    """conv1d or conv2d."""
    return F.conv1d if axes == 1 else F.conv2d


def geometry(a: dict[str, Any], axes: int) -> dict[str, Any]:
    """Strides and dilations as torch takes them."""
    return {"stride": a.get("strides", [1] * axes), "dilation": a.get("dilations", [1] * axes)}


def padding(a: dict[str, Any], axes: int) -> list[int]:
    """ONNX's begins then ends, as torch's pad takes them: last axis first."""
    pads = a.get("pads", [0] * 2 * axes)
    return [v for axis in reversed(range(axes)) for v in (pads[axis], pads[axis + axes])]


def finish(dots: Tensor, inputs: Arrays, a: dict[str, Any], k: Tensor | None, channel_axis: int) -> Tensor:
    """What follows the dot products, in float64."""

    def along(name: str, axis: int) -> Tensor:
        v = torch.from_numpy(inputs[name]).double()
        return v.reshape(-1, *[1] * (dots.dim() - 1 - axis % dots.dim()))

    v = dots
    for name, axis in (("scale", channel_axis), ("rows", -2), ("columns", -1)):
        if name in inputs:
            v = v * along(name, axis)
    if k is not None:
        v = v * k
    if "post_scale" in inputs:
        v = v * along("post_scale", channel_axis)
    if "bias" in inputs:
        v = v + along("bias", channel_axis)
    if "residual" in inputs:
        v = v + torch.from_numpy(inputs["residual"])
    return activated(v, along("slope", channel_axis) if "slope" in inputs else None, a)


def activated(v: Tensor, slope: Tensor | None, a: dict[str, Any]) -> Tensor:
    """The activation."""
    kind = a.get("activation", "")
    if kind == "prelu":
        assert slope is not None
        return torch.where(v >= 0, v, slope * v)
    if kind == "clip":
        return v.clamp(a.get("clip_min"), a.get("clip_max"))
    return v.relu() if kind == "relu" else v
