"""PASCAL VOC 2007 (Everingham et al., IJCV 2010): objects of 20 classes in 4,952 test photographs.

http://host.robots.ox.ac.uk/pascal/VOC. Trained on the trainval sets of 2007 and 2012, as is usual. Every
20th of those images is kept out of training for validation, so that the test set chooses nothing.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

from bibench.data.annotations import Annotations
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT
from bibench.data.voc import CLASSES, read_voc
from bibench.recipes.recipe import Recipe
from bibench.tasks.average_precision import Boxes, voc_scores
from bibench.tasks.base import task
from bibench.tasks.detection import Detection

VALIDATION_EVERY = 20
TRAINVAL = 16_551
"""Images of both trainval sets, 5,011 and 11,540."""
FRCNN_REPEATS, SSD_REPEATS = 5, 10
"""How often the release's epochs go through the images."""

_SCHEDULE_SSD = (("optimizer", "sgd"), ("lr", 1e-3), ("weight_decay", 5e-4), ("schedule", "step"))

LAYOUT = (
    Expected("VOCdevkit/VOC2007/ImageSets/Main/trainval.txt", "names of 5,011 images, training and validation"),
    Expected("VOCdevkit/VOC2007/ImageSets/Main/test.txt", "names of 4,952 images, the test set"),
    Expected("VOCdevkit/VOC2007/Annotations", "objects of each image", pattern="*.xml", files=9963),
    Expected("VOCdevkit/VOC2007/JPEGImages", "images", pattern="*.jpg", files=9963),
    Expected("VOCdevkit/VOC2012/ImageSets/Main/trainval.txt", "names of 11,540 images, training and validation"),
    # More than these have no labels of detection, and the test images of 2012 may lie here too: not counted.
    Expected("VOCdevkit/VOC2012/Annotations", "objects of each image, 17,125 or more", pattern="*.xml"),
    Expected("VOCdevkit/VOC2012/JPEGImages", "images, 17,125 or more", pattern="*.jpg"),
)
ARCHIVES = tuple(
    Expected(name, what, checksum=f"md5:{md5}", required=False)
    for name, what, md5 in (
        ("VOCtrainval_06-Nov-2007.tar", "archive of 2007, trainval", "c52e279531787c972589f7e41ab4ae64"),
        ("VOCtest_06-Nov-2007.tar", "archive of 2007, test", "b6e924de25625d8de591ea690078ad9f"),
        ("VOCtrainval_11-May-2012.tar", "archive of 2012, trainval", "6cd6e144f989b92b3379bac3b3de84fd"),
    )
)
"""To be unpacked in the data root; checksums as torchvision has them."""


@task("voc07")
class VOC07(Detection):
    """Eleven-point mean average precision at an overlap of 0.5 on the 2007 test set, difficult objects ignored."""

    title = "PASCAL VOC 2007"
    source = "http://host.robots.ox.ac.uk/pascal/VOC (trainval of 2007 and 2012, test of 2007)"
    licence = "photographs from Flickr under its terms of use; annotations free for research"
    num_classes = len(CLASSES)
    image_shape = (3, 600, 1000)
    model_shapes = {"ssd300": (3, 300, 300)}
    augmentations = {"ssd300": "ssd"}
    train_examples = TRAINVAL - -(-TRAINVAL // VALIDATION_EVERY)
    models = ("faster_rcnn", "ssd300")
    # The release gives the batch per GPU (2 and 32) but not the number of GPUs; 16 is what the learning
    # rate of its full-precision Faster R-CNN is usual for. 5 epochs of images repeated 5 times are 25.
    recipes = {
        "paper": Recipe(
            epochs=5 * FRCNN_REPEATS,
            batch_size=16,
            lr=1e-4,
            fp32=(
                ("optimizer", "sgd"),
                ("lr", 1e-2),
                ("weight_decay", 1e-4),
                ("schedule", "step"),
                ("milestones", (0.8,)),
            ),
        ),
        "quick": Recipe(epochs=1, batch_size=8, lr=1e-4, fp32=(("optimizer", "sgd"), ("lr", 5e-3))),
    }
    # The release's full-precision SSD has neither momentum nor a schedule; these are SSD's own.
    model_recipes: ClassVar[dict[str, dict[str, Recipe]]] = {
        "ssd300": {
            "paper": Recipe(
                epochs=24 * SSD_REPEATS,
                batch_size=32,
                lr=1e-4,
                fp32=(*_SCHEDULE_SSD, ("milestones", (0.667, 0.833))),
            ),
            "quick": Recipe(epochs=2, batch_size=32, lr=1e-4, fp32=(*_SCHEDULE_SSD, ("milestones", (0.667, 0.833)))),
        }
    }

    @property
    def devkit(self) -> Path:
        """The folder ``VOCdevkit``."""
        assert self.data_root is not None
        return self.data_root / "VOCdevkit"

    def image_sets(self, split: str) -> list[tuple[str, str]]:
        """(year, name) of the image sets that a split is made of."""
        return [("2007", "test")] if split == "test" else [("2007", "trainval"), ("2012", "trainval")]

    def missing(self) -> str:
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to the folder that holds VOCdevkit/"
        for year, name in (pair for split in ("train", "test") for pair in self.image_sets(split)):
            folder = self.devkit / f"VOC{year}"
            for needed in (
                folder / "ImageSets" / "Main" / f"{name}.txt",
                folder / "Annotations",
                folder / "JPEGImages",
            ):
                if not needed.exists():
                    return (
                        f"{needed} is missing; fetch VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and "
                        f"VOCtrainval_11-May-2012.tar from {self.source} and unpack them in {self.data_root}"
                    )
        return ""

    def layout(self) -> tuple[Expected, ...]:
        root = self.data_root
        there = root is not None and all((root / "VOCdevkit" / year).is_dir() for year in ("VOC2007", "VOC2012"))
        return LAYOUT if there else (*LAYOUT, *ARCHIVES)

    def annotations(self, split: str) -> Annotations:
        if split == "test":
            return read_voc(self.devkit, self.image_sets(split))
        return self._trainval.part(split == "validation", VALIDATION_EVERY)

    @cached_property
    def _trainval(self) -> Annotations:
        return read_voc(self.devkit, self.image_sets("train"))

    def scores(self, detections: Boxes, truths: Boxes) -> dict[str, float]:
        return voc_scores(detections, truths, self.num_classes)
