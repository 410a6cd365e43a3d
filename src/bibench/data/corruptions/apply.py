"""`corrupt`: one corruption at one severity, on a batch of images of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bibench.data.corruptions import blur, digital, noise, weather
from bibench.data.corruptions.constants import constants_for
from bibench.data.corruptions.random import Bytes, Streams
from bibench.data.corruptions.spatter import spatter
from bibench.foundation.errors import BiBenchError, UnknownNameError, require

SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST = 8
CHUNK_VALUES = 1 << 20
"""Values worked on at once, so that batches of any length stay in the processor's cache and in memory."""

_FLOAT: dict[str, Callable[..., Any]] = {
    "gaussian_noise": noise.gaussian_noise,
    "shot_noise": noise.shot_noise,
    "impulse_noise": noise.impulse_noise,
    "defocus_blur": blur.defocus_blur,
    "glass_blur": blur.glass_blur,
    "motion_blur": blur.motion_blur,
    "zoom_blur": blur.zoom_blur,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic_transform,
    "speckle_noise": noise.speckle_noise,
    "gaussian_blur": blur.gaussian_blur,
    "spatter": spatter,
    "saturate": digital.saturate,
}
_BYTES: dict[str, Callable[..., Bytes]] = {
    "pixelate": digital.pixelate,
    "jpeg_compression": digital.jpeg_compression,
}

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four that the authors keep apart, for choosing settings; CIFAR-10-C has them all."""
CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
    *EXTRA,
)
"""All 19, by the names of the files of CIFAR-10-C."""


def corrupt(images: Bytes, corruption: str, severity: int, *, seed: int = 0, start: int = 0) -> Bytes:
    """`images` (N, H, W, 3) uint8 with a corruption at a severity of 1 to 5, as uint8 (truncated, not rounded).

    Args:
        seed: seed of everything random.
        start: number of the first image. Image i of the batch depends on (seed, corruption, severity,
            start + i) and its pixels alone, so a data set may be made in any pieces.

    The constants are those of CIFAR-10-C, for images from 85×85 on those of ImageNet-C.
    """
    check_name(corruption)
    check_severity(severity)
    _check_images(images)
    require("scipy", extra="bench", purpose="corrupting images")
    require("skimage", extra="bench", purpose="corrupting images")
    height, width = images.shape[1:3]
    constants = constants_for(height, width)[corruption][severity - 1]
    key = (seed, CORRUPTIONS.index(corruption), severity)
    step = max(1, CHUNK_VALUES // (height * width * 3))
    made = np.empty_like(images)
    for first in range(0, len(images), step):
        part = images[first : first + step]
        streams = Streams(*key, start=start + first, count=len(part))
        made[first : first + len(part)] = _changed(part, corruption, constants, streams)
    return made


def _changed(part: Bytes, corruption: str, constants: Any, streams: Streams) -> Bytes:
    if corruption in _BYTES:
        return _BYTES[corruption](part, constants, streams)
    values = _FLOAT[corruption](part / 255.0, constants, streams)
    return (np.clip(values, 0, 1) * 255 + CERTAIN).astype(np.uint8)


CERTAIN = 1e-9
"""Added before truncation, so that 7/255·255 is 7 on every machine; the reference leaves that to rounding errors."""


def check_name(corruption: str) -> None:
    """Raise `UnknownNameError` for a name that is no corruption."""
    if corruption not in CORRUPTIONS:
        raise UnknownNameError(f"unknown corruption {corruption!r}; there are: {', '.join(CORRUPTIONS)}")


def check_severity(severity: int) -> None:
    """Raise `BiBenchError` unless `severity` is a whole number of 1 to 5."""
    if severity not in SEVERITIES or isinstance(severity, bool):
        raise BiBenchError(f"severity must be 1, 2, 3, 4 or 5; got {severity!r}")


def _check_images(images: Bytes) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        kind = getattr(images, "dtype", type(images).__name__)
        raise BiBenchError(f"images must be a NumPy array of uint8; got {kind}")
    if images.ndim != 4 or images.shape[3] != 3 or min(images.shape[1:3]) < SMALLEST:
        raise BiBenchError(
            f"images must have the shape (N, H, W, 3) with at least {SMALLEST}×{SMALLEST} pixels; got {images.shape}"
        )
