"""Digital and colour: contrast, elastic, pixelate, JPEG, brightness and saturation. (N, H, W, 3) in [0, 1]."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

from bibench.data.corruptions.random import Bytes, Float, Streams
from bibench.data.corruptions.sampling import bilinear, mirror, reflect, smooth


def contrast(x: Float, factor: float, streams: Streams) -> Float:
    """Draws values to the mean of their channel."""
    means = x.mean((1, 2), keepdims=True)
    return (x - means) * factor + means


def brightness(x: Float, added: float, streams: Streams) -> Float:
    """Adds to the value of HSV."""
    return _hsv(x, 2, 1.0, added)


def saturate(x: Float, constants: tuple[float, float], streams: Streams) -> Float:
    """Scales the saturation of HSV and adds to it."""
    return _hsv(x, 1, *constants)


def _hsv(x: Float, channel: int, factor: float, added: float) -> Float:
    from skimage.color import hsv2rgb, rgb2hsv

    hsv = rgb2hsv(x)
    hsv[..., channel] = np.clip(hsv[..., channel] * factor + added, 0, 1)
    return np.asarray(hsv2rgb(hsv))


def elastic_transform(x: Float, constants: tuple[float, float, float], streams: Streams) -> Float:
    """A random affine map, then smooth displacements; lengths are shares of the short side."""
    height, width = x.shape[1:3]
    alpha, sigma, jitter = (share * min(height, width) for share in constants)
    drawn = streams.draw(lambda random: random.uniform(-jitter, jitter, (3, 2)))
    noise = streams.draw(lambda random: random.uniform(-1, 1, (2, height, width)))
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    grid = np.stack([columns, rows, np.ones_like(rows)], -1).astype(float)
    sources = np.einsum("hwk,nkc->nhwc", grid, _inverse_affine(height, width, drawn))
    x = bilinear(x, sources[..., 1], sources[..., 0], mirror)
    if alpha == 0:
        return x
    moves = alpha * smooth(noise.reshape(-1, height, width), sigma, "reflect", 3.0).reshape(noise.shape)
    return bilinear(x, rows + moves[:, 1], columns + moves[:, 0], reflect)


def _inverse_affine(height: int, width: int, jitter: Float) -> Float:
    """(N, 3, 2): from (column, row, 1) of the result to the place in the source.

    The affine map takes three corners of a square of two thirds of the side to where `jitter` moves them.
    """
    centre, reach = np.array([height // 2, width // 2], dtype=float), min(height, width) // 3
    corners = centre + reach * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = np.concatenate([corners + jitter, np.ones((len(jitter), 3, 1))], -1)
    return np.asarray(np.linalg.solve(moved, np.broadcast_to(corners, jitter.shape)))


def pixelate(images: Bytes, factor: float, streams: Streams) -> Bytes:
    """Down and back up with box filters."""
    from PIL import Image

    def change(image: Any) -> Any:
        small = [max(1, int(side * factor)) for side in image.size]
        return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)

    return _with_pillow(images, change)


def jpeg_compression(images: Bytes, quality: int, streams: Streams) -> Bytes:
    """Stored as JPEG of a quality and read back."""
    from PIL import Image

    def change(image: Any) -> Any:
        stream = BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _with_pillow(images, change)


def _with_pillow(images: Bytes, change: Any) -> Bytes:
    from PIL import Image

    return np.stack([np.asarray(change(Image.fromarray(image)), dtype=np.uint8) for image in images])
