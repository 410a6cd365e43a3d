"""Mean average precision of detections, as VOC 2007 and as COCO define it.

Detections and truths come as one dictionary per image: ``boxes`` (N, 4) edges in pixels, ``labels`` (N,)
and ``scores`` (N,) of what was detected; ``boxes``, ``labels``, ``ignored`` and ``areas`` of what is there.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bibench.foundation.errors import require

Boxes = Sequence[Mapping[str, Tensor]]

RECALL_POINTS = 10
"""Precision is read at recalls 0, 1/10, ..., 1: eleven points."""


def voc_scores(detections: Boxes, truths: Boxes, num_classes: int) -> dict[str, float]:
    """VOC 2007's metric: the mean over classes of `voc_average_precision` (Eq. 34, 36-37)."""
    precisions = voc_average_precision(detections, truths, num_classes)
    present = precisions[~np.isnan(precisions)]
    return {"map": float(present.mean()) if len(present) else 0.0}


def voc_average_precision(
    detections: Boxes, truths: Boxes, num_classes: int, overlap: float = 0.5
) -> NDArray[np.float64]:
    """Average precision of each class by the rules of the VOC 2007 devkit.

    In the order of their scores, each detection is given to the object of its class with which it
    overlaps most. It is right if the overlap is at least `overlap` and the object was not yet found; a
    second detection of an object is wrong, one of an ignored (difficult) object does not count. The
    average is that of the eleven interpolated precisions.

    Overlaps are of edges. The devkit's boxes, whose corners are pixels that belong to them, give the
    same overlaps when read as edges (`bibench.data.voc`).

    Returns:
        (num_classes,) in [0, 1]; NaN for a class with no object that counts.
    """
    return np.array([_class_precision(detections, truths, label, overlap) for label in range(num_classes)])


def _class_precision(detections: Boxes, truths: Boxes, label: int, overlap: float) -> float:
    scores, right, counted = [], [], []
    positives = 0
    for found, truth in zip(detections, truths, strict=True):
        of_class = truth["labels"] == label
        ignored = truth["ignored"][of_class].numpy()
        positives += int((~ignored).sum())
        chosen = found["labels"] == label
        falling = torch.argsort(found["scores"][chosen], descending=True, stable=True)
        hit, counts = _assign(found["boxes"][chosen][falling], truth["boxes"][of_class], ignored, overlap)
        scores.append(found["scores"][chosen][falling].numpy())
        right.append(hit)
        counted.append(counts)
    if positives == 0:
        return math.nan
    order = np.argsort(-np.concatenate(scores), kind="stable")
    used = order[np.concatenate(counted)[order]]
    return _eleven_points(np.concatenate(right)[used], positives)


def _assign(
    boxes: Tensor, objects: Tensor, ignored: NDArray[np.bool_], overlap: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For one class in one image and boxes by falling score: which are right, and which count at all."""
    right, counts = np.zeros(len(boxes), np.bool_), np.ones(len(boxes), np.bool_)
    if len(boxes) == 0 or len(objects) == 0:
        return right, counts
    best, nearest = _overlaps(boxes, objects).max(1)
    seen = set()
    for index, (value, target) in enumerate(zip(best.tolist(), nearest.tolist(), strict=True)):
        if value < overlap:
            continue
        if ignored[target]:
            counts[index] = False
        elif target not in seen:
            right[index] = True
            seen.add(target)
    return right, counts


def _overlaps(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) intersections over unions, in float64."""
    a, b = a.double(), b.double()
    corners = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    common = corners.clamp(min=0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b)]
    return common / (areas[0][:, None] + areas[1] - common)


def _eleven_points(right: NDArray[np.bool_], positives: int) -> float:
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    # In integers: 3 of 10 objects reach the recall 0.3, which a quotient of floats may miss.
    reached = [precision[found * RECALL_POINTS >= k * positives] for k in range(RECALL_POINTS + 1)]
    return sum(float(p.max()) if len(p) else 0.0 for p in reached) / (RECALL_POINTS + 1)


def coco_scores(detections: Boxes, truths: Boxes, num_classes: int) -> dict[str, float]:
    """COCO's metrics (Eq. 34-35): ``map`` over overlaps 0.5, 0.55 ... 0.95; ``map_50`` and ``map_75`` at one;
    ``map_small``, ``map_medium``, ``map_large`` by the objects' areas, where there are any."""
    results = _coco(detections, truths, backend())
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
    values = {name: round(float(results[name]), 7) for name in names}
    # -1 stands for: no object of that kind
    return {name: max(value, 0.0) for name, value in values.items() if value >= 0 or name == "map"}


def backend() -> str:
    """The library behind torchmetrics' metric; both give the same numbers."""
    if importlib.util.find_spec("faster_coco_eval") is not None:
        return "faster_coco_eval"
    require("pycocotools", extra="bench", purpose="COCO's average precision")
    return "pycocotools"


def _coco(detections: Boxes, truths: Boxes, backend: str) -> dict[str, Any]:
    require("torchmetrics", extra="bench", purpose="COCO's average precision")
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(backend=backend)  # type: ignore[arg-type]
    metric.warn_on_many_detections = False
    metric.update(
        [{key: found[key] for key in ("boxes", "scores", "labels")} for found in detections],
        [
            {
                "boxes": truth["boxes"],
                "labels": truth["labels"],
                "iscrowd": truth["ignored"].long(),
                "area": truth["areas"],
            }
            for truth in truths
        ],
    )
    return metric.compute()
