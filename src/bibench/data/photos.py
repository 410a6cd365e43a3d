"""Photographs that come with scikit-image and scikit-learn: the real material of the embedded tasks.

Only pictures whose licence is stated clearly are used; `ATTRIBUTION` travels with every data set made
from them. Left out: stereo_motorcycle (no licence stated) and immunohistochemistry ("no known
restrictions", no licence).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bibench.foundation.errors import require

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """One picture: which library has it, by which name, and its licence as stated there."""

    name: str
    library: str
    licence: str
    credit: str


PHOTOS = (
    Photo("astronaut", "skimage", "public domain", "NASA"),
    Photo("chelsea", "skimage", "CC0", "Stefan van der Walt"),
    Photo("china", "sklearn", "CC BY 2.0", "danielbuechele, flickr.com/photos/danielbuechele/6061409035"),
    Photo("coffee", "skimage", "CC0", "Rachel Michetti"),
    Photo("flower", "sklearn", "CC BY 2.0", "vultilion, flickr.com/photos/vultilion/6056698931"),
    Photo("hubble_deep_field", "skimage", "public domain", "NASA, hubblesite.org"),
    Photo("retina", "skimage", "CC0", "Mikael Häggström"),
    Photo("rocket", "skimage", "public domain", "SpaceX"),
)

ATTRIBUTION = "Photographs: " + "; ".join(f"{p.name} ({p.credit}, {p.licence})" for p in PHOTOS) + "."

SPLIT_COLUMNS = {"train": (0.0, 0.6), "validation": (0.6, 0.75), "test": (0.75, 1.0)}
"""Each split sees its own vertical strip of every photograph."""


def load() -> dict[str, Image]:
    """All photographs as (H, W, 3) uint8, the very large ones reduced so that texture stays comparable."""
    require("skimage", extra="bench", purpose="the embedded image tasks")
    require("sklearn", extra="bench", purpose="the embedded image tasks")
    import skimage.data
    import sklearn.datasets

    images = {}
    for photo in PHOTOS:
        if photo.library == "skimage":
            image = getattr(skimage.data, photo.name)()
        else:
            image = sklearn.datasets.load_sample_image(f"{photo.name}.jpg")
        step = max(1, min(image.shape[:2]) // 400)
        images[photo.name] = np.ascontiguousarray(_reduce(image[..., :3], step))
    return images


def strip(image: Image, split: str) -> Image:
    """The part of a photograph that belongs to `split`."""
    low, high = SPLIT_COLUMNS[split]
    width = image.shape[1]
    return image[:, round(low * width) : round(high * width)]


def random_crop(image: Image, size: int, random: np.random.RandomState) -> Image:
    """A `size` × `size` crop at a random place."""
    top = random.randint(0, image.shape[0] - size + 1)
    left = random.randint(0, image.shape[1] - size + 1)
    return image[top : top + size, left : left + size]


def _reduce(image: Image, step: int) -> Image:
    if step == 1:
        return image
    height, width = (n // step * step for n in image.shape[:2])
    blocks = image[:height, :width].reshape(height // step, step, width // step, step, 3)
    return np.asarray(np.rint(blocks.mean((1, 3))), dtype=np.uint8)
