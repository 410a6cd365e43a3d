"""What all tasks on point clouds share: sampling to a number of points, classification, part segmentation."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.data.batches import Batch, Batches
from bibench.data.clouds import (
    IGNORED,
    CloudBatches,
    Clouds,
    Transform,
    normalized_and_raw,
    normalized_with_normals,
)
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError
from bibench.tasks.base import Evaluation, Task


class PointClouds(Task):
    """Clouds of `points` points with 6 channels.

    Training draws the points anew in every epoch, by the seed. Otherwise they are the first ones in
    the stored order, which no seed changes.
    """

    modality = "point cloud"
    num_classes: ClassVar[int]
    points: ClassVar[int]
    channels: ClassVar[int] = 6
    labels_points: ClassVar[bool] = False

    def clouds(self, split: str) -> Clouds:
        """All clouds of a split."""
        raise NotImplementedError

    def transform(self, augment: bool) -> Transform:
        """From sampled points to the model's input."""
        raise NotImplementedError

    @cached_property
    def _splits(self) -> dict[str, Clouds]:
        splits = {name: self.clouds(name) for name in self.splits()}
        for name, clouds in splits.items():
            if len(clouds) == 0:
                raise DataError(f"task {self.name!r}: the {name} split has no clouds; expected at least one")
        return splits

    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Batches:
        self.require_split(split)
        return CloudBatches(
            self._splits[split],
            count=self.points,
            batch_size=batch_size,
            seed=seed,
            transform=self.transform(seed is not None),
            parts=self.labels_points,
        )

    def checksum(self) -> str:
        return sha256(*(clouds.checksum().encode() for clouds in self._splits.values()))

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, "input_shape": (self.channels, self.points)}

    def example_inputs(self) -> Tensor:
        return torch.zeros(2, self.channels, self.points)


class PointClassification(PointClouds):
    """Accuracy over clouds (``accuracy``, Eq. 33), and its mean over classes (``class_accuracy``)."""

    def transform(self, augment: bool) -> Transform:
        return normalized_and_raw

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross entropy of logits (B, classes), a scalar (`torch.nn.functional.cross_entropy`)."""
        return F.cross_entropy(outputs, batch.targets)

    def evaluate(self, model: nn.Module, batches: Batches, device: torch.device) -> Evaluation:
        """Accuracy (Eq. 33), and its mean over classes, in [0, 1]."""
        confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64, device=device)
        total_loss = torch.zeros((), device=device)
        for batch in batches.epoch(0):
            targets = batch.targets.to(device)
            logits = model(*(x.to(device) for x in batch.inputs))
            total_loss += F.cross_entropy(logits, targets, reduction="sum")
            ones = torch.ones_like(targets)
            confusion.index_put_((targets, logits.argmax(1)), ones, accumulate=True)
        examples = int(confusion.sum())
        answers, truths = confusion.sum(0), confusion.sum(1)
        per_class = confusion.diagonal()[truths > 0] / truths[truths > 0]
        return Evaluation(
            metrics={
                "accuracy": int(confusion.diagonal().sum()) / examples,
                "class_accuracy": float(per_class.mean()),
                "loss": float(total_loss) / examples,
            },
            examples=examples,
            commonest_answer=float(answers.max()) / examples,
        )


class PartSegmentation(PointClouds):
    """Parts of objects, after the protocol of ShapeNet-part (Yi et al., 2016; Qi et al., 2017).

    The category of a shape is known: a point's part is the likeliest of its category's own parts. The
    IoU of a shape is the mean over all parts of its category, and a part that neither the shape nor the
    prediction has counts 1. ``instance_miou`` is the mean over shapes, ``category_miou`` the mean over
    categories of the mean over their shapes, ``miou_<category>`` each of those. ``accuracy`` is the
    share of points whose part is found among the parts of all categories, with no category given.
    """

    metric = "instance_miou"
    labels_points = True
    categories: ClassVar[dict[str, tuple[int, ...]]]
    """Numbers of the parts of each category, together 0 .. num_classes - 1."""

    def transform(self, augment: bool) -> Transform:
        return normalized_with_normals

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross entropy of logits (B, parts, points), a scalar (`torch.nn.functional.cross_entropy`)."""
        return F.cross_entropy(outputs, batch.targets, ignore_index=IGNORED)

    def evaluate(self, model: nn.Module, batches: Batches, device: torch.device) -> Evaluation:
        """Mean IoU by shape and by category (Yi et al., 2016; Qi et al., 2017), and accuracy, in [0, 1]."""
        membership = self.membership().to(device)
        category_of_part = membership.int().argmax(0)
        iou_sums = torch.zeros(len(membership), device=device)
        shapes = torch.zeros(len(membership), device=device)
        answers = torch.zeros(self.num_classes, dtype=torch.int64, device=device)
        sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, right points, points
        for batch in batches.epoch(0):
            targets = batch.targets.to(device)
            logits = model(*(x.to(device) for x in batch.inputs))
            category = category_of_part[targets[:, 0]]  # the first point of a cloud is never a filler
            own = membership[category]
            predicted = logits.masked_fill(~own[:, :, None], -torch.inf).argmax(1)
            iou = part_iou(predicted, targets, own)
            iou_sums.index_add_(0, category, iou)
            shapes.index_add_(0, category, torch.ones_like(iou))
            valid, free = targets != IGNORED, logits.argmax(1)
            answers += torch.bincount(free[valid], minlength=self.num_classes)
            loss = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
            sums += torch.stack([loss, ((free == targets) & valid).sum(), valid.sum()]).to(sums.dtype)
        present = shapes > 0
        by_category = iou_sums[present] / shapes[present]
        loss_sum, right, points = sums.tolist()
        metrics = {
            "instance_miou": float(iou_sums.sum() / shapes.sum()),
            "category_miou": float(by_category.mean()),
            "accuracy": right / points,
            "loss": loss_sum / points,
        }
        if len(self.categories) > 1:
            names = [name for name, there in zip(self.categories, present.tolist(), strict=True) if there]
            metrics |= {f"miou_{name}": value for name, value in zip(names, by_category.tolist(), strict=True)}
        return Evaluation(metrics, examples=int(shapes.sum()), commonest_answer=float(answers.max()) / points)

    def membership(self) -> Tensor:
        """(categories, parts) bool: which parts belong to which category."""
        table = torch.zeros(len(self.categories), self.num_classes, dtype=torch.bool)
        for row, parts in enumerate(self.categories.values()):
            table[row, list(parts)] = True
        return table


def part_iou(predicted: Tensor, targets: Tensor, own: Tensor) -> Tensor:
    """The IoU of each shape (B,), averaged over its own parts.

    Args:
        predicted, targets: part of each point (B, N); points whose target is -1 do not count.
        own: (B, parts) bool: the parts of each shape's category. One that occurs neither in the
            prediction nor in the target has IoU 1.
    """
    parts = own.shape[1]
    valid = targets != IGNORED
    said = F.one_hot(predicted, parts).bool() & valid[..., None]
    true = F.one_hot(targets.clamp_min(0), parts).bool() & valid[..., None]
    both, either = (said & true).sum(1), (said | true).sum(1)
    iou = torch.where(either == 0, 1.0, both / either.clamp_min(1))
    return (iou * own).sum(1) / own.sum(1)
