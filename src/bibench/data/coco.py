"""COCO: one JSON file with the images, categories and objects of a split (Lin et al., ECCV 2014).

https://cocodataset.org/#format-data. pycocotools keeps the last of several images with the same id
without a word, so the file is read here.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, TypedDict

from bibench.data.annotations import LARGEST_AREA, Annotations, annotated, file_names
from bibench.errors import DataError
from bibench.files import unreadable
from bibench.numbers import number
from bibench.typed_json import problem

LARGEST_SIDE = 1_000_000
"""Pixels; no image that could be read has more."""


class _Named(TypedDict, total=False):
    """What of an image, annotation or category names another one, or the thing itself."""

    image_id: int
    category_id: int
    name: str


def read_coco(file: Path, folder: Path, num_classes: int) -> Annotations:
    """The images of an annotation file in the order of their ids, those without objects included.

    Labels count the categories in the order of their ids, which have gaps: COCO's 80 ids lie between
    1 and 90.

    Args:
        file: as in ``annotations/instances_train2017.json``.
        folder: where the images lie.

    Raises:
        DataError: naming the file, for damaged JSON, ids that occur twice or refer to nothing, another
            number of categories, an image that is missing, an impossible box.
    """
    data = _load(file)
    labels, classes = _categories(data["categories"], num_classes, file)
    images = {image["id"]: image for image in _with_ids(data["images"], file, "image", "file_name", "width", "height")}
    present = file_names(folder)
    for image in images.values():
        name = image["file_name"]
        # A plain name, or it would lead out of the folder.
        if not isinstance(name, str) or Path(name).name != name:
            raise DataError(f"{file}: image {image['id']} has the file name {name!r}, expected a plain one")
        if name not in present:
            raise DataError(f"{folder / name} is missing; {file.name} lists it. Unpack the images again")
    objects = defaultdict(list)
    for item in _with_ids(data["annotations"], file, "annotation", "image_id", "category_id", "bbox"):
        objects[item["image_id"]].append(_object(item, images, labels, file))
    counts: Counter[str] = Counter()
    return Annotations(
        [
            annotated(folder / image["file_name"], _size(image, file), objects[key], counts, f"{file}, image {key}")
            for key, image in sorted(images.items())
        ],
        classes,
        counts,
    )


def _load(file: Path) -> dict[str, list[Any]]:
    try:
        data = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            unreadable(file, error) or f"{file} cannot be read ({error}); unpack the annotations again"
        ) from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{file} has no list {key!r}; expected COCO's object instances")
    if not data["images"]:
        raise DataError(f"{file} lists no image; unpack the annotations again")
    return data


def _with_ids(items: list[Any], file: Path, what: str, *keys: str) -> list[dict[str, Any]]:
    seen = set()
    for item in items:
        if not isinstance(item, dict) or any(key not in item for key in ("id", *keys)):
            raise DataError(f"{file}: an {what} lacks one of id, {', '.join(keys)}: {str(item)[:120]}")
        if type(item["id"]) is not int or item["id"] in seen:
            reason = "occurs twice" if type(item["id"]) is int else "must be an integer"
            raise DataError(f"{file}: {what} id {item['id']!r} {reason}; restore this file from the distribution")
        if wrong := problem(item, _Named):
            raise DataError(f"{file}: {what} {item['id']}: {wrong}; restore this file from the distribution")
        seen.add(item["id"])
    return items


def _categories(items: list[Any], num_classes: int, file: Path) -> tuple[dict[int, int], tuple[str, ...]]:
    found = {item["id"]: item["name"] for item in _with_ids(items, file, "category", "name")}
    if len(found) != num_classes:
        raise DataError(f"{file} has {len(found)} categories, expected {num_classes}")
    ids = sorted(found)
    return {key: label for label, key in enumerate(ids)}, tuple(found[key] for key in ids)


def _object(
    item: dict[str, Any], images: dict[int, Any], labels: dict[int, int], file: Path
) -> tuple[list[float], int, bool, float | None]:
    where = f"{file}: annotation {item['id']}"
    if item["image_id"] not in images:
        raise DataError(f"{where} belongs to image {item['image_id']!r}, which the file does not list")
    if item["category_id"] not in labels:
        raise DataError(f"{where} has the unknown category {item['category_id']!r}; known are {sorted(labels)}")
    box, crowd, area = item["bbox"], item.get("iscrowd", 0), item.get("area")
    numbers = [*box, *([] if area is None else [area])] if isinstance(box, list) else []
    if not isinstance(box, list) or len(box) != 4 or any(type(n) not in (int, float) for n in numbers):
        raise DataError(f"{where}: bbox must be [x, y, width, height] and area a number, got {box!r} and {area!r}")
    if type(crowd) is bool or crowd not in (0, 1):
        raise DataError(f"{where}: iscrowd must be 0 or 1, got {crowd!r}")
    sides = ("x", "y", "width", "height")
    x, y, width, height = (number(n, f"{where}: {name} of bbox") for name, n in zip(sides, box, strict=True))
    area = area if area is None else number(area, f"{where}: area", low=0, high=LARGEST_AREA)
    return [x, y, x + width, y + height], labels[item["category_id"]], crowd == 1, area


def _size(image: dict[str, Any], file: Path) -> tuple[int, int]:
    size = image["width"], image["height"]
    if any(type(n) is not int or not 1 <= n <= LARGEST_SIDE for n in size):
        raise DataError(f"{file}: image {image['id']} has the size {size[0]!r}×{size[1]!r}")
    return size
