"""What all object detection tasks share: losses of the detector, batches of lists, mean average precision."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bibench.data.annotations import Annotations
from bibench.data.batches import Batch, Batches, SampleBatches
from bibench.data.detection import DetectionSamples, augmentation, collate
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError, UnsupportedError
from bibench.models import create
from bibench.tasks.average_precision import Boxes
from bibench.tasks.base import Evaluation, Task


class Detection(Task):
    """Mean average precision of boxes.

    In training a detector takes (images, targets) and answers its losses by name; in evaluation it takes
    images and answers one dictionary each: ``boxes`` (N, 4), ``labels`` (N,) and ``scores`` (N,).
    Objects that are ignored (*difficult* in VOC, *crowd* in COCO) are not trained on, and neither are
    images without any other; `left_out` counts them. Evaluation sees every image.

    Class attributes:
        image_shape: (3, short side, long side) to which a detector scales images.
        model_shapes: the same of models that want another.
        augmentations: by model, a name of `bibench.data.detection.AUGMENTATIONS`; the default is ``plain``.
        mirror: whether a mirrored object is still of its class.
        evaluation_batch: the most images evaluated at once, since they are large.
    """

    modality = "detection"
    metric = "map"
    num_classes: ClassVar[int]
    image_shape: ClassVar[tuple[int, int, int]]
    model_shapes: ClassVar[dict[str, tuple[int, int, int]]] = {}
    augmentations: ClassVar[dict[str, str]] = {}
    mirror: ClassVar[bool] = True
    evaluation_batch: ClassVar[int] = 8
    _model_name: str = ""

    # -- what a subclass provides ------------------------------------------------------------------

    def annotations(self, split: str) -> Annotations:
        """The images of a split with their objects, as read."""
        raise NotImplementedError

    def scores(self, detections: Boxes, truths: Boxes) -> dict[str, float]:
        """Metrics, ``map`` among them, in [0, 1]."""
        raise NotImplementedError

    # -- data --------------------------------------------------------------------------------------

    @cached_property
    def _splits(self) -> dict[str, Annotations]:
        self.prepare()
        splits = {split: self.annotations(split) for split in self.splits()}
        for split, found in splits.items():
            if not found.for_training().images:  # without one there is nothing to train on, and no precision
                raise DataError(
                    f"task {self.name!r}, {split} split: no images with objects found among {len(found.images)}; "
                    "expected at least one object that is not ignored"
                )
        notes = [f"{n} {what}" for what, n in sum((a.counts for a in splits.values()), Counter()).items()]
        if notes or self.left_out(splits["train"]):
            notes.append(f"{self.left_out(splits['train'])} images without an object to train on left out of training")
            warnings.warn(f"task {self.name!r}: {'; '.join(notes)}", stacklevel=2)
        return splits

    @staticmethod
    def left_out(train: Annotations) -> int:
        """How many images training leaves out because nothing in them can be trained on."""
        return len(train.images) - len(train.for_training().images)

    def for_model(self, name: str) -> Detection:
        view = copy.copy(self)
        view._model_name = name
        return view

    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Batches:
        self.require_split(split)
        annotations, transform = self._splits[split], None
        if seed is None:
            batch_size = min(batch_size, self.evaluation_batch)
        else:
            annotations = annotations.for_training()
            name = self.augmentations.get(self._model_name, "plain")
            transform = augmentation(name, self.shape[1:], mirror=self.mirror)
        samples = DetectionSamples(annotations, transform)
        return SampleBatches(
            samples, len(samples), batch_size=batch_size, seed=seed, workers=self.workers, collate=collate
        )

    def checksum(self) -> str:
        return sha256(*(DetectionSamples(self._splits[s]).checksum().encode() for s in self.splits()))

    # -- models ------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, short side, long side) of the images for the model that this task is seen by."""
        return self.model_shapes.get(self._model_name, self.image_shape)

    def model(self, name: str, options: dict[str, Any]) -> nn.Module:
        return create(name, **self.for_model(name).model_arguments(), **options)

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, "input_shape": self.shape}

    def example_inputs(self) -> Tensor:
        return torch.zeros(1, *self.image_shape)

    # -- training and judging ----------------------------------------------------------------------

    def forward(self, model: nn.Module, batch: Batch) -> Any:
        if not model.training:
            raise UnsupportedError(
                f"task {self.name!r}: a detector in evaluation answers boxes, from which nothing can be distilled; "
                "use a recipe with distillation=none"
            )
        return model(*batch.inputs, batch.targets)

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> Tensor:
        """Sum of the losses that the detector gives in training, a scalar (Ren et al., 2015; Liu et al., 2016)."""
        return torch.stack(list(outputs.values())).sum()

    def trial_loss(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        (images,) = inputs
        height, width = images.shape[-2:]
        box = torch.tensor([[width / 4, height / 4, width / 2, height / 2]], device=images.device)
        target = {"boxes": box, "labels": torch.zeros(1, dtype=torch.int64, device=images.device)}
        batch = Batch((list(images),), [target] * len(images))
        return self.loss(self.forward(model, batch), batch)

    def evaluate(self, model: nn.Module, batches: Batches, device: torch.device) -> Evaluation:
        """Mean average precision (Eq. 34-37), in [0, 1]; of VOC at overlap 0.5, of COCO over ten overlaps as well."""
        detections: list[dict[str, Tensor]] = []
        truths: list[dict[str, Tensor]] = []
        for batch in batches.epoch(0):
            found = model([image.to(device) for image in batch.inputs[0]])
            detections += [{name: values.float().cpu() for name, values in item.items()} for item in found]
            truths += batch.targets
        for item in detections:
            item["labels"] = item["labels"].long()
        return Evaluation(
            metrics=self.scores(detections, truths),
            examples=len(truths),
            commonest_answer=_commonest(detections),
        )


def _commonest(detections: Boxes) -> float:
    """The largest share of images whose surest detection is of one class; "nothing" is an answer too."""
    answers = Counter(int(d["labels"][d["scores"].argmax()]) if len(d["scores"]) else None for d in detections)
    return answers.most_common(1)[0][1] / len(detections)
