"""What all image classification tasks share: cross entropy, accuracy, in-memory batches."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.data.batches import Batch, Batches, TensorBatches
from bibench.data.corruptions.official import Official
from bibench.data.images import CropFlip, Normalize, check_labels
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import UnsupportedError
from bibench.tasks.base import Evaluation, Task
from bibench.tasks.classification import top1


class Images(Protocol):
    """(N, H, W, 3) bytes, read when some are asked for: a tensor, or files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, 3)."""

    def __getitem__(self, wanted: slice, /) -> Tensor:
        """Consecutive images."""


class RawImages(NamedTuple):
    """A test split as bytes.

    Args:
        labels: (N,).
        files: of each image, relative to the folder of the split; empty where images have no files.
    """

    images: Images
    labels: Tensor
    files: tuple[str, ...] = ()


class ImageClassification(Task):
    """Top-1 accuracy (Eq. 33) of single-label images of one size."""

    modality = "image"
    num_classes: ClassVar[int]
    image_shape: ClassVar[tuple[int, int, int]]
    channels_last = True
    corrupted: ClassVar[Official | None] = None
    """The published corrupted test set, if there is one."""

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": self.num_classes, "input_shape": self.image_shape}

    def example_inputs(self) -> Tensor:
        return torch.zeros(2, *self.image_shape)

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Cross entropy of logits (B, classes), a scalar (`torch.nn.functional.cross_entropy`)."""
        return F.cross_entropy(outputs, batch.targets)

    def test_images(self) -> RawImages:
        """The test split as it is fed but for `to_inputs`, to be corrupted."""
        raise UnsupportedError(f"task {self.name!r} does not serve its test images as bytes (test_images)")

    def to_inputs(self) -> Normalize:
        """Bytes to what the model is called with."""
        raise NotImplementedError

    def evaluate(self, model: nn.Module, batches: Batches, device: torch.device) -> Evaluation:
        """Top-1 accuracy (Eq. 33) and mean cross entropy."""
        return top1(model, batches, device, self.num_classes)


class InMemoryImages(ImageClassification):
    """Images that fit in memory: `arrays` gives each split as ((N, H, W, C) uint8, (N,) labels)."""

    normalize: ClassVar[Normalize]
    flip: ClassVar[bool] = True

    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        """All images and labels of a split."""
        raise NotImplementedError

    @cached_property
    def _splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        splits = {name: self.arrays(name) for name in self.splits()}
        for name, (_, targets) in splits.items():
            check_labels(targets, self.num_classes, f"{self.name}, {name} split")
        return splits

    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Batches:
        self.require_split(split)
        images, targets = self._splits[split]
        transform = self.normalize if seed is None else CropFlip(self.normalize, flip=self.flip)
        return TensorBatches(images, targets, batch_size=batch_size, transform=transform, seed=seed)

    def test_images(self) -> RawImages:
        return RawImages(*self._splits["test"])

    def to_inputs(self) -> Normalize:
        return self.normalize

    def checksum(self) -> str:
        arrays = (t.numpy().tobytes() for pair in self._splits.values() for t in pair)
        return sha256(*arrays)
