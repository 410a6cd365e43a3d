"""Embedded: procedural shapes of ten kinds, to be classified or split into their parts. No download.

The shapes are composed from simple meshes (`bibench.data.shapes`); labels and parts are true by
construction. They resemble ModelNet40 and ShapeNet-part in form, not in difficulty or content.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from bibench.data import shapes
from bibench.data.batches import mix
from bibench.data.clouds import Cloud, Clouds, load_clouds, save_clouds
from bibench.data.location import cached_folder
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import SPLITS, task
from bibench.tasks.point_clouds import PartSegmentation, PointClassification

VERSION = "shapes-v1"
OBJECTS = {"train": 120, "validation": 20, "test": 50}
"""Objects of each kind in each split."""
STORED_POINTS = 512
LICENCE = "made by BiBench (Apache-2.0)"
SOURCE = "composed by BiBench from seeds"


class _Shapes:
    """The data that both tasks share."""

    cache = "shapes-v*"

    def prepare(self) -> None:
        cached_folder(VERSION, _build)

    def clouds(self, split: str) -> Clouds:
        """All shapes of a split."""
        return load_clouds(cached_folder(VERSION, _build) / split)


@task("shapes")
class Shapes(_Shapes, PointClassification):
    """Accuracy on 500 shapes of proportions, directions and views that training never shows."""

    title = "Procedural shapes (embedded)"
    embedded = True
    stands_in_for = "ModelNet40"
    source = SOURCE
    licence = LICENCE
    num_classes = len(shapes.KINDS)
    points = 128
    train_examples = OBJECTS["train"] * len(shapes.KINDS)
    chance = 1 / len(shapes.KINDS)
    models = ("pointnet_vanilla", "pointnet")
    recipes = {
        "paper": Recipe(epochs=100, batch_size=32, lr=1e-3),
        "quick": Recipe(epochs=8, batch_size=32, lr=2e-3),
        "smoke": Recipe(epochs=1, batch_size=64, lr=2e-3),
    }


@task("shape_parts")
class ShapeParts(_Shapes, PartSegmentation):
    """Mean IoU of the parts of 500 shapes; one model finds the 30 parts of all ten kinds."""

    title = "Parts of procedural shapes (embedded)"
    embedded = True
    stands_in_for = "ShapeNet-part"
    source = SOURCE
    licence = LICENCE
    categories = shapes.PARTS
    num_classes = sum(map(len, shapes.PARTS.values()))
    points = 128
    train_examples = OBJECTS["train"] * len(shapes.KINDS)
    chance = 0.314  # every point belongs to the commonest part of its kind
    models = ("pointnet_seg",)
    recipes = {
        "paper": Recipe(epochs=100, batch_size=32, lr=1e-3),
        "quick": Recipe(epochs=5, batch_size=16, lr=5e-3),
        "smoke": Recipe(epochs=1, batch_size=64, lr=2e-3),
    }


def _build(folder: Path) -> None:
    for number, split in enumerate(SPLITS):
        # The seed of each object is its own: splits share none, and another size changes no object.
        makers = [
            partial(_object, kind, mix(number, index, place))
            for index in range(OBJECTS[split])
            for place, kind in enumerate(shapes.KINDS)
        ]
        save_clouds(folder / split, makers)


def _object(kind: str, seed: int) -> Cloud:
    return shapes.cloud(kind, STORED_POINTS, np.random.default_rng(seed))
