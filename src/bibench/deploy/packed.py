"""What is left of a binarized layer at inference: bits and factors as buffers, under the names of the domain's inputs.

Each computes with one operator of the domain. `bibench.deploy.frozen` puts it into a layer of the float layer's class.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bibench.deploy import domain, operations
from bibench.errors import UnsupportedError
from bibench.input_scale import activation_scale
from bibench.operators import InferenceForm
from bibench.spec import LayerSpec


class Packed(nn.Module):
    """Base. `calls` counts the calls of each layer in a forward of the model."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.layer = name
        self.calls: Counter[str] = Counter()

    def label(self) -> str:
        """`layer`, and `layer#2` where it is called again: no optimizer takes two calls for one."""
        self.calls[self.layer] += 1
        count = self.calls[self.layer]
        return self.layer if count == 1 else f"{self.layer}#{count}"

    def require_one_size(self, output: Tensor) -> None:
        """Refuse a layer that cannot serve all of its calls, of which one gives `output`."""


class PackedConv(Packed):
    """A binarized convolution. A padding mode that copies values pads before the sign, which is the same.

    Except for the mean of |x| per example, which is of x without its padding: it then follows the operator.
    """

    def __init__(self, name: str, spec: LayerSpec, form: InferenceForm, bias: Tensor | None) -> None:
        super().__init__(name)
        self.spec = spec
        _hold(self, form, bias)
        axes = form.spatial_scale or ()
        self.register_buffer("rows", _values(axes[0] if len(axes) == 2 else None))
        self.register_buffer("columns", _values(axes[-1] if axes else None))

    def forward(self, input: Tensor) -> Tensor:
        x, spec = input, self.spec
        if x.dim() == spec.spatial_axes + 1:  # no batch axis
            return self.forward(x.unsqueeze(0)).squeeze(0)
        if spec.padding_mode == "zeros":
            return self._product(x, operations.sides(spec.padding), self.activation_scale, self.bias)
        padded, pads = F.pad(x, spec.padding, mode=spec.padding_mode), [0] * len(spec.padding)
        if self.activation_scale != "sample":
            return self._product(padded, pads, self.activation_scale, self.bias)
        y = self._product(padded, pads, "", None) * activation_scale(x, spec, "sample")
        bias: Any = self.bias
        return y if bias is None else y + spec.per_output(bias)

    def require_one_size(self, output: Tensor) -> None:
        """Refuse scales of rows and columns that fit one of the layer's calls only."""
        for axis, values in ((-2, self.rows), (-1, self.columns)):
            if isinstance(values, Tensor) and len(values) != output.shape[axis]:
                raise UnsupportedError(
                    f"layer {self.layer!r} cannot be exported: it is called for maps of several sizes, and its scales "
                    "of rows and columns are of one; give each size a layer of its own"
                )

    def _product(self, x: Tensor, pads: list[int], form: Any, bias: Any) -> Tensor:
        spec = self.spec
        y: Tensor = torch.ops.bibench.binary_conv(
            *(x, self.weight, self.scale, bias, self.threshold, self.rows, self.columns),
            *(list(spec.kernel_size), list(spec.stride), pads, list(spec.dilation)),
            *(spec.groups, int(spec.pad_value), spec.in_channels, form, self.label()),
        )
        return y


class PackedLinear(Packed):
    """A binarized linear layer."""

    def __init__(self, name: str, spec: LayerSpec, form: InferenceForm, bias: Tensor | None) -> None:
        super().__init__(name)
        self.spec = spec
        _hold(self, form, bias)

    def forward(self, input: Tensor) -> Tensor:
        y: Tensor = torch.ops.bibench.binary_linear(
            *(input, self.weight, self.scale, self.bias, self.threshold),
            *(self.spec.in_channels, self.activation_scale, self.label()),
        )
        return y


class PackedAttention(Packed):
    """Bi-attention over (B, H, T, d); without heads or batch too."""

    def __init__(self, name: str, strict: bool) -> None:
        super().__init__(name)
        self.strict = strict

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        missing = 4 - q.dim()
        if missing < 0:
            raise UnsupportedError(f"layer {self.layer!r}: attention over {q.dim()} axes; at most 4 can be exported")
        for _ in range(missing):
            q, k, v = q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0)
        y: Tensor = torch.ops.bibench.binary_attention(q, k, v, mask, self.strict, self.label())
        for _ in range(missing):
            y = y.squeeze(0)
        return y


class PackedEmbedding(Packed):
    """Rows of one bit per entry and one scale: the looked-up bytes are unpacked."""

    weight: Tensor
    scale: Tensor
    bits: Tensor

    def __init__(self, name: str, weight: Tensor) -> None:
        super().__init__(name)
        self.width = weight.shape[1]
        signs = torch.where(weight - weight.mean(-1, keepdim=True) >= 0, 1.0, -1.0)
        self.register_buffer("weight", _packed(signs))
        self.register_buffer("scale", weight.abs().mean(-1, keepdim=True))
        self.register_buffer("bits", 2 ** torch.arange(8, dtype=torch.uint8))

    def forward(self, input: Tensor) -> Tensor:
        held = F.embedding(input, self.weight).unsqueeze(-1) & self.bits
        signs = torch.where(held == 0, 1.0, -1.0).flatten(-2)[..., : self.width]
        return F.embedding(input, self.scale) * signs


def _hold(module: nn.Module, form: InferenceForm, bias: Tensor | None) -> None:
    module.activation_scale = form.activation_scale or ""  # type: ignore[assignment]
    module.register_buffer("weight", _packed(form.weight))
    module.register_buffer("scale", _values(form.channel_scale))
    module.register_buffer("bias", _values(bias))
    module.register_buffer("threshold", _values(form.threshold))


def _packed(signs: Tensor) -> Tensor:
    return torch.from_numpy(domain.pack(signs.detach().cpu().numpy()))


def _values(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach().float().cpu().contiguous().clone()
