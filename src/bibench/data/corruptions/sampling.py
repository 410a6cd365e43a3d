"""Sampling and filtering of batches of images (N, H, W, C), with the borders the reference uses."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bibench.data.corruptions.random import Float


def smooth(x: Float, sigma: float, mode: str = "nearest", truncate: float = 4.0) -> Float:
    """Gaussian filter over the axes 1 and 2."""
    from scipy.ndimage import gaussian_filter1d

    if sigma <= 0:
        return x
    for axis in (1, 2):
        x = gaussian_filter1d(x, sigma, axis, mode=mode, truncate=truncate)
    return x


def mirror(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices reflected about the centres of the border pixels (c b | a b c | b a)."""
    period = max(1, 2 * (size - 1))
    folded = index % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros_like(index)


def reflect(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices reflected about the edges of the border pixels (b a | a b c | c b)."""
    folded = index % (2 * size)
    return np.minimum(folded, 2 * size - 1 - folded)


def bilinear(x: Float, rows: Float, columns: Float, border: object) -> Float:
    """x (N, H, W, C) at the places rows, columns (N, H', W'); `border` is `mirror` or `reflect`."""
    assert callable(border)
    height, width = x.shape[1:3]
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    r, c = top.astype(np.int64), left.astype(np.int64)
    images = np.arange(len(x))[:, None, None]
    r0, r1, c0, c1 = border(r, height), border(r + 1, height), border(c, width), border(c + 1, width)
    upper = x[images, r0, c0] * (1 - right) + x[images, r0, c1] * right
    lower = x[images, r1, c0] * (1 - right) + x[images, r1, c1] * right
    return np.asarray(upper * (1 - down) + lower * down)


def zoomed(x: Float, factor: float) -> Float:
    """The centre of x enlarged by `factor` with linear interpolation, excess trimmed evenly; same size as x."""
    return zoom_by(x, [(zoom_matrix(x.shape[1], factor), zoom_matrix(x.shape[2], factor))])


def zoom_by(x: Float, matrices: list[tuple[Float, Float]]) -> Float:
    """Sum over pairs of rows @ x @ columnsᵀ: linear interpolation is a product with a matrix for each axis."""
    count, height, width, channels = x.shape
    planes = x.transpose(0, 3, 1, 2).reshape(-1, height, width)
    total = np.zeros_like(planes)
    for rows, columns in matrices:
        total += rows @ planes @ columns.T
    return total.reshape(count, channels, height, width).transpose(0, 2, 3, 1)


@cache
def zoom_matrix(size: int, factor: float) -> Float:
    """(size, size): linear interpolation of the central ⌈size / factor⌉ pixels onto `size`."""
    part = int(np.ceil(size / factor))
    first = (size - part) // 2
    made = round(part * factor)  # as scipy.ndimage.zoom does: ends meet ends
    positions = np.arange(made) * ((part - 1) / (made - 1) if made > 1 else 0)
    positions = positions[(made - size) // 2 :][:size]
    low = np.minimum(positions.astype(int), max(part - 2, 0))
    weight = positions - low
    matrix = np.zeros((size, size))
    rows = np.arange(size)
    matrix[rows, first + low] += 1 - weight
    matrix[rows, first + np.minimum(low + 1, part - 1)] += weight
    return matrix


def streaks(x: Float, radius: int, sigma: float, angles: Float) -> Float:
    """Motion blur as ImageMagick's: a one-sided Gaussian of 2·radius + 1 taps along `angles` (N,) in degrees.

    Offsets are rounded to pixels; borders repeat. Float (N, H, W, C) of the range of x.
    """
    height, width = x.shape[1:3]
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    sines, cosines = np.sin(np.deg2rad(angles)), np.cos(np.deg2rad(angles))
    images = np.arange(len(x))[:, None, None]
    rows, columns = np.arange(height)[None, :, None], np.arange(width)[None, None, :]
    total = np.zeros_like(x)
    for tap, weight in enumerate(weights):
        if weight < 1e-9:
            break
        down = np.ceil(tap * sines - 0.5).astype(int)[:, None, None]
        right = np.ceil(tap * cosines - 0.5).astype(int)[:, None, None]
        r, c = np.clip(rows + down, 0, height - 1), np.clip(columns + right, 0, width - 1)
        total += weight * x[images, r, c]
    return total
