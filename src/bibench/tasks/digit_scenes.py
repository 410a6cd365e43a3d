"""Embedded: find handwritten digits on photographs, stored as VOC and as COCO. No download.

Each scene is a piece of a real photograph, 48×48 pixels enlarged to 96×96, with one to three of scikit-learn's scanned
digits, 20 to 44 pixels high, blended in as |photo - digit|. Boxes are those of the visible strokes, exact
by construction. Splits share neither digits nor parts of photographs. The scenes are written in the
formats of VOC and COCO, so that the readers, metrics and detectors of those data sets serve them. They
resemble them in form, not in difficulty or content.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bibench.data import photos
from bibench.data.annotations import Annotations
from bibench.data.coco import read_coco
from bibench.data.location import cached_folder
from bibench.data.voc import read_voc
from bibench.foundation.errors import require
from bibench.recipes.recipe import Recipe
from bibench.tasks.average_precision import Boxes, coco_scores, voc_scores
from bibench.tasks.base import SPLITS, task
from bibench.tasks.detection import Detection
from bibench.tasks.digits_photos import _Digits, enlarge

VERSION = "digit_scenes-v1"
SIZE = 96
PIECE = 48
"""Pixels of a photograph behind a scene; the narrowest strips of a split have little more."""
SCENES = {"train": 1000, "validation": 100, "test": 200}
HEIGHTS = (20, 44)
"""Smallest and largest height of a digit in pixels."""
DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CATEGORY_IDS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
"""Of the digits in the COCO files, with gaps as COCO's own."""
INK = 0.25
"""Strokes count as visible from this share of black on."""
GAP = 2
"""Pixels between the boxes of two digits, at least."""

FASTER_RCNN = "faster_rcnn[proposals=50,roi_size=5,rois=8,width=16]"
SSD300 = "ssd300[batch_norm=True,width=8]"
"""Narrow, for training from scratch on a processor; SSD learns little in that time without norms."""


class DigitScenes(Detection):
    """What both forms share."""

    embedded = True
    cache = "digit_scenes-v*"
    source = "composed from scikit-learn's digits and photographs of scikit-learn and scikit-image"
    licence = "digits: UCI, CC BY 4.0. " + photos.ATTRIBUTION
    num_classes = len(DIGIT_NAMES)
    image_shape = (3, SIZE, SIZE)
    mirror = False
    evaluation_batch = 50
    train_examples = SCENES["train"]
    recipes = {
        "paper": Recipe(epochs=50, batch_size=16, lr=2e-3),
        # From scratch: after so few epochs a finetuned detector would mostly show that it trained twice as long.
        "quick": Recipe(epochs=3, batch_size=8, lr=2e-3, init="scratch"),
        "smoke": Recipe(epochs=1, batch_size=32, lr=2e-3),
    }

    def prepare(self) -> None:
        self._folder()

    def _folder(self) -> Path:
        require("sklearn", extra="bench", purpose=f"task {self.name!r}")
        require("PIL", extra="bench", purpose=f"task {self.name!r}")
        return cached_folder(VERSION, _build)


@task("digit_scenes_voc")
class DigitScenesVOC(DigitScenes):
    """Eleven-point mean average precision at an overlap of 0.5 on 200 scenes."""

    title = "Digits in scenes, as VOC (embedded)"
    stands_in_for = "PASCAL VOC 2007"
    models = (FASTER_RCNN, SSD300)

    def annotations(self, split: str) -> Annotations:
        return read_voc(self._folder() / "VOCdevkit", [("2007", _VOC_SETS[split])], DIGIT_NAMES)

    def scores(self, detections: Boxes, truths: Boxes) -> dict[str, float]:
        return voc_scores(detections, truths, self.num_classes)


@task("digit_scenes_coco")
class DigitScenesCOCO(DigitScenes):
    """Mean average precision over overlaps from 0.5 to 0.95 on 200 scenes."""

    title = "Digits in scenes, as COCO (embedded)"
    stands_in_for = "COCO 2017"
    models = (FASTER_RCNN,)

    def annotations(self, split: str) -> Annotations:
        folder = self._folder() / "coco"
        return read_coco(folder / "annotations" / f"instances_{split}.json", folder / split, self.num_classes)

    def scores(self, detections: Boxes, truths: Boxes) -> dict[str, float]:
        return coco_scores(detections, truths, self.num_classes)


_VOC_SETS = {"train": "train", "validation": "val", "test": "test"}

