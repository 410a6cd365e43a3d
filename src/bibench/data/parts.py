"""Images that need not fit in memory: made in parts by threads, hashed and stored on the way, mapped afterwards."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bibench.data.location import CACHE, cache_dir
from bibench.foundation.errors import DataError
from bibench.records.provenance import available_cores

Bytes = NDArray[np.uint8]
Shape = tuple[int, ...]

PART = 2**24
"""Bytes of images that a thread makes at a time."""


def parts(shape: Shape, make: Callable[[int, int], Bytes], threads: int | None = None) -> Iterator[Bytes]:
    """``make(first, last)`` for consecutive images of an array of `shape` (N, H, W, 3), in order.

    At most `threads` + 2 parts of at most `PART` bytes (or one image) exist at a time, whatever N is.

    Args:
        threads: how many work on it (None: all processors of this process).
    """
    step = max(1, PART // max(1, math.prod(shape[1:])))
    workers = threads or available_cores()
    ahead: deque[Future[Bytes]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for first in range(0, shape[0], step):
                ahead.append(pool.submit(make, first, min(first + step, shape[0])))
                if len(ahead) > workers + 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # an error, or nobody wants the rest
            for future in ahead:
                future.cancel()


def write(stream: BinaryIO, made: Iterable[Bytes]) -> str:
    """Append `made` to `stream`; SHA-256 of the bytes, hexadecimal."""
    digest = sha256()
    for part in made:
        content = np.ascontiguousarray(part).data
        digest.update(content)
        stream.write(content)
    stream.flush()
    return digest.hexdigest()


def passing(shape: Shape, made: Iterable[Bytes]) -> tuple[Bytes, str]:
    """`made` as one mapped array of `shape`, and its SHA-256.

    The bytes lie in a file without a name in the cache folder, so that memory holds what is being read and nothing
    more; the disk has them back when the array is no longer used, even if the process is killed.
    """
    folder, size = cache_dir(), math.prod(shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(folder).free) < size:
            raise OSError(f"{size / 2**30:.1f} GiB are needed, {free / 2**30:.1f} GiB free")
        with tempfile.TemporaryFile(dir=folder) as stream:
            digest = write(stream, made)
            return np.asarray(np.memmap(stream, np.uint8, "c", shape=shape)), digest
    except OSError as error:
        raise DataError(
            f"cannot hold test images in the cache {folder}: {error}; free space, or set ${CACHE} to another folder"
        ) from error
