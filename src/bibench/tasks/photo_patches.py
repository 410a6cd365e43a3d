"""Embedded: which of eight real photographs is this patch from? No download.

Patches are cut from separate strips of each photograph for each split and stored as image files in one
folder per class, so that the reader, transforms and worker processes of ImageNet serve them. Classes
are photographs, not kinds of objects.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bibench.data import photos
from bibench.data.location import cached_folder
from bibench.foundation.errors import require
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import SPLITS, task
from bibench.tasks.image_folder import FolderImages

VERSION = "photo_patches-v1"
PATCH = 40
PATCHES = {"train": 500, "validation": 100, "test": 150}
"""Patches of each photograph in each split."""


@task("photo_patches")
class PhotoPatches(FolderImages):
    """Accuracy on 1,200 patches from parts of the photographs that training never shows."""

    title = "Patches of photographs (embedded)"
    embedded = True
    stands_in_for = "ImageNet"
    source = "cut from photographs of scikit-learn and scikit-image"
    licence = photos.ATTRIBUTION
    num_classes = len(photos.PHOTOS)
    image_shape = (3, 32, 32)
    resize = PATCH
    min_crop_area = 0.4
    train_examples = PATCHES["train"] * len(photos.PHOTOS)
    chance = 1 / len(photos.PHOTOS)
    models = ("resnet18",)
    recipes = {
        "paper": Recipe(
            epochs=60,
            batch_size=64,
            lr=1e-3,
            fp32=(("optimizer", "sgd"), ("lr", 0.1), ("weight_decay", 1e-4)),
        ),
        "quick": Recipe(epochs=5, batch_size=64, lr=2e-3),
        "smoke": Recipe(epochs=1, batch_size=64, lr=2e-3),
    }

    def prepare(self) -> None:
        cached_folder(VERSION, _build)

    def folder(self, split: str) -> Path:
        return cached_folder(VERSION, _build) / split


def _build(folder: Path) -> None:
    require("PIL", extra="bench", purpose="task 'photo_patches'")
    from PIL import Image

    pictures = photos.load()
    for number, split in enumerate(SPLITS):
        random = np.random.RandomState(100 + number)
        for name, picture in pictures.items():
            target = folder / split / name
            target.mkdir(parents=True)
            part = photos.strip(picture, split)
            for index in range(PATCHES[split]):
                patch = photos.random_crop(part, PATCH, random)
                Image.fromarray(patch).save(target / f"{index:04d}.png")