# -- composing ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """A picture, the boxes of its digits (edges in pixels, integers) and what digits they are."""

    image: photos.Image
    boxes: NDArray[np.int64]
    labels: list[int]


def compose(split: str) -> Iterator[Scene]:
    """All scenes of a split; the same for everyone."""
    scans, labels = _Digits().of(split)
    strips = [photos.strip(picture, split) for picture in photos.load().values()]
    random = np.random.RandomState(200 + SPLITS.index(split))
    for number in range(SCENES[split]):
        piece = photos.random_crop(strips[random.randint(len(strips))], PIECE, random).astype(np.float64)
        image = np.stack([enlarge(piece[..., channel], SIZE) for channel in range(3)], axis=2)
        boxes: list[NDArray[np.int64]] = []
        shown: list[int] = []
        for _ in range(1 + number % 3):
            index = random.randint(len(scans))
            strokes = enlarge(scans[index], random.randint(HEIGHTS[0], HEIGHTS[1] + 1))
            box = _place(image, strokes, boxes, random)
            if box is not None:
                boxes.append(box)
                shown.append(int(labels[index]))
        yield Scene(np.rint(image).astype(np.uint8), np.stack(boxes), shown)


def _place(
    image: NDArray[np.float64],
    strokes: NDArray[np.float64],
    others: list[NDArray[np.int64]],
    random: np.random.RandomState,
) -> NDArray[np.int64] | None:
    """Blend the strokes into the image where their box is free; None when no place was found."""
    rows, columns = (np.flatnonzero((strokes >= INK).any(axis=axis)) for axis in (1, 0))
    strokes = strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = strokes.shape
    for _ in range(20):
        left, top = random.randint(0, SIZE - width + 1), random.randint(0, SIZE - height + 1)
        box = np.array([left, top, left + width, top + height])
        if all((box[:2] >= o[2:] + GAP).any() or (o[:2] >= box[2:] + GAP).any() for o in others):
            region = image[top : top + height, left : left + width]
            region[:] = np.abs(region - 255 * strokes[..., None])
            return box
    return None


# -- writing -----------------------------------------------------------------------------------------------


def _build(folder: Path) -> None:
    for split in SPLITS:
        scenes = list(compose(split))
        write_voc(folder / "VOCdevkit" / "VOC2007", _VOC_SETS[split], split, scenes)
        write_coco(folder / "coco", split, scenes)


def write_voc(folder: Path, image_set: str, prefix: str, scenes: list[Scene]) -> None:
    """Write scenes as VOC does: an image list, a JPEG and an XML file each."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    names = [f"{prefix}_{number:06d}" for number in range(len(scenes))]
    for name, scene in zip(names, scenes, strict=True):
        _save(scene.image, folder / "JPEGImages" / f"{name}.jpg")
        (folder / "Annotations" / f"{name}.xml").write_text(_xml(name, scene), encoding="utf-8")
    (folder / "ImageSets" / "Main" / f"{image_set}.txt").write_text("".join(f"{n}\n" for n in names))


def _xml(name: str, scene: Scene) -> str:
    height, width, depth = scene.image.shape
    objects = "".join(
        f"<object><name>{DIGIT_NAMES[label]}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox><xmin>{box[0] + 1}</xmin><ymin>{box[1] + 1}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>\n"
        for box, label in zip(scene.boxes.tolist(), scene.labels, strict=True)
    )
    return (
        f"<annotation><folder>VOC2007</folder><filename>{name}.jpg</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>{depth}</depth></size>"
        f"<segmented>0</segmented>\n{objects}</annotation>\n"
    )


def write_coco(folder: Path, part: str, scenes: list[Scene]) -> None:
    """Write scenes as COCO does: a folder of JPEGs and one file of instances."""
    (folder / part).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, start=1):
        name = f"{number:012d}.jpg"
        _save(scene.image, folder / part / name)
        height, width = scene.image.shape[:2]
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for (left, top, right, bottom), label in zip(scene.boxes.tolist(), scene.labels, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": CATEGORY_IDS[label],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": key, "name": name} for key, name in zip(CATEGORY_IDS, DIGIT_NAMES, strict=True)]
    instances = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / f"instances_{part}.json").write_text(json.dumps(instances))


def _save(image: photos.Image, path: Path) -> None:
    from PIL import Image

    Image.fromarray(image).save(path, quality=95)
