"""Image files as RGB pictures of 8 bits a channel, whatever they store: the one place where images are opened.

Pillow's own conversion of deep grey images cuts off every value above 255, so that they become white. Of colour images
with 16 bits it keeps the higher byte of each channel; so is done here with grey ones.

Transparency is left out and the orientation that a camera noted is not applied, as torchvision's loader does: boxes
are those of the stored pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bibench.errors import DataError
from bibench.files import unreadable
from bibench.numbers import RESTORE

if TYPE_CHECKING:
    from PIL.Image import Image

SCALED_TO_16_BITS = ("PNG", "PPM")
"""Formats whose readers give mode I (32-bit integers) for images of 16 bits, white being 65535."""
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0
"""Of TIFF."""


def open_rgb(path: Path, fix: str = RESTORE) -> Image:
    """The picture in a file, as `rgb` gives it; of several the first.

    Raises:
        DataError: naming the file, which is missing, damaged, or of numbers whose white is not known; with `fix`.
    """
    from PIL import Image

    try:
        with Image.open(path) as file:
            return rgb(file, str(path))
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; {fix}") from error
    except Exception as error:  # Pillow's readers raise a dozen kinds for damaged files
        raise DataError(unreadable(path, error) or f"{path} is damaged ({error}); {fix}") from error


def rgb(image: Image, source: str) -> Image:
    """`image` in mode RGB. Grey values of 9 to 16 bits are scaled by their range: v becomes v >> (bits - 8).

    Raises:
        DataError: naming `source`: floating-point numbers, or integers of 32 bits, of which no range is known.
    """
    from PIL import Image as pillow

    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    bits = _bits(image)
    values = np.asarray(image)
    if bits is None or values.min() < 0 or values.max() >= 1 << bits:
        kind = "floating-point numbers" if image.mode == "F" else "integers of more than 16 bits, or with a sign,"
        raise DataError(
            f"{source} holds {kind} (mode {image.mode}), of which nobody knows what is white; expected at most 16 bits "
            "a channel without sign; store it anew, with its range scaled to 0 to 255 or 65535"
        )
    levels = (values.astype(np.uint16) >> (bits - 8)).astype(np.uint8)
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:  # which Pillow heeds with 8 bits alone
        levels = 255 - levels
    return pillow.fromarray(levels).convert("RGB")


def _bits(image: Image) -> int | None:
    """Bits of the grey values of a deep image, or None where it does not say."""
    if image.mode == "I":
        return 16 if image.format in SCALED_TO_16_BITS else None
    if image.mode == "F":
        return None
    stated = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))
    return int(stated[0] if isinstance(stated, tuple) else stated)
