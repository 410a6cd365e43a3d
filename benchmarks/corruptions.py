"""Corrupting images: images/s of each corruption (mean over severities 1, 3 and 5), 32×32, one thread."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np

from bibench.data import photos
from bibench.data.corruptions import CORRUPTIONS, corrupt

IMAGES, ROUNDS = 512, 3


def run() -> list[dict[str, Any]]:
    """A row for each corruption, and what a whole set of 19 × 5 comes to."""
    random = np.random.RandomState(0)
    pictures = list(photos.load().values())
    images = np.stack([photos.random_crop(pictures[i % len(pictures)], 32, random) for i in range(IMAGES)])
    rows: list[dict[str, Any]] = []
    seconds = {name: _seconds(images, name) for name in CORRUPTIONS}
    for name, taken in seconds.items():
        rows.append({"name": name, "images/s": round(IMAGES / taken)})
    total = sum(seconds.values()) / IMAGES
    rows.append(
        {"name": "all", "images/s": round(len(CORRUPTIONS) / total), "minutes for 10,000 × 19 × 5": total * 5e4 / 60}
    )
    return rows


def _seconds(images: np.ndarray[Any, Any], name: str) -> float:
    """Of one pass over the images, averaged over severities; the median of some rounds."""
    corrupt(images[:8], name, 1)  # imports and cached textures
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for severity in (1, 3, 5):
            corrupt(images, name, severity)
        rounds.append((time.perf_counter() - began) / 3)
    return median(rounds)
