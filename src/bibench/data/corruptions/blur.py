"""Blur: Gaussian, defocus, frosted glass, motion and zoom. Images are (N, H, W, 3) in [0, 1]."""

from __future__ import annotations

from functools import cache

import numpy as np

from bibench.data.corruptions.random import Float, Streams
from bibench.data.corruptions.sampling import smooth, streaks, zoom_by, zoom_matrix


def gaussian_blur(x: Float, sigma: float, streams: Streams) -> Float:
    """Gaussian filter; borders repeat."""
    return smooth(x, sigma)


def defocus_blur(x: Float, constants: tuple[float, float], streams: Streams) -> Float:
    """A disk whose edge is softened a little, as an aperture out of focus draws a point."""
    from scipy.ndimage import correlate

    return np.asarray(correlate(x, disk(*constants)[None, :, :, None], mode="mirror"))


@cache
def disk(radius: float, softening: float) -> Float:
    """Kernel of a disk, smoothed by a Gaussian of 3×3 (radius ≤ 8) or 5×5; empty margins are cut off."""
    from scipy.ndimage import correlate1d

    small = radius <= 8
    reach, taps = (8, 1) if small else (int(radius), 2)
    axis = np.arange(-reach, reach + 1)
    kernel = (axis[:, None] ** 2 + axis**2 <= radius**2).astype(float)
    kernel /= kernel.sum()
    weights = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * softening**2))
    weights /= weights.sum()
    for direction in (0, 1):
        kernel = correlate1d(kernel, weights, direction, mode="mirror")
    margin = int(np.flatnonzero(kernel.max(0) > 0)[0])
    return np.asarray(kernel[margin : len(kernel) - margin, margin : len(kernel) - margin])


def glass_blur(x: Float, constants: tuple[float, int, int], streams: Streams) -> Float:
    """Pixels take the value of one up to `reach` away, in place, between two Gaussian filters.

    The reference means to swap both, but its views alias, so that CIFAR-10-C was made with copies; offsets
    are -reach .. reach - 1, and positions run from the last row and column to reach + 1.
    """
    sigma, reach, rounds = constants
    count, height, width, channels = x.shape
    rows, columns = range(height - reach, reach, -1), range(width - reach, reach, -1)
    offsets = streams.draw(lambda random: random.randint(-reach, reach, (rounds, len(rows), len(columns), 2)))
    steps = np.ascontiguousarray((offsets[..., 1] * width + offsets[..., 0]).transpose(1, 2, 3, 0))  # batch last
    source = np.tile(np.arange(height * width, dtype=np.int64)[:, None], count)
    images = np.arange(count)
    for turn in range(rounds):
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                here = row * width + column
                source[here] = source[here + steps[turn, i, j], images]
    levels = np.floor(np.clip(smooth(x, sigma), 0, 1) * 255) / 255
    moved = levels.reshape(count, -1, channels)[images[:, None], source.T].reshape(x.shape)
    return smooth(moved, sigma)


def motion_blur(x: Float, constants: tuple[int, float], streams: Streams) -> Float:
    """The camera moved along a random direction within 45° of the horizontal."""
    angles = streams.draw(lambda random: random.uniform(-45, 45))
    return np.rint(255 * streaks(x, *constants, angles)) / 255  # ImageMagick gave bytes


def zoom_blur(x: Float, constants: tuple[float, float], streams: Streams) -> Float:
    """Mean of the image and of enlargements of its centre."""
    factors = [round(float(f), 6) for f in np.arange(1, *constants)]
    matrices = [(zoom_matrix(x.shape[1], f), zoom_matrix(x.shape[2], f)) for f in factors]
    return (x + zoom_by(x, matrices)) / (len(factors) + 1)
