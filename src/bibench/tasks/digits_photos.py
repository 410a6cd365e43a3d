"""Embedded: handwritten digits blended over photographs, after the recipe of MNIST-M. No download.

1,797 real scanned digits (UCI Optical Recognition of Handwritten Digits, in scikit-learn) are enlarged
and combined with crops of real photographs as |photo - digit|. Splits share neither digits nor parts
of photographs. It resembles CIFAR-10 in shape and number of classes, not in difficulty or content.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bibench.data import photos
from bibench.data.images import Normalize
from bibench.data.location import cached_folder
from bibench.errors import DataError, require
from bibench.files import unreadable
from bibench.recipe import Recipe
from bibench.tasks.base import SPLITS, task
from bibench.tasks.image_classification import InMemoryImages
from bibench.tasks.sensitivity import sensitivity_recipes

VERSION = "digits_photos-v1"
SIZE = 32
DIGITS = {"train": 1197, "validation": 240, "test": 360}
"""Scanned digits of each split; together all 1,797."""
COPIES = {"train": 4, "validation": 4, "test": 4}
"""Images made of each digit, with other backgrounds, sizes and places."""


@task("digits_photos")
class DigitsPhotos(InMemoryImages):
    """Accuracy on 1,440 images of 360 digits that no training image shows."""

    title = "Digits over photographs (embedded)"
    embedded = True
    stands_in_for = "CIFAR-10"
    source = "composed from scikit-learn's digits and photographs of scikit-learn and scikit-image"
    licence = "digits: UCI, CC BY 4.0. " + photos.ATTRIBUTION
    num_classes = 10
    image_shape = (3, SIZE, SIZE)
    train_examples = DIGITS["train"] * COPIES["train"]
    chance = 0.1
    models = ("resnet20", "resnet18", "resnet34", "vgg_small")
    normalize = Normalize((95.0, 78.0, 74.0), (80.0, 66.0, 66.0))
    flip = False
    recipes = {
        "paper": Recipe(
            epochs=100,
            batch_size=64,
            lr=1e-3,
            fp32=(("optimizer", "sgd"), ("lr", 0.1), ("weight_decay", 1e-4)),
        ),
        "quick": Recipe(epochs=6, batch_size=48, lr=5e-3),
        "smoke": Recipe(epochs=1, batch_size=64, lr=5e-3),
        **sensitivity_recipes(epochs=12, batch_size=48),
    }

    def prepare(self) -> None:
        self._folder()

    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        file = self._folder() / f"{split}.npz"
        try:
            with np.load(file) as stored:
                return torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"])
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise DataError(
                unreadable(file, error) or f"{file} is damaged ({error}); delete {file.parent} to have it made again"
            ) from error

    def _folder(self) -> Path:
        require("sklearn", extra="bench", purpose=f"task {self.name!r}")
        return cached_folder(VERSION, _build)


def _build(folder: Path) -> None:
    digits = _Digits()
    pictures = photos.load()
    for number, split in enumerate(SPLITS):
        images, labels = _compose(digits, pictures, split, np.random.RandomState(number))
        np.savez(folder / f"{split}.npz", images=images, labels=labels)


class _Digits:
    """The scanned digits, dealt to the splits so that each has every class in proportion."""

    @cached_property
    def _data(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        return bunch.images / 16.0, bunch.target.astype(np.int64)

    def of(self, split: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Scans (N, 8, 8) in [0, 1] and labels of a split."""
        images, labels = self._data
        order = np.argsort(labels, kind="stable")
        # Interleave the classes by their rank within the class; consecutive runs then are stratified.
        rank = np.concatenate([np.linspace(0, 1, n, endpoint=False) for n in np.bincount(labels)])
        order = order[np.argsort(rank, kind="stable")]
        start = sum(DIGITS[s] for s in SPLITS[: SPLITS.index(split)])
        chosen = order[start : start + DIGITS[split]]
        return images[chosen], labels[chosen]


def _compose(
    digits: _Digits, pictures: dict[str, photos.Image], split: str, random: np.random.RandomState
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    scans, labels = digits.of(split)
    strips = [photos.strip(p, split) for p in pictures.values()]
    images = []
    for _ in range(COPIES[split]):
        for scan in scans:
            background = photos.random_crop(strips[random.randint(len(strips))], SIZE, random)
            images.append(blend(background, scan, random))
    return np.stack(images), np.tile(labels, COPIES[split])


def blend(background: photos.Image, scan: NDArray[np.float64], random: np.random.RandomState) -> photos.Image:
    """|background - 255 · digit| with the digit enlarged to 18 .. 28 pixels at a random place."""
    size = random.randint(18, 29)
    top, left = random.randint(0, SIZE - size + 1, 2)
    image = background.astype(np.float64)
    region = image[top : top + size, left : left + size]
    image[top : top + size, left : left + size] = np.abs(region - 255 * enlarge(scan, size)[..., None])
    return np.rint(image).astype(np.uint8)


def enlarge(scan: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Bilinear resampling of a square picture to `size` × `size` (pixel centres, clamped border)."""
    source = scan.shape[0]
    position = np.clip((np.arange(size) + 0.5) * source / size - 0.5, 0, source - 1)
    low = np.minimum(position.astype(int), source - 2)
    weight = position - low
    matrix = np.zeros((size, source))
    matrix[np.arange(size), low] = 1 - weight
    matrix[np.arange(size), low + 1] = weight
    return matrix @ scan @ matrix.T
