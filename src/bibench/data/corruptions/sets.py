"""Corrupted test sets: generated once into the cache, or the published files; both read without loading them whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bibench.data.corruptions.apply import CORRUPTIONS, SEVERITIES, check_name, check_severity, corrupt
from bibench.data.corruptions.frost import frost_from, source_of
from bibench.data.corruptions.random import Bytes
from bibench.data.location import cached_folder, checksum
from bibench.errors import DataError

VERSION = "corrupted-v1"
IMAGES, CHECKSUM = "images.npy", "images.sha256"
PART = 512
"""Images that a thread corrupts at a time."""


@dataclass(frozen=True)
class Corrupted:
    """One corruption of a test set: (5·N, H, W, 3) uint8, severity after severity, and what it comes from."""

    corruption: str
    images: NDArray[np.uint8]
    checksum: str
    source: str

    @property
    def flags(self) -> list[str]:
        """What a number on these images must be marked with: none for published files."""
        drawn = ["drawn_frost"] if self.source.endswith(" drawn") else []
        return [] if self.source == "official" else ["generated", *drawn]

    def at(self, severity: int) -> Bytes:
        """(N, H, W, 3): the images at a severity."""
        check_severity(severity)
        count = len(self.images) // len(SEVERITIES)
        return np.array(self.images[(severity - 1) * count : severity * count])


def generated(
    images: Bytes, corruption: str, *, name: str, seed: int = 0, frost: Path | None = None, threads: int | None = None
) -> Corrupted:
    """`images` (N, H, W, 3) under a corruption, made once for all that evaluate on it and kept in the cache.

    Args:
        name: of the data set; the cache tells sets apart by their content as well.
        frost: folder of the authors' frost photographs (None: drawn textures).
        threads: how many work on it (None: all processors of this process); the result does not depend on it.
    """
    check_name(corruption)
    key = checksum(np.ascontiguousarray(images).data, repr((images.shape, seed)).encode())[:16]
    texture = source_of(frost) if corruption == "frost" else ""
    folder_name = f"{VERSION}/{name}-{key}/{corruption}" + (f"-{texture}" if texture else "")

    def build(folder: Path) -> None:
        shape = (len(SEVERITIES) * len(images), *images.shape[1:])
        made = np.lib.format.open_memmap(folder / IMAGES, mode="w+", dtype=np.uint8, shape=shape)
        with frost_from(frost):
            _fill(made, images, corruption, seed, threads)
        made.flush()
        (folder / CHECKSUM).write_text(checksum(made.data))

    folder = cached_folder(folder_name, build)
    again = f"delete {folder} to have it made again"
    stored = _open(folder / IMAGES, (len(SEVERITIES) * len(images), *images.shape[1:]), again)
    try:
        expected = (folder / CHECKSUM).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{folder / CHECKSUM} cannot be read ({error}); {again}") from error
    if checksum(stored.data) != expected:
        raise DataError(f"{folder / IMAGES} is damaged (its checksum is not the one it was made with); {again}")
    return Corrupted(corruption, stored, expected, "generated" + (f", frost {texture}" if texture else ""))


def _fill(made: Bytes, images: Bytes, corruption: str, seed: int, threads: int | None) -> None:
    count = len(images)
    with ThreadPoolExecutor(threads or _processors()) as pool:
        work: list[tuple[int, int, Callable[[], Bytes]]] = []
        for severity in SEVERITIES:
            for first in range(0, count, PART):
                part = images[first : first + PART]
                make = copy_context().run  # threads do not inherit where frost comes from
                future = pool.submit(
                    make, lambda p=part, s=severity, f=first: corrupt(p, corruption, s, seed=seed, start=f)
                )
                work.append(((severity - 1) * count + first, len(part), future.result))
        for begin, length, result in work:
            made[begin : begin + length] = result()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_official(folder: Path) -> bool:
    """Whether `folder` holds files of a published corrupted set."""
    return folder.is_dir() and any(folder.glob("*.npy"))


def official(folder: Path, corruption: str, labels: Sequence[int] | NDArray[np.int64], size: int) -> Corrupted:
    """One file of CIFAR-10-C: ``<corruption>.npy`` (5·N, size, size, 3) beside ``labels.npy`` (5·N,).

    Args:
        labels: (N,) of the uncorrupted test set; the file must repeat them for every severity, in order.

    https://zenodo.org/records/2535967
    """
    check_name(corruption)
    fix = "unpack CIFAR-10-C.tar (https://zenodo.org/records/2535967) again"
    total = len(SEVERITIES) * len(labels)
    stored_labels = _open(folder / "labels.npy", (total,), fix, kinds="iu")
    if not np.array_equal(stored_labels, np.tile(np.asarray(labels), len(SEVERITIES))):
        raise DataError(
            f"{folder / 'labels.npy'} does not repeat the labels of the test set for each of the "
            f"{len(SEVERITIES)} severities; is it of another data set? {fix}"
        )
    stored = _open(folder / f"{corruption}.npy", (total, size, size, 3), fix)
    return Corrupted(corruption, stored, checksum(stored.data), "official")


def _open(file: Path, shape: tuple[int, ...], fix: str, kinds: str = "u") -> NDArray[np.uint8]:
    try:
        stored = np.lib.format.open_memmap(file, mode="r")  # neither archives nor pickles
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing; {fix}") from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(f"{file} is damaged ({error}); {fix}") from error
    if not isinstance(stored, np.ndarray) or stored.shape != shape or stored.dtype.kind not in kinds:
        found = f"{stored.dtype} {stored.shape}" if isinstance(stored, np.ndarray) else type(stored).__name__
        raise DataError(f"{file} holds {found}, expected {'uint8' if kinds == 'u' else 'integers'} {shape}; {fix}")
    if kinds == "u" and stored.dtype != np.uint8:
        raise DataError(f"{file} holds {stored.dtype} {stored.shape}, expected uint8 {shape}; {fix}")
    return np.ascontiguousarray(stored) if not stored.flags.c_contiguous else stored


__all__ = ["CORRUPTIONS", "Corrupted", "generated", "has_official", "official"]
