"""Images: augmentation and normalisation of in-memory batches, and folders of image files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bibench.data.decoding import open_rgb
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError, require
from bibench.foundation.finding import data_tree, folders_in


@dataclass(frozen=True)
class Normalize:
    """(x - mean) / std per channel, of (B, H, W, C) uint8; gives float32 (B, C, H, W), channels last in memory."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor, random: torch.Generator | None = None) -> Tensor:
        scaled = (images.float() - torch.tensor(self.mean)) / torch.tensor(self.std)
        return scaled.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class CropFlip:
    """Zero-pad, crop back at a random place, mirror half of the images; then `normalize`."""

    normalize: Normalize
    padding: int = 4
    flip: bool = True

    def __call__(self, images: Tensor, random: torch.Generator) -> Tensor:
        n, height, width, _ = images.shape
        pad = self.padding
        padded = F.pad(images, (0, 0, pad, pad, pad, pad))
        top = torch.randint(0, 2 * pad + 1, (n, 1), generator=random)
        left = torch.randint(0, 2 * pad + 1, (n, 1), generator=random)
        rows = top + torch.arange(height)  # (B, H)
        columns = left + torch.arange(width)
        if self.flip:
            mirrored = torch.rand(n, 1, generator=random) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        crops = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
        return self.normalize(crops)


def check_labels(targets: Tensor, num_classes: int, source: str) -> None:
    """Raise `DataError` when a label lies outside 0 .. num_classes - 1."""
    if len(targets) == 0:
        raise DataError(f"{source}: no examples found")
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"{source}: labels range from {low} to {high}, expected 0 to {num_classes - 1}")


class ImageFolder:
    """Images in one folder per class, read when asked for.

    Args:
        root: folder whose subfolders are the classes, in sorted order.
        transform: function of a PIL image (RGB) to a tensor, or to what else is wanted of it.
    """

    def __init__(self, root: Path, transform: Callable[[Any], Any], num_classes: int) -> None:
        require("torchvision", extra="bench", purpose="reading image folders")
        if not root.is_dir():
            raise DataError(f"{root} is missing; expected one subfolder per class there")
        self.root, self.classes = root, [folder.name for folder in folders_in(root)]
        if not self.classes:
            raise DataError(f"{root}: Couldn't find any class folder in {root}.")
        if len(self.classes) != num_classes:
            raise DataError(
                f"{root} has {len(self.classes)} class folders, expected {num_classes}; "
                "is the download complete, and are the files sorted into folders?"
            )
        found = {name: _images(root / name) for name in self.classes}
        if empty := [name for name, images in found.items() if not images]:
            raise DataError(f"{root}: Found no valid file for the classes {', '.join(empty)}. Unpack the data again")
        self.samples = [(str(path), label) for label, images in enumerate(found.values()) for path in images]
        self._transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def files(self) -> tuple[str, ...]:
        """Of each image, relative to `root`."""
        return tuple(Path(path).relative_to(self.root).as_posix() for path, _ in self.samples)

    def __call__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        image = open_rgb(Path(path))
        return self._transform(image), label

    def checksum(self) -> str:
        """Over the relative paths and sizes of all files (contents would take hours for ImageNet)."""
        sizes = (Path(path).stat().st_size for path, _ in self.samples)
        return sha256("".join(f"{file} {size}\n" for file, size in zip(self.files, sizes, strict=True)).encode())


def _images(folder: Path) -> list[Path]:
    """The images below the folder of a class, in the order of torchvision's reader, which passes by closed folders."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    files = (file for file in data_tree(folder).files if file.name.lower().endswith(IMG_EXTENSIONS))
    return sorted(files, key=lambda file: (str(file.parent), file.name))


class FolderBytes:
    """Some consecutive images of a folder as bytes: ``images[first:last]`` is (last - first, H, W, 3) uint8.

    Args:
        folder: images whose transform gives (H, W, 3) uint8.
        size: (H, W) of them.
    """

    def __init__(self, folder: ImageFolder, size: tuple[int, int]) -> None:
        self.shape = (len(folder), *size, 3)
        self._folder = folder

    def __getitem__(self, wanted: slice) -> Tensor:
        return torch.stack([self._folder(index)[0] for index in range(*wanted.indices(self.shape[0]))])
