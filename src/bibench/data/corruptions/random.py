"""Random streams, one per image: what an image gets depends on seed, corruption, severity and its number alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bibench.data.batches import mix

Float = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Random = np.random.RandomState
"""The generator whose streams NumPy keeps unchanged for ever."""


class Streams:
    """The generators of a batch, in the order of its images."""

    def __init__(self, *key: int, start: int, count: int) -> None:
        self._key, self._numbers = key, range(start, start + count)
        self._made: list[Random] | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def _streams(self) -> list[Random]:
        if self._made is None:  # many corruptions draw nothing
            seeds = (mix(*self._key, number) for number in self._numbers)
            self._made = [Random(np.array([s & 0xFFFFFFFF, s >> 32], dtype=np.uint32)) for s in seeds]
        return self._made

    def draw(self, make: Callable[[Random], Any]) -> NDArray[Any]:
        """(N, ...) of what `make` draws for each image."""
        return np.stack([make(random) for random in self._streams])

    def draw_each(self, x: Float, make: Callable[[Random, Float], Any]) -> NDArray[Any]:
        """(N, ...) of what `make` draws for each image, given the image."""
        return np.stack([make(random, image) for random, image in zip(self._streams, x, strict=True)])
