"""Frost textures: made by us, or the authors' photographs when the user has them.

The photographs behind the frost of CIFAR-10-C may not be passed on, so crystals are drawn instead. They
match the brightness of the photographs, not their content: accuracies under this frost are BiBench's own
and not comparable with published ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bibench.data.corruptions.random import Float
from bibench.data.decoding import open_rgb
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError

Textures = tuple[NDArray[np.uint8], ...]

OFFICIAL = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
"""Five of the six photographs: the reference draws from five and never uses frost6.jpg."""
DARKNESS = 0.57
"""Of the drawn textures: gives the mean change that the photographs give, at severities 1, 3 and 5 to within 6 %."""
SHRINK = 5
"""The reference shrinks the photographs to a fifth for CIFAR-10-C and takes them whole for ImageNet-C."""

_folder: ContextVar[Path | None] = ContextVar("frost", default=None)


@contextmanager
def frost_from(folder: Path | None) -> Iterator[None]:
    """Inside, frost is cropped from the photographs in `folder` (None: from the drawn textures)."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def textures(height: int, width: int) -> Textures:
    """Textures of at least the given size, (H', W', 3) uint8."""
    from bibench.data.corruptions.constants import IMAGENET_FROM

    folder = _folder.get()
    if folder is None:
        return _drawn(max(128, 1 << (max(height, width) - 1).bit_length()))
    step = SHRINK if min(height, width) < IMAGENET_FROM else 1
    found = tuple(picture[step // 2 :: step, step // 2 :: step] for picture in _photographs(folder))
    for name, picture in zip(OFFICIAL, found, strict=True):
        if picture.shape[0] < height or picture.shape[1] < width:
            raise DataError(
                f"{folder / name} is too small for images of {height}×{width} (1/{step} of it is "
                f"{picture.shape[0]}×{picture.shape[1]}); remove the folder to use the drawn textures"
            )
    return found


def official_folder(root: Path | None) -> Path | None:
    """Where below the data root the authors' photographs lie (``CIFAR-10-C/frost`` or ``frost``), if they do."""
    candidates = () if root is None else (root / "CIFAR-10-C" / "frost", root / "frost")
    return next((folder for folder in candidates if folder.is_dir()), None)


def source_of(folder: Path | None) -> str:
    """A fingerprint of the textures in use."""
    if folder is None:
        return "drawn"
    return sha256(*(picture.tobytes() for picture in _photographs(folder)))[:16]


@cache
def _photographs(folder: Path) -> Textures:
    fix = f"expected {', '.join(OFFICIAL)} there, or no such folder, to use the drawn textures"
    return tuple(np.asarray(open_rgb(folder / name, fix)) for name in OFFICIAL)


@cache
def _drawn(size: int) -> Textures:
    return tuple(_draw(size, np.random.RandomState(number)) for number in range(len(OFFICIAL)))


def _draw(size: int, random: np.random.RandomState) -> NDArray[np.uint8]:
    """Ridges of warped noise in several scales, in the colours of ice: (size, size, 3), mean about 150."""
    warp = _noise(size, 4, random), _noise(size, 4, random)
    grain = np.zeros((size, size))
    weight = 1.0
    for cells in (5, 11, 23, 47):
        ridges = 1 - np.abs(2 * _noise(size, cells, random) - 1)
        grain += weight * _warped(ridges, warp, size / 8) ** 3
        weight *= 0.7
    grain += 0.15 * random.normal(size=grain.shape)
    order = np.argsort(np.argsort(grain, axis=None)).reshape(grain.shape) / (grain.size - 1)  # uniform in [0, 1]
    shade = order[..., None] ** DARKNESS
    ice = np.array([0.86, 0.95, 1.0]) * (1 - shade) + shade
    return np.asarray(np.rint(255 * ice * shade), dtype=np.uint8)


def _noise(size: int, cells: int, random: np.random.RandomState) -> Float:
    """(size, size) smooth noise in [0, 1] that repeats at the borders, with about `cells` bumps along a side."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(random.normal(size=(size, size)), size / cells / 3, mode="wrap")
    field -= field.min()
    return np.asarray(field / field.max())


def _warped(field: Float, warp: tuple[Float, Float], reach: float) -> Float:
    from scipy.ndimage import map_coordinates

    rows, columns = np.indices(field.shape)
    return np.asarray(
        map_coordinates(field, (rows + reach * warp[0], columns + reach * warp[1]), order=1, mode="grid-wrap")
    )
