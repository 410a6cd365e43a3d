"""Average precision: cases counted by hand, the two definitions against each other, both COCO libraries."""

import numpy as np
import pytest
import torch

from bibench.tasks.average_precision import _coco, coco_scores, voc_average_precision, voc_scores

Image = dict[str, torch.Tensor]


def truth(*objects: tuple, ignored: tuple = ()) -> Image:
    """An image with objects (label, x1, y1, x2, y2); those at the indices `ignored` do not count."""
    boxes = torch.tensor([o[1:] for o in objects], dtype=torch.float32).reshape(-1, 4)
    mask = torch.zeros(len(objects), dtype=torch.bool)
    mask[list(ignored)] = True
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return {"boxes": boxes, "labels": torch.tensor([o[0] for o in objects]).long(), "ignored": mask, "areas": areas}


def found(*detections: tuple) -> Image:
    """Detections (score, label, x1, y1, x2, y2)."""
    return {
        "scores": torch.tensor([d[0] for d in detections], dtype=torch.float32),
        "labels": torch.tensor([d[1] for d in detections]).long(),
        "boxes": torch.tensor([d[2:] for d in detections], dtype=torch.float32).reshape(-1, 4),
    }


A, B, FAR = (0, 0, 10, 10), (20, 20, 40, 40), (70, 70, 90, 90)


def precision(detections: list[Image], truths: list[Image], classes: int = 1) -> list[float]:
    return voc_average_precision(detections, truths, classes).tolist()


def test_perfect_and_worst() -> None:
    truths = [truth((0, *A), (1, *B)), truth((1, *FAR))]
    perfect = [found((0.9, 0, *A), (0.8, 1, *B)), found((0.7, 1, *FAR))]
    assert voc_scores(perfect, truths, 2) == {"map": 1.0}
    assert coco_scores(perfect, truths, 2)["map"] == 1.0
    nothing = [found(), found()]
    assert voc_scores(nothing, truths, 2) == {"map": 0.0}
    assert coco_scores(nothing, truths, 2)["map"] == 0.0
    swapped = [found((0.9, 1, *A), (0.8, 0, *B)), found((0.7, 0, *FAR))]
    assert voc_scores(swapped, truths, 2) == {"map": 0.0}


def test_three_of_four_objects_with_two_mistakes() -> None:
    """By score: right, wrong, right, wrong, right. Precisions at recalls 1/4, 2/4, 3/4: 1, 2/3, 3/5.

    Of the eleven points 0, .1, .2 read 1, .3, .4, .5 read 2/3, .6, .7 read 3/5 and .8, .9, 1 read 0.
    """
    boxes = [(10 * i, 0, 10 * i + 8, 8) for i in range(4)]
    truths = [truth(*((0, *box) for box in boxes))]
    hits = iter(boxes)
    detections = [found(*((0.9 - 0.1 * i, 0, *(next(hits) if i % 2 == 0 else FAR)) for i in range(5)))]
    assert precision(detections, truths) == [pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11)]


def test_recall_points_are_reached_exactly() -> None:
    """3 of 10 objects reach the recall 0.3, which in floating point is below 3 · 0.1: four points read 1."""
    boxes = [(10 * i, 0, 10 * i + 8, 8) for i in range(10)]
    detections = [found(*((0.9, 0, *box) for box in boxes[:3]))]
    assert precision(detections, [truth(*((0, *box) for box in boxes))]) == [pytest.approx(4 / 11)]


def test_a_second_detection_of_an_object_is_wrong() -> None:
    truths = [truth((0, *A), (0, *FAR))]
    detections = [found((0.9, 0, *A), (0.8, 0, 0, 0, 10, 9), (0.7, 0, *FAR))]
    assert precision(detections, truths) == [pytest.approx((6 * 1 + 5 * 2 / 3) / 11)]


def test_a_detection_belongs_to_its_nearest_object_even_if_that_is_taken() -> None:
    """COCO would give the second detection to the other object, which it overlaps by more than a half."""
    truths = [truth((0, 0, 0, 10, 10), (0, 0, 2, 10, 12))]
    detections = [found((0.9, 0, 0, 0, 10, 10), (0.8, 0, 0, 0.5, 10, 10.5))]
    assert precision(detections, truths) == [pytest.approx(6 / 11)]
    assert coco_scores(detections, truths, 1)["map_50"] == 1.0


