"""Spatter: drops of water (severities 1 to 3) or mud on the lens. Images are (N, H, W, 3) in [0, 1].

OpenCV, which the reference calls for the edges of the drops, is replaced by the same steps on batches;
distances to the edge are exact here, and within 2 % of exact there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bibench.data.corruptions.random import Float, Streams
from bibench.data.corruptions.sampling import smooth

WATER = np.array([175, 238, 238]) / 255
MUD = np.array([63, 42, 20]) / 255
FARTHEST = 20
"""Distances from an edge are cut off here."""
RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def spatter(x: Float, constants: tuple[float, float, float, float, float, int], streams: Streams) -> Float:
    """Drops of smoothed noise above a threshold, lit by a relief filter (water) or opaque (mud)."""
    mean, deviation, sigma, threshold, strength, mud = constants
    liquid = smooth(streams.draw(lambda random: random.normal(mean, deviation, x.shape[1:3])), sigma)
    liquid = np.where(liquid < threshold, 0, liquid)
    if mud:
        cover = smooth((liquid > threshold).astype(float), strength)
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return x * (1 - cover) + MUD * cover
    bytes_ = np.floor(255 * liquid).astype(np.int64) % 256  # the reference's conversion wraps above 1
    light = bytes_ * _lighting(bytes_)
    peak = light.max((1, 2), keepdims=True)
    light = np.divide(light, peak, out=np.zeros_like(light), where=peak > 0)  # no drop: no change
    return x + strength * light[..., None] * WATER


def _lighting(liquid: NDArray[np.int64]) -> Float:
    """(N, H, W) bytes as floats: equalised distance to the drops' edges under a relief filter."""
    from scipy.ndimage import correlate

    distance = np.stack([_distance(edges) for edges in canny(liquid, 50, 150)])
    levels = np.floor(_box(distance)).astype(np.int64)
    relief = correlate(_equalised(levels), RELIEF[None], mode="mirror")
    return np.rint(_box(np.clip(relief, 0, 255).astype(float)))


def _distance(edges: NDArray[np.bool_]) -> Float:
    from scipy.ndimage import distance_transform_edt

    if not edges.any():
        return np.full(edges.shape, float(FARTHEST))
    return np.minimum(distance_transform_edt(~edges), FARTHEST)


def _box(x: Float) -> Float:
    from scipy.ndimage import correlate

    # Not uniform_filter, whose running sums leave -1e-17 for 0; the rest is to reach whole numbers from below.
    return np.asarray(correlate(x, np.ones((1, 3, 3)), mode="mirror") / 9 + 1e-9)


def _equalised(levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Histogram equalisation of each image: its darkest level becomes 0, its brightest 255."""
    count, depth = len(levels), FARTHEST + 1
    flat = levels.reshape(count, -1)
    histogram = np.bincount((flat + depth * np.arange(count)[:, None]).ravel(), minlength=count * depth)
    above = histogram.reshape(count, depth).cumsum(1)
    darkest = flat.min(1)
    base = above[np.arange(count), darkest][:, None]
    span = flat.shape[1] - base
    table = np.rint(np.clip(above - base, 0, None) * 255 / np.maximum(span, 1)).astype(np.int64)
    table = np.where(span == 0, darkest[:, None], table)  # one level only stays what it is
    return np.take_along_axis(table, flat, 1).reshape(levels.shape)


def canny(images: NDArray[np.int64], low: float, high: float) -> NDArray[np.bool_]:
    """Edges (N, H, W) of bytes: Sobel gradients, L1 magnitude, thinning across the edge, hysteresis."""
    from scipy.ndimage import label

    across, down = _sobel(images, 2, 1), _sobel(images, 1, 2)
    magnitude = np.abs(across) + np.abs(down)
    candidates = _ridges(magnitude, across, down) & (magnitude > low)
    within = np.zeros((3, 3, 3), dtype=bool)
    within[1] = True  # neighbours within an image, never in the next one
    regions, found = label(candidates, within)
    strong = np.zeros(found + 1, dtype=bool)
    strong[regions[candidates & (magnitude > high)]] = True
    strong[0] = False
    return np.asarray(strong[regions])


def _sobel(images: NDArray[np.int64], along: int, across: int) -> NDArray[np.int64]:
    from scipy.ndimage import correlate1d

    slope = correlate1d(images, [-1, 0, 1], along, mode="nearest")
    return np.asarray(correlate1d(slope, [1, 2, 1], across, mode="nearest"))


def _ridges(magnitude: NDArray[np.int64], across: NDArray[np.int64], down: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where the magnitude is the greatest along the gradient, whose direction is told in eighths of a turn."""
    padded = np.pad(magnitude, ((0, 0), (1, 1), (1, 1)))
    height, width = magnitude.shape[1:]

    def beside(rows: int, columns: int) -> NDArray[np.int64]:
        return padded[:, 1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    flat, steep = np.tan(np.pi / 8) * np.abs(across), np.tan(3 * np.pi / 8) * np.abs(across)
    horizontal = (magnitude > beside(0, -1)) & (magnitude >= beside(0, 1))
    vertical = (magnitude > beside(-1, 0)) & (magnitude >= beside(1, 0))
    falling = (magnitude > beside(-1, -1)) & (magnitude > beside(1, 1))
    rising = (magnitude > beside(-1, 1)) & (magnitude > beside(1, -1))
    diagonal = np.where((across < 0) != (down < 0), rising, falling)
    return np.where(np.abs(down) < flat, horizontal, np.where(np.abs(down) > steep, vertical, diagonal))
