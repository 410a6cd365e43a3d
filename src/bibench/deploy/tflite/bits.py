"""What the 1-bit convolution of Larq Compute Engine reads: packed bits, options, and the border it cannot express.

Facts of the format: a bit is 1 where the value is negative, least significant first, 32 channels to an int32;
padding is TensorFlow's SAME (with 0 or +1) or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bibench.deploy.tflite.graph import SAME, VALID, Array

WORD = 32


def pack(signs: Array) -> Array:
    """Bits of ±1 filters (O, kh, kw, I) as int32 (O, kh, kw, ⌈I/32⌉)."""
    missing = -signs.shape[-1] % WORD
    bits = np.pad(signs < 0, [(0, 0)] * (signs.ndim - 1) + [(0, missing)])
    return np.packbits(bits, axis=-1, bitorder="little").view("<i4")


def unpack(words: Array, channels: int) -> Array:
    """The ±1 filters (O, kh, kw, I) of `pack`, as float32."""
    bits = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, bitorder="little")
    signs: Array = 1 - 2 * bits[..., :channels].astype(np.float32)
    return signs


@dataclass(frozen=True)
class Window:
    """Geometry of a 2-d convolution or pooling: one entry per axis, `pads` (begin, end) per axis."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    dilations: tuple[int, int] = (1, 1)

    @classmethod
    def of(
        cls,
        kernel: Sequence[int],
        strides: Sequence[int] | None,
        pads: Sequence[int] | None,
        dilations: Sequence[int] | None,
    ) -> Window:
        """From ONNX's attributes, of one axis (which becomes the width) or two."""
        axes = len(kernel)
        strides, dilations = strides or [1] * axes, dilations or [1] * axes
        pads = pads or [0] * (2 * axes)
        sides = list(zip(pads[:axes], pads[axes:], strict=True))
        one = axes == 1
        return cls(
            (1, kernel[0]) if one else (kernel[0], kernel[1]),
            (1, strides[0]) if one else (strides[0], strides[1]),
            ((0, 0), sides[0]) if one else (sides[0], sides[1]),
            (1, dilations[0]) if one else (dilations[0], dilations[1]),
        )

    @property
    def padded(self) -> bool:
        """Whether anything is added."""
        return any(map(any, self.pads))

    def reach(self, axis: int) -> int:
        """Length of the dilated kernel."""
        return self.dilations[axis] * (self.kernel[axis] - 1) + 1

    def output(self, size: Sequence[int]) -> tuple[int, int]:
        """Size of the output map."""
        h, w = ((size[a] + sum(self.pads[a]) - self.reach(a)) // self.strides[a] + 1 for a in (0, 1))
        return h, w

    def is_same(self, size: Sequence[int]) -> bool:
        """Whether TensorFlow's SAME padding computes the same on a map of that size."""
        outputs = self.output(size)
        for axis in (0, 1):
            if outputs[axis] != -(-size[axis] // self.strides[axis]):
                return False
            total = max((outputs[axis] - 1) * self.strides[axis] + self.reach(axis) - size[axis], 0)
            if total // 2 != self.pads[axis][0]:
                return False
        return True


def options(channels: int, window: Window, padding: int, pad_value: int) -> dict[str, Any]:
    """The options of ``LceBconv2d``, all of which it demands."""
    return {
        "channels_in": channels,
        "dilation_height_factor": window.dilations[0],
        "dilation_width_factor": window.dilations[1],
        "fused_activation_function": 0,
        "pad_values": pad_value,
        "padding": padding,
        "stride_height": window.strides[0],
        "stride_width": window.strides[1],
    }


def native_padding(window: Window, size: Sequence[int], channels: int, pad_value: int) -> int | None:
    """SAME or VALID where the operator itself can pad so; None where its input must be padded before the sign.

    Its reference kernel cannot correct zero padding for an odd number of channels, and its optimized ones give wrong
    products where the filter is larger than the map.
    """
    if not window.padded:
        return VALID
    corrects = channels % 2 == 0 and all(window.reach(axis) <= size[axis] for axis in (0, 1))
    fits = window.is_same(size) and (pad_value == 1 or (pad_value == 0 and corrects))
    return SAME if fits else None


def border(filters: Array, size: Sequence[int], window: Window) -> Array:
    """What to add to products of a map padded with +1 to get those of a map padded with 0: (1, H_o, W_o, O), integers.

    -Σ of the weights that meet the padding; `filters` are ±1, (O, kh, kw, I); `size` is that of the map.
    """
    import torch
    import torch.nn.functional as F

    (top, bottom), (left, right) = window.pads
    outside = F.pad(torch.zeros(1, 1, *size), (left, right, top, bottom), value=1.0)
    weights = torch.from_numpy(filters.sum(axis=-1)).unsqueeze(1)  # (O, 1, kh, kw)
    met = F.conv2d(outside.double(), weights.double(), stride=window.strides, dilation=window.dilations)
    corrected: Array = -met.round().permute(0, 2, 3, 1).float().numpy()
    return corrected + np.float32(0)  # no -0