def test_difficult_objects_neither_help_nor_hurt() -> None:
    truths = [truth((0, *A), (0, *B), ignored=(1,))]
    assert precision([found((0.9, 0, *B), (0.8, 0, *B), (0.7, 0, *A))], truths) == [1.0]
    assert precision([found((0.7, 0, *A))], truths) == [1.0]
    assert precision([found((0.9, 0, *B))], truths) == [0.0]
    assert coco_scores([found((0.9, 0, *B), (0.8, 0, *B), (0.7, 0, *A))], truths, 1)["map"] == 1.0


def test_overlap_of_a_half_is_enough_and_counts_pixels_as_the_devkit() -> None:
    """The devkit's corners 1..10 and 1..5 cover 10 and 5 pixels; as edges that is exactly one half."""
    truths = [truth((0, 0, 0, 10, 10))]
    assert precision([found((0.9, 0, 0, 0, 10, 5))], truths) == [1.0]
    assert precision([found((0.9, 0, 0, 0, 10, 4.99))], truths) == [0.0]


def test_classes_without_objects_do_not_count() -> None:
    detections, truths = [found((0.9, 0, *A), (0.9, 2, *A))], [truth((0, *A), (1, *B), ignored=(1,))]
    values = voc_average_precision(detections, truths, 3)
    assert values[0] == 1.0
    assert np.isnan(values[1:]).all()
    assert voc_scores(detections, truths, 3) == {"map": 1.0}


def test_coco_averages_over_overlaps() -> None:
    """A box of overlap 0.7: right at 0.5, 0.55, 0.6, 0.65 and 0.7, five of ten thresholds."""
    truths = [truth((0, 0, 0, 100, 100))]
    scores = coco_scores([found((0.9, 0, 0, 0, 100, 70.5))], truths, 1)
    assert scores["map"] == pytest.approx(0.5)
    assert (scores["map_50"], scores["map_75"]) == (1.0, 0.0)
    assert scores["map_large"] == pytest.approx(0.5)
    assert "map_small" not in scores


def random_scenes(images: int, classes: int, seed: int) -> tuple[list[Image], list[Image]]:
    """Sparse objects, each detected nearby or not, and stray detections."""
    random = np.random.RandomState(seed)
    detections, truths = [], []
    for _ in range(images):
        corners = random.permutation(16)[: random.randint(0, 4)]
        objects, seen = [], []
        for corner in corners:
            x, y = corner % 4 * 100, corner // 4 * 100
            label, size = random.randint(classes), random.randint(20, 80)
            objects.append((label, x, y, x + size, y + size))
            if random.rand() < 0.7:
                dx, dy = random.randint(-15, 16, 2)
                seen.append((random.rand(), label, x + dx, y + dy, x + dx + size, y + dy + size))
        for _ in range(random.randint(3)):
            x, y = random.randint(0, 350, 2)
            seen.append((random.rand(), random.randint(classes), x, y, x + 40, y + 40))
        detections.append(found(*seen))
        truths.append(truth(*objects))
    return detections, truths


@pytest.mark.parametrize("seed", range(3))
def test_voc_agrees_with_coco_at_one_overlap_and_eleven_points(seed: int) -> None:
    """Where objects lie apart, the two ways to assign detections are the same."""
    from torchmetrics.detection import MeanAveragePrecision

    detections, truths = random_scenes(60, 3, seed)
    metric = MeanAveragePrecision(iou_thresholds=[0.5], rec_thresholds=[k / 10 for k in range(11)], class_metrics=True)
    metric.update(detections, truths)
    theirs = metric.compute()["map_per_class"].numpy()
    ours = voc_average_precision(detections, truths, 3)
    assert 0.2 < ours.mean() < 0.9
    np.testing.assert_allclose(ours, theirs, atol=0.02)  # at recalls that rounding decides, COCO's may differ


@pytest.mark.parametrize("seed", range(3))
def test_the_coco_libraries_agree(seed: int) -> None:
    detections, truths = random_scenes(40, 4, seed)
    truths[0] = truth((0, *A), (1, *B), ignored=(1,))
    ours, theirs = (_coco(detections, truths, name) for name in ("faster_coco_eval", "pycocotools"))
    for name in ("map", "map_50", "map_75", "map_small", "map_medium"):
        assert float(ours[name]) == pytest.approx(float(theirs[name]), abs=1e-6)
