"""Corrupted test sets made by us: small ones once, into the cache; large ones whenever they are to be evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bibench.data.corruptions.apply import SEVERITIES, check_name, corrupt
from bibench.data.corruptions.constants import constants_for
from bibench.data.corruptions.frost import frost_from, source_of
from bibench.data.location import cache_dir, cached_folder
from bibench.data.parts import Bytes, Shape, parts, passing, write
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError
from bibench.foundation.files import storing, unreadable, write_text

VERSION = "corrupted-v2"
IMAGES, CHECKSUM = "images.npy", "images.sha256"
SMALL = 2**28
"""Bytes up to which a test set is kept corrupted in the cache, where 19 × 5 of them are 24 GiB at most."""

Read = Callable[[], tuple[Bytes, str]]


@dataclass(frozen=True)
class CleanSet:
    """An uncorrupted test set.

    Args:
        images: (N, H, W, 3), in memory or mapped.
        checksum: SHA-256 of the images.
        labels: (N,).
        files: of each image, relative to the folder of the set; empty where images have no files.
    """

    name: str
    images: Bytes
    checksum: str
    labels: NDArray[np.int64]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corrupted:
    """A test set under one corruption at one severity; nothing is made or read before `read` is called.

    Args:
        flags: what a number on these images must be marked with; none for published files.
        known: what `read` will give as second, if that is known already, else empty.
        read: gives (N, H, W, 3) and a checksum of what they come from.
    """

    corruption: str
    severity: int
    flags: tuple[str, ...]
    known: str
    read: Read


def generated(
    test: CleanSet, corruption: str, *, seed: int = 0, frost: Path | None = None, threads: int | None = None
) -> list[Corrupted]:
    """A test set under a corruption, at severities 1 to 5. Image i depends on (seed, corruption, severity, i) alone.

    Up to `SMALL` bytes it is made once for all that evaluate on it and kept in the cache, its checksum verified
    before it is used. Of larger sets only the checksum is kept; images are made in parts and last as long as they
    are used.

    Args:
        frost: folder of the authors' frost photographs (None: drawn textures).
        threads: how many work on it (None: all processors of this process); the result does not depend on it.
    """
    check_name(corruption)
    texture = source_of(frost) if corruption == "frost" else ""
    constants = constants_for(*test.images.shape[1:3])[corruption]
    key = sha256(test.checksum.encode(), repr((test.images.shape, seed, constants)).encode())[:16]
    folder = f"{VERSION}/{test.name}-{key}/{corruption}" + (f"-{texture}" if texture else "")
    flags = ("generated", "drawn_frost") if texture == "drawn" else ("generated",)
    keep = _kept if test.images.nbytes <= SMALL else _made
    made = []
    for severity in SEVERITIES:
        place = f"{folder}-{severity}"
        make = partial(_parts, test.images, corruption, severity, seed, frost, threads)
        known = _known(cache_dir() / place / CHECKSUM)
        made.append(Corrupted(corruption, severity, flags, known, partial(keep, place, test.images.shape, make)))
    return made


def _parts(
    images: Bytes, corruption: str, severity: int, seed: int, frost: Path | None, threads: int | None
) -> Iterator[Bytes]:
    def make(first: int, last: int) -> Bytes:
        with frost_from(frost):
            return corrupt(images[first:last], corruption, severity, seed=seed, start=first)

    return parts(images.shape, make, threads)


def _known(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):  # never made here, or to be found out when it is opened
        return ""


def _kept(name: str, shape: Shape, make: Callable[[], Iterator[Bytes]]) -> tuple[Bytes, str]:
    def build(folder: Path) -> None:
        with (folder / IMAGES).open("xb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            digest = write(stream, make())
        (folder / CHECKSUM).write_text(digest)

    folder = cached_folder(name, build, checksums=False)
    again = f"delete {folder} to have it made again"
    stored = open_array(folder / IMAGES, shape, again)
    if (expected := _known(folder / CHECKSUM)) != sha256(stored.data):
        raise DataError(f"{folder / IMAGES} is damaged (its checksum is not the one it was made with); {again}")
    return stored, expected


def _made(name: str, shape: Shape, make: Callable[[], Iterator[Bytes]]) -> tuple[Bytes, str]:
    images, digest = passing(shape, make())
    file = cache_dir() / name / CHECKSUM
    with storing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, digest)
    return images, digest


def open_array(file: Path, shape: Shape, fix: str, kinds: str = "u") -> NDArray[np.uint8]:
    """Map a .npy file that must hold `shape`, uint8 (``kinds="u"``) or any integers (``"iu"``); nothing pickled.

    Raises:
        DataError: it is missing, damaged or holds something else; with `fix`.
    """
    try:
        stored = np.lib.format.open_memmap(file, mode="c")  # neither archives nor pickles
    except FileNotFoundError as error:
        raise DataError(f"{file} is missing; {fix}") from error
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise DataError(unreadable(file, error) or f"{file} is damaged ({error}); {fix}") from error
    if not isinstance(stored, np.ndarray) or stored.shape != shape or stored.dtype.kind not in kinds:
        found = f"{stored.dtype} {stored.shape}" if isinstance(stored, np.ndarray) else type(stored).__name__
        raise DataError(f"{file} holds {found}, expected {'uint8' if kinds == 'u' else 'integers'} {shape}; {fix}")
    if kinds == "u" and stored.dtype != np.uint8:
        raise DataError(f"{file} holds {stored.dtype} {stored.shape}, expected uint8 {shape}; {fix}")
    return np.ascontiguousarray(stored)
