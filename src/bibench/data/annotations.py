"""Images with boxes, whatever file they were read from, and what their readers check alike."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bibench.errors import DataError
from bibench.numbers import number

LARGEST_AREA = float(np.finfo(np.float32).max)
"""Pixels; areas are kept in float32."""
CLIPPED = "boxes clipped to their image"
WITHOUT_AREA = "boxes left out because nothing of them lies inside their image"
EMPTY = "images without objects"


@dataclass(frozen=True)
class AnnotatedImage:
    """One image and its N objects.

    Boxes are edges in pixels from the upper left corner, (x1, y1, x2, y2): the box that covers the
    whole image is (0, 0, width, height), and a width is x2 - x1.

    Attributes:
        path: the image file.
        size: (width, height) as the annotation states it; the file is compared when it is read.
        boxes: (N, 4) float32.
        labels: (N,) int64, from 0.
        ignored: (N,) bool. Not trained on, neither right nor wrong to detect: VOC's *difficult* objects,
            COCO's *crowd* regions.
        areas: (N,) float32 pixels, by which COCO's metric tells small, medium and large objects.
    """

    path: Path
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    areas: NDArray[np.float32]


@dataclass(frozen=True)
class Annotations:
    """All images of a split. `counts` says what was clipped, left out or is unusual in them."""

    images: list[AnnotatedImage]
    classes: tuple[str, ...]
    counts: Counter[str] = field(default_factory=Counter)

    def part(self, held_out: bool, every: int) -> Annotations:
        """Each `every`-th image (held out, for validation) or all the others (for training).

        The counts, which are of all images, go with the larger part.
        """
        images = [image for index, image in enumerate(self.images) if (index % every == 0) == held_out]
        if not images:
            raise DataError(
                f"of {len(self.images)} images, the first and every {every}th after it are kept for validation, which "
                "leaves none to train on; expected at least 2 images. Unpack the data set again"
            )
        return replace(self, images=images, counts=Counter() if held_out else self.counts)

    def for_training(self) -> Annotations:
        """Objects that are not ignored, and the images that have any; the others are counted."""
        kept = []
        for image in self.images:
            used = ~image.ignored
            if used.any():
                fields = ("boxes", "labels", "ignored", "areas")
                kept.append(replace(image, **{name: getattr(image, name)[used] for name in fields}))
        return replace(self, images=kept)


def annotated(
    path: Path,
    size: tuple[int, int],
    objects: Sequence[tuple[Sequence[float], int, bool, float | None]],
    counts: Counter[str],
    source: str,
) -> AnnotatedImage:
    """Check the objects of an image: (box, label, ignored, area or None for the box's own).

    A box that reaches beyond the image is clipped, and left out if nothing of it remains; `counts`
    tells how many. What is no finite number, an area below 0 and corners in the wrong order are a `DataError`
    that names `source`.
    """
    for box, *_, area in objects:
        for value in box:
            number(value, f"{source}: a coordinate of the box {reprlib.repr(list(box))}")
        if area is not None:
            number(area, f"{source}: the area of the box {reprlib.repr(list(box))}", low=0, high=LARGEST_AREA)
    boxes = np.array([box for box, *_ in objects], np.float64).reshape(-1, 4)
    if (boxes[:, 2:] < boxes[:, :2]).any():
        wrong = boxes[(boxes[:, 2:] < boxes[:, :2]).any(1)][0].tolist()
        raise DataError(f"{source}: box {wrong} (left, top, right, bottom) has its corners in the wrong order")
    inside = np.clip(boxes, 0, np.tile(size, 2)).astype(np.float32)
    kept = (inside[:, 2:] > inside[:, :2]).all(1)
    counts[CLIPPED] += int((kept & (inside != boxes.astype(np.float32)).any(1)).sum())
    counts[WITHOUT_AREA] += int((~kept).sum())
    counts[EMPTY] += not kept.any()
    own = np.prod(inside[:, 2:] - inside[:, :2], 1)
    areas = [mine if area is None else area for mine, (*_, area) in zip(own, objects, strict=True)]
    return AnnotatedImage(
        path,
        size,
        inside[kept],
        np.array([label for _, label, *_ in objects], np.int64)[kept],
        np.array([ignored for *_, ignored, _ in objects], np.bool_)[kept],
        np.array(areas, np.float32)[kept],
    )


def file_names(folder: Path) -> set[str]:
    """Names of the files in `folder`; a `DataError` when it is no folder."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read ({error.strerror}); expected the images of the data set there"
        ) from error
