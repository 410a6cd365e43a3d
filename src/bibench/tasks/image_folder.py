"""Image tasks whose files are read when needed: one folder per class, for each split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from bibench.data.batches import Batches, SampleBatches
from bibench.data.images import ImageFolder
from bibench.data.location import checksum
from bibench.errors import require
from bibench.tasks.image_classification import ImageClassification


class FolderImages(ImageClassification):
    """Random resized crop and flip in training; resize of the short side and centre crop otherwise."""

    resize: ClassVar[int]
    min_crop_area: ClassVar[float] = 0.08
    mean: ClassVar[tuple[float, float, float]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, float, float]] = (0.229, 0.224, 0.225)

    def folder(self, split: str) -> Path:
        """The folder of a split; its subfolders are the classes."""
        raise NotImplementedError

    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Batches:
        self.require_split(split)
        self.prepare()
        images = ImageFolder(self.folder(split), self._transform(seed is not None), self.num_classes)
        return SampleBatches(images, len(images), batch_size=batch_size, seed=seed, workers=self.workers)

    def checksum(self) -> str:
        self.prepare()
        folders = (ImageFolder(self.folder(s), self._transform(False), self.num_classes) for s in self.splits())
        return checksum(*(folder.checksum().encode() for folder in folders))

    def _transform(self, augment: bool) -> Callable[[Any], Tensor]:
        require("torchvision", extra="bench", purpose=f"task {self.name!r}")
        from torchvision.transforms import v2

        size = self.image_shape[1]
        if augment:
            geometry = [v2.RandomResizedCrop(size, (self.min_crop_area, 1.0)), v2.RandomHorizontalFlip()]
        else:
            geometry = [v2.Resize(self.resize), v2.CenterCrop(size)]
        return v2.Compose(
            [*geometry, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(self.mean, self.std)]
        )
