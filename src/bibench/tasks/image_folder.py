"""Image tasks whose files are read when needed: one folder per class, for each split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from bibench.data.batches import Batches, SampleBatches
from bibench.data.images import FolderBytes, ImageFolder, Normalize
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import require
from bibench.tasks.image_classification import ImageClassification, RawImages


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
        return sha256(*(folder.checksum().encode() for folder in folders))

    def test_images(self) -> RawImages:
        self.prepare()
        folder = ImageFolder(self.folder("test"), self._bytes(), self.num_classes)
        _, height, width = self.image_shape
        labels = torch.tensor([label for _, label in folder.samples])
        return RawImages(FolderBytes(folder, (height, width)), labels, folder.files)

    def to_inputs(self) -> Normalize:
        return Normalize(tuple(255 * m for m in self.mean), tuple(255 * s for s in self.std))

    def _bytes(self) -> Callable[[Any], Tensor]:
        from torchvision.transforms import v2

        geometry = [v2.Resize(self.resize), v2.CenterCrop(self.image_shape[1]), v2.PILToTensor()]
        return v2.Compose([*geometry, v2.Lambda(lambda image: image.permute(1, 2, 0))])

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
