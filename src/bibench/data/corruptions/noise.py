"""Noise: Gaussian, shot, impulse and speckle. Images are (N, H, W, 3) in [0, 1]."""

from __future__ import annotations

import numpy as np

from bibench.data.corruptions.random import Float, Streams


def gaussian_noise(x: Float, scale: float, streams: Streams) -> Float:
    """Adds a normal deviate of standard deviation `scale` to every value."""
    return x + streams.draw(lambda random: random.normal(scale=scale, size=x.shape[1:]))


def shot_noise(x: Float, photons: float, streams: Streams) -> Float:
    """Poisson noise of a sensor that counts `photons` at full brightness."""
    return streams.draw_each(x, lambda random, image: random.poisson(image * photons) / photons)


def impulse_noise(x: Float, amount: float, streams: Streams) -> Float:
    """Sets a share of the values to 0 or 1 (salt and pepper, each channel for itself)."""
    hit = streams.draw(lambda random: random.uniform(size=x.shape[1:])) < amount
    salt = streams.draw(lambda random: random.uniform(size=x.shape[1:])) < 0.5
    return np.where(hit, salt, x)


def speckle_noise(x: Float, scale: float, streams: Streams) -> Float:
    """Multiplicative normal noise."""
    return x + x * streams.draw(lambda random: random.normal(scale=scale, size=x.shape[1:]))
