"""COCO 2017 (Lin et al., ECCV 2014): objects of 80 classes in 5,000 test photographs.

https://cocodataset.org. As in the literature the 5,000 images of val2017 are the test set; they are
evaluated once, after the last epoch. Every 50th image of train2017 is kept out of training for validation.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from bibench.data.annotations import Annotations
from bibench.data.coco import read_coco
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT
from bibench.recipes.recipe import Recipe
from bibench.tasks.average_precision import Boxes, coco_scores
from bibench.tasks.base import task
from bibench.tasks.detection import Detection

VALIDATION_EVERY = 50
TRAIN = 118_287

LAYOUT = (
    Expected("coco/annotations/instances_train2017.json", "objects of the training images"),
    Expected("coco/annotations/instances_val2017.json", "objects of the test images"),
    Expected("coco/train2017", "images, training and validation", pattern="*.jpg", files=TRAIN),
    Expected("coco/val2017", "images, the test set", pattern="*.jpg", files=5000),
)
ARCHIVES = tuple(
    Expected(
        f"coco/{name}",
        f"the archive, http://images.cocodataset.org/{place}/{name}",
        size=size,
        checksum=f"md5:{md5}",
        required=False,
    )
    for name, place, size, md5 in (
        ("annotations_trainval2017.zip", "annotations", 252_907_541, "f4bbac642086de4f52a3fdda2de5fa2c"),
        ("train2017.zip", "zips", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2"),
        ("val2017.zip", "zips", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80"),
    )
)


@task("coco17")
class COCO17(Detection):
    """Mean average precision over overlaps from 0.5 to 0.95 on val2017."""

    title = "COCO 2017"
    source = "https://cocodataset.org/#download (train2017.zip, val2017.zip, annotations_trainval2017.zip)"
    licence = "annotations CC BY 4.0; photographs from Flickr under its terms of use"
    num_classes = 80
    image_shape = (3, 800, 1333)
    train_examples = TRAIN - -(-TRAIN // VALIDATION_EVERY)
    models = ("faster_rcnn",)
    recipes = {
        # 12 epochs for both stages (the release trains full precision for 24, with steps after 16 and 22:
        # the same fractions); 16 images are what the learning rate 2e-2 is usual for, 500 steps its warm-up.
        "paper": Recipe(
            epochs=12,
            batch_size=16,
            lr=1e-4,
            fp32=(
                ("optimizer", "sgd"),
                ("lr", 2e-2),
                ("weight_decay", 1e-4),
                ("schedule", "step"),
                ("milestones", (0.667, 0.917)),
                ("warmup", 0.0058),
            ),
        ),
        "quick": Recipe(epochs=1, batch_size=8, lr=1e-4, fp32=(("optimizer", "sgd"), ("lr", 5e-3), ("warmup", 0.05))),
    }

    @property
    def folder(self) -> Path:
        """The folder of annotations and images."""
        assert self.data_root is not None
        return self.data_root / "coco"

    def files(self, split: str) -> tuple[Path, Path]:
        """Annotation file and image folder that hold a split."""
        part = "val2017" if split == "test" else "train2017"
        return self.folder / "annotations" / f"instances_{part}.json", self.folder / part

    def missing(self) -> str:
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to the folder that holds coco/"
        for needed in (*self.files("train"), *self.files("test")):
            if not needed.exists():
                return f"{needed} is missing; fetch it from {self.source} and unpack it in {self.folder}"
        return ""

    def layout(self) -> tuple[Expected, ...]:
        there = self.data_root is not None and not self.missing()
        return LAYOUT if there else (*LAYOUT, *ARCHIVES)

    def annotations(self, split: str) -> Annotations:
        if split == "test":
            return read_coco(*self.files(split), self.num_classes)
        return self._train.part(split == "validation", VALIDATION_EVERY)

    @cached_property
    def _train(self) -> Annotations:
        return read_coco(*self.files("train"), self.num_classes)

    def scores(self, detections: Boxes, truths: Boxes) -> dict[str, float]:
        return coco_scores(detections, truths, self.num_classes)
