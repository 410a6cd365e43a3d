"""Judging point clouds: accuracies and the ShapeNet-part protocol against cases computed by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bibench.data.batches import Batch
from bibench.tasks.point_clouds import PartSegmentation, PointClassification, part_iou

CPU = torch.device("cpu")


class Served:
    """Batches as given."""

    def __init__(self, *batches: Batch) -> None:
        self.batches, self.examples = batches, sum(b.size for b in batches)

    def epoch(self, epoch: int, start: int = 0) -> Any:
        return iter(self.batches)


class Says(nn.Module):
    """Answers with its input, which holds the logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def logits(answers: list[Any], classes: int) -> Tensor:
    """Logits (B, classes, ...) whose largest are the answers."""
    return torch.nn.functional.one_hot(torch.tensor(answers), classes).movedim(-1, 1).float()


class Three(PointClassification):
    num_classes = 3


def test_accuracy_over_clouds_and_over_classes() -> None:
    judged = Three().evaluate(
        Says(),
        Served(
            Batch((logits([0, 0, 0], 3),), torch.tensor([0, 0, 0])),
            Batch((logits([0, 2], 3),), torch.tensor([2, 2])),
        ),
        CPU,
    )
    assert judged.metrics["accuracy"] == pytest.approx(4 / 5)
    assert judged.metrics["class_accuracy"] == pytest.approx((1 + 1 / 2) / 2)  # class 1 does not occur
    assert judged.examples == 5
    assert judged.commonest_answer == pytest.approx(4 / 5)


# -- parts -------------------------------------------------------------------------------------------------


def test_iou_of_a_shape_by_hand() -> None:
    own = torch.tensor([[True, True, True, False]] * 3)
    target = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 2, -1]])
    predicted = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 2], [0, 1, 2, 0]])
    # 1: part 0: 1/2, part 1: 2/3, part 2 occurs nowhere: 1
    # 2: part 0: 3/4, part 1: 1, part 2: 0/1
    # 3: all right; the last point does not count
    expected = torch.tensor([(1 / 2 + 2 / 3 + 1) / 3, (3 / 4 + 1 + 0) / 3, 1.0])
    torch.testing.assert_close(part_iou(predicted, target, own), expected)


class Furniture(PartSegmentation):
    categories = {"table": (0, 1), "chair": (2, 3, 4)}
    num_classes = 5


def test_the_protocol_of_shapenet() -> None:
    table, chair = [0, 0, 1, 1], [2, 2, 3, -1]
    answers = logits([table, [0, 1, 1, 1], [2, 2, 3, 0]], 5)
    answers[0, 4] = 2.0  # says a chair's part everywhere, but among a table's parts it is right
    batch = Batch((answers,), torch.tensor([table, table, chair]))
    judged = Furniture().evaluate(Says(), Served(batch), CPU)
    table_iou = (1 + (1 / 2 + 2 / 3) / 2) / 2
    assert judged.metrics["miou_table"] == pytest.approx(table_iou)
    assert judged.metrics["miou_chair"] == pytest.approx(1.0)  # its third part occurs nowhere
    assert judged.metrics["category_miou"] == pytest.approx((table_iou + 1) / 2)
    assert judged.metrics["instance_miou"] == pytest.approx((2 * table_iou + 1) / 3)
    assert judged.metrics["accuracy"] == pytest.approx((0 + 3 + 3) / 11)  # among all parts, fillers left out
    assert judged.examples == 3
    assert judged.commonest_answer == pytest.approx(4 / 11)


def test_perfect_and_worst_predictions() -> None:
    target = torch.tensor([[0, 1], [1, 0]])
    for answer, value in ((target, 1.0), (1 - target, 0.0)):
        batch = Batch((logits(answer.tolist(), 5),), target)
        judged = Furniture().evaluate(Says(), Served(batch), CPU)
        assert judged.metrics["instance_miou"] == value
        assert judged.metrics["category_miou"] == value
        assert "miou_chair" not in judged.metrics  # none was judged


def test_batches_do_not_matter() -> None:
    answers, targets = torch.randn(6, 5, 8), torch.randint(0, 2, (6, 8))
    targets[3:] += 2
    together = Furniture().evaluate(Says(), Served(Batch((answers,), targets)), CPU)
    apart = Furniture().evaluate(Says(), Served(*(Batch((a[None],), t[None]) for a, t in zip(answers, targets))), CPU)
    assert together.metrics == pytest.approx(apart.metrics)
    assert together.examples == apart.examples


def test_fillers_do_not_enter_the_loss() -> None:
    task = Furniture()
    answers, targets = torch.randn(2, 5, 4), torch.tensor([[0, 1, 1, -1], [2, 3, -1, -1]])
    changed = answers.clone()
    changed[targets[:, None].expand(-1, 5, -1) < 0] += 3
    batch = Batch((answers,), targets)
    assert task.loss(answers, batch) == task.loss(changed, batch)
    picked = torch.log_softmax(answers, 1).gather(1, targets.clamp_min(0)[:, None])[:, 0]
    assert task.loss(answers, batch).item() == pytest.approx(-picked[targets >= 0].mean().item())
