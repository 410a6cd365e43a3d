"""Corrupted test sets as their authors published them: arrays (CIFAR-10-C) or folders of pictures (ImageNet-C)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bibench.data.corruptions.apply import CORRUPTIONS, EXTRA, SEVERITIES, check_name
from bibench.data.corruptions.sets import CleanSet, Corrupted, open_array
from bibench.data.images import ImageFolder
from bibench.data.parts import Bytes, parts, passing
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError
from bibench.foundation.finding import listed


@dataclass(frozen=True)
class Archive:
    """A file that a set is published in, of the given MD5, with what is in it (other than labels)."""

    name: str
    md5: str
    corruptions: tuple[str, ...]


@dataclass(frozen=True)
class Official:
    """A published set.

    Args:
        name: on the command line.
        folder: below the data root.
        piece: where below `folder` a corruption lies, with ``{}`` for its name.
        record: the address that its archives are fetched from.
        unpacked_in: below the data root; an archive may have `folder` in it.
        examples: how many there are of every corruption at every severity.
        size: (H, W) of an image.
        there: whether a folder holds some of it.
        open: from (folder, corruption, uncorrupted test set, threads) to severities 1 to 5, all checked.
    """

    name: str
    folder: str
    piece: str
    record: str
    unpacked_in: str
    archives: tuple[Archive, ...]
    examples: int
    classes: int
    size: tuple[int, int]
    there: Callable[[Path], bool]
    open: Callable[[Path, str, CleanSet, int | None], list[Corrupted]]
    licence: str = "CC BY 4.0"

    def lacking(self, root: Path) -> list[str]:
        """Corruptions that are not below a data root at all."""
        return [name for name in CORRUPTIONS if not (root / self.folder / self.piece.format(name)).exists()]

    def fix(self, root: Path, name: str) -> str:
        """What to do about a corruption, or labels, that are damaged or missing."""
        archive = next(
            (archive.name for archive in self.archives if name in archive.corruptions), self.archives[0].name
        )
        return f"fetch {self.record}/files/{archive} and unpack it in {root / self.unpacked_in}"


def arrays(folder: Path, corruption: str, test: CleanSet, threads: int | None = None) -> list[Corrupted]:
    """``<corruption>.npy`` (5·N, H, W, 3), severity after severity, beside ``labels.npy`` (5·N,).

    The labels must be those of the test set, repeated for every severity. https://zenodo.org/records/2535967
    """
    check_name(corruption)
    fix = "unpack CIFAR-10-C.tar (https://zenodo.org/records/2535967) again"
    count = len(test.labels)
    total = len(SEVERITIES) * count
    labels = open_array(folder / "labels.npy", (total,), fix, kinds="iu")
    if not np.array_equal(labels, np.tile(test.labels, len(SEVERITIES))):
        raise DataError(
            f"{folder / 'labels.npy'} does not repeat the labels of the test set for each of the "
            f"{len(SEVERITIES)} severities; is it of another data set? {fix}"
        )
    stored = open_array(folder / f"{corruption}.npy", (total, *test.images.shape[1:]), fix)
    found = []
    for severity in SEVERITIES:
        images = stored[(severity - 1) * count : severity * count]
        digest = sha256(images.data)
        found.append(Corrupted(corruption, severity, (), digest, lambda i=images, d=digest: (i, d)))  # type: ignore[misc]
    return found


def folders(folder: Path, corruption: str, test: CleanSet, threads: int | None = None) -> list[Corrupted]:
    """``<corruption>/<severity>/<class>/<picture>``, the pictures named as those of the test set and of its size.

    They are known by their names and sizes, as the pictures of the test set are. https://zenodo.org/records/2235448
    """
    check_name(corruption)
    found = []
    for severity in SEVERITIES:
        pictures = _pictures(folder / corruption / str(severity), test)
        read = partial(_decoded, pictures.root, test, threads)  # lists the folder again: 95 lists would fill memory
        found.append(Corrupted(corruption, severity, (), pictures.checksum(), read))
    return found


UNPACK = "unpack the archives of ImageNet-C (https://zenodo.org/records/2235448) again, all classes of it"


def _pictures(root: Path, test: CleanSet) -> ImageFolder:
    try:
        pictures = ImageFolder(root, np.asarray, len(np.unique(test.labels)))
    except DataError as error:
        raise DataError(f"{error}; {UNPACK}") from error
    if odd := sorted(set(pictures.files) ^ set(test.files)):
        raise DataError(
            f"{root} and the test set of {test.name!r} differ in {len(odd)} of their files ({odd[0]}, ...); {UNPACK}"
        )
    return pictures


def _decoded(root: Path, test: CleanSet, threads: int | None) -> tuple[Bytes, str]:
    pictures = _pictures(root, test)

    def picture(index: int) -> Bytes:
        pixels: Bytes = pictures(index)[0]
        if pixels.shape != (shape := test.images.shape[1:]):
            raise DataError(f"{pictures.samples[index][0]} has the shape {pixels.shape}, expected {shape}; {UNPACK}")
        return pixels

    def make(first: int, last: int) -> Bytes:
        return np.stack([picture(index) for index in range(first, last)])

    return passing(test.images.shape, parts(test.images.shape, make, threads))[0], pictures.checksum()


CIFAR_10_C = Official(
    name="cifar10_c",
    folder="CIFAR-10-C",
    piece="{}.npy",
    record="https://zenodo.org/records/2535967",
    unpacked_in="",
    archives=(Archive("CIFAR-10-C.tar", "56bf5dcef84df0e2308c6dcbcbbd8499", CORRUPTIONS),),
    examples=10_000,
    classes=10,
    size=(32, 32),
    there=lambda folder: bool(listed(folder, "*.npy")),
    open=arrays,
)
IMAGENET_C = Official(
    name="imagenet_c",
    folder="ImageNet-C",
    piece="{}",
    record="https://zenodo.org/records/2235448",
    unpacked_in="ImageNet-C",
    archives=(
        Archive("noise.tar", "e80562d7f6c3f8834afb1ecf27252745", ("gaussian_noise", "shot_noise", "impulse_noise")),
        Archive(
            "blur.tar",
            "2d8e81fdd8e07fef67b9334fa635e45c",
            ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        ),
        Archive("weather.tar", "33ffea4db4d93fe4a428c40a6ce0c25d", ("snow", "frost", "fog", "brightness")),
        Archive(
            "digital.tar",
            "89157860d7b10d5797849337ca2e5c03",
            ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
        ),
        Archive("extra.tar", "d492dfba5fc162d8ec2c3cd8ee672984", EXTRA),
    ),
    examples=50_000,
    classes=1000,
    size=(224, 224),
    there=lambda folder: bool(listed(folder, "*/[1-5]")),
    open=folders,
)
