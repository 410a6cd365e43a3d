"""CIFAR-10 (Krizhevsky, 2009): 60,000 colour images of 32×32 in 10 classes.

https://www.cs.toronto.edu/~kriz/cifar.html. The paper trains on all 50,000 training images and takes
the last epoch, so there is no validation split and nothing is ever chosen by test data.
"""

from __future__ import annotations

import tarfile
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bibench.data.corruptions.official import CIFAR_10_C
from bibench.data.images import Normalize
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT
from bibench.foundation.checksums import file_digest
from bibench.foundation.errors import DataError, require
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import task
from bibench.tasks.image_classification import InMemoryImages
from bibench.tasks.sensitivity import sensitivity_recipes


def _torchvision() -> Any:
    require("torchvision", extra="bench", purpose="task 'cifar10'")
    from torchvision.datasets import CIFAR10 as Reader

    return Reader


@task("cifar10")
class CIFAR10(InMemoryImages):
    """Accuracy on the 10,000 test images."""

    title = "CIFAR-10"
    source = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    licence = "no licence stated by its authors; for research"
    num_classes = 10
    image_shape = (3, 32, 32)
    train_examples = 50_000
    chance = 0.1
    models = ("resnet20", "resnet18", "resnet34", "vgg_small")
    corrupted = CIFAR_10_C
    normalize = Normalize((125.307, 122.961, 113.8575), (51.5865, 50.847, 51.255))
    recipes = {
        # Section 4 and the release's settings: Adam, cosine to 0, the same epochs for full precision.
        "paper": Recipe(
            epochs=400,
            batch_size=128,
            lr=1e-3,
            fp32=(("optimizer", "sgd"), ("lr", 0.1), ("weight_decay", 1e-4)),
        ),
        "quick": Recipe(
            epochs=10,
            batch_size=128,
            lr=1e-3,
            fp32=(("optimizer", "sgd"), ("lr", 0.1), ("weight_decay", 1e-4)),
        ),
        **sensitivity_recipes(epochs=200, batch_size=128),
    }

    def has_validation(self) -> bool:
        return False

    def missing(self) -> str:
        reader = _torchvision()
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to the folder of {reader.base_folder}"
        present = (self.data_root / reader.base_folder).is_dir() or (self.data_root / reader.filename).is_file()
        if present or self.download:
            return ""
        return (
            f"{self.data_root} has neither {reader.base_folder}/ nor {reader.filename}; "
            f"fetch {reader.url} there, or pass --download"
        )

    def layout(self) -> tuple[Expected, ...]:
        reader = _torchvision()
        archive = Expected(reader.filename, "the archive", checksum=f"md5:{reader.tgz_md5}")
        unpacked = tuple(
            Expected(f"{reader.base_folder}/{name}", what, checksum=f"md5:{md5}") for name, md5, what in _files(reader)
        )
        if self.data_root is None:
            return (*unpacked, replace(archive, required=False))
        return unpacked if (self.data_root / reader.base_folder).is_dir() else (archive,)

    def prepare(self) -> None:
        super().prepare()
        assert self.data_root is not None
        reader = _torchvision()
        folder = self.data_root / reader.base_folder
        if not folder.is_dir():
            if self.download:
                _download(reader, self.data_root)
            _unpack(self.data_root / reader.filename, reader.tgz_md5, folder)
        _check_files(folder, reader)

    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        self.prepare()
        reader = _torchvision()
        data = reader(str(self.data_root), train=split == "train")
        images = np.ascontiguousarray(data.data)  # the reader gives a view of (N, C, H, W)
        return torch.from_numpy(images), torch.tensor(data.targets)


def _files(reader: Any) -> list[tuple[str, str, str]]:
    """Name, published MD5 and content of every file of the data set."""
    return [
        *((name, md5, "10,000 training images") for name, md5 in reader.train_list),
        *((name, md5, "10,000 test images") for name, md5 in reader.test_list),
        (reader.meta["filename"], reader.meta["md5"], "names of the classes"),
    ]


def _check_files(folder: Path, reader: Any) -> None:
    # The batches are pickles: none is opened before its checksum shows it is the published file.
    for name, md5, _ in _files(reader):
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file} is missing; unpack {reader.filename} again")
        if (found := file_digest(file, "md5")) != md5:
            raise DataError(
                f"{file} is damaged or not the published file (MD5 {found}, expected {md5}); "
                f"unpack {reader.filename} again"
            )


def _download(reader: Any, root: Path) -> None:
    from torchvision.datasets.utils import download_url

    try:
        download_url(reader.url, str(root), reader.filename, reader.tgz_md5)  # keeps an archive that is whole
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"task 'cifar10': download of {reader.url} failed ({error}); try again, or put the file into {root}"
        ) from error


def _unpack(archive: Path, md5: str, folder: Path) -> None:
    if (found := file_digest(archive, "md5")) != md5:
        raise DataError(
            f"{archive} is damaged or not the published file (MD5 {found}, expected {md5}); "
            "delete it and fetch it again"
        )
    try:
        # Unpacked elsewhere and renamed: an interruption leaves no half of it in its place.
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder.parent) as scratch:
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter=_inside)
            Path(scratch, folder.name).rename(folder)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{archive} cannot be unpacked to {folder.parent}: {error}") from error


def _inside(member: tarfile.TarInfo, destination: str) -> tarfile.TarInfo | None:
    """The "data" filter, which refuses paths outside the destination; absolute ones too, not made relative."""
    if member.name.startswith("/"):
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, destination)
