"""Weather: snow, frost and fog. Images are (N, H, W, 3) in [0, 1]."""

from __future__ import annotations

import numpy as np

from bibench.data.corruptions.frost import textures
from bibench.data.corruptions.random import Float, Random, Streams
from bibench.data.corruptions.sampling import streaks, zoomed

GREY = np.array([0.299, 0.587, 0.114])
WIBBLE = 100.0


def snow(x: Float, constants: tuple[float, float, float, float, int, float, float], streams: Streams) -> Float:
    """Flakes in streaks, and their half-turn, over a whitened image."""
    mean, deviation, zoom, threshold, radius, sigma, kept = constants
    layer = streams.draw(lambda random: random.normal(mean, deviation, x.shape[1:3]))[..., None]
    angles = streams.draw(lambda random: random.uniform(-135, -45))
    layer = zoomed(layer, zoom)
    layer = np.floor(255 * np.where(layer < threshold, 0, np.clip(layer, 0, 1)))
    layer = np.rint(streaks(layer, radius, sigma, angles)) / 255
    whitened = np.maximum(x, (x @ GREY)[..., None] * 1.5 + 0.5)
    return kept * x + (1 - kept) * whitened + layer + layer[:, ::-1, ::-1]


def frost(x: Float, constants: tuple[float, float], streams: Streams) -> Float:
    """A random crop of one of the frost textures, added; see `bibench.data.corruptions.frost` for which."""
    height, width = x.shape[1:3]
    pictures = textures(height, width)

    def crop(random: Random) -> Float:
        picture = pictures[random.randint(len(pictures))]
        top = random.randint(picture.shape[0] - height + 1)
        left = random.randint(picture.shape[1] - width + 1)
        return picture[top : top + height, left : left + width].astype(float)

    return constants[0] * x + constants[1] * streams.draw(crop) / 255


def fog(x: Float, constants: tuple[float, float], streams: Streams) -> Float:
    """A plasma cloud added, then scaled back to the image's brightest value."""
    strength, decay = constants
    height, width = x.shape[1:3]
    size = 1 << (max(height, width) - 1).bit_length()
    clouds = plasma(size, decay, streams)[:, :height, :width, None]
    brightest = x.max((1, 2, 3), keepdims=True)
    return (x + strength * clouds) * brightest / (brightest + strength)


def plasma(size: int, decay: float, streams: Streams) -> Float:
    """(N, size, size) clouds in [0, 1] by the diamond-square algorithm on a torus; `size` is a power of two.

    As in the reference, the deviation is WIBBLE² at first and shrinks by decay² with every halving.
    """
    cloud = np.zeros((len(streams), size, size))
    step, wibble = size, WIBBLE
    while step >= 2:
        half, cells = step // 2, size // step
        spread = wibble * wibble
        shifts = streams.draw(lambda random, n=cells, s=spread: random.uniform(-s, s, (3, n, n)))  # type: ignore[misc]
        corners = cloud[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, 1)
        centres = (pairs + np.roll(pairs, -1, 2)) / 4 + shifts[:, 0]
        beside = (centres + np.roll(centres, 1, 1) + corners + np.roll(corners, -1, 2)) / 4 + shifts[:, 1]
        below = (centres + np.roll(centres, 1, 2) + corners + np.roll(corners, -1, 1)) / 4 + shifts[:, 2]
        cloud[:, half::step, half::step] = centres
        cloud[:, ::step, half::step] = beside
        cloud[:, half::step, ::step] = below
        step, wibble = half, wibble / decay
    cloud -= cloud.min((1, 2), keepdims=True)
    return np.asarray(cloud / cloud.max((1, 2), keepdims=True))
