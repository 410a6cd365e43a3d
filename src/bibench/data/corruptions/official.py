"""Corrupted test sets as their authors published them: arrays (CIFAR-10-C) or folders of pictures (ImageNet-C)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bibench.data.corruptions.apply import SEVERITIES, check_name
from bibench.data.corruptions.sets import CleanSet, Corrupted, open_array
from bibench.data.images import ImageFolder
from bibench.data.location import checksum
from bibench.data.parts import Bytes, parts, passing
from bibench.errors import DataError


@dataclass(frozen=True)
class Official:
    """A published set.

    Args:
        folder: below the data root.
        there: whether a folder holds some of it.
        open: from (folder, corruption, uncorrupted test set, threads) to severities 1 to 5, all checked.
    """

    folder: str
    there: Callable[[Path], bool]
    open: Callable[[Path, str, CleanSet, int | None], list[Corrupted]]


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
        digest = checksum(images.data)
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


CIFAR_10_C = Official("CIFAR-10-C", lambda folder: any(folder.glob("*.npy")), arrays)
IMAGENET_C = Official("ImageNet-C", lambda folder: any(folder.glob("*/[1-5]")), folders)
