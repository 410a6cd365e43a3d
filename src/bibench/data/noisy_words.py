"""Words in coloured noise, somewhere in a stretch of sound longer than what a model sees: the embedded speech."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bibench.data.audio import SAMPLE_RATE, LogMel

Samples = NDArray[np.float64]

STRETCH = 19_200
"""Samples of the whole stretch, 1.2 s: one second can be cut out up to 0.1 s earlier or later."""
BEFORE = 1_536
"""Samples before the middle second, three hops of the spectrogram."""
SNR = (5.0, 25.0)
"""Signal-to-noise ratio in dB, drawn evenly; the power of a word is its mean from first to last sound."""


def in_noise(word: Samples, random: np.random.RandomState) -> Samples:
    """The word anywhere in the middle second, at a random loudness and signal-to-noise ratio.

    (L,) to (`STRETCH`,), both at 16 kHz; a word that is longer than a second is cut off.
    """
    word = trimmed(word)[:SAMPLE_RATE]
    word = word / np.sqrt(np.mean(word**2))
    place = BEFORE + random.randint(0, SAMPLE_RATE - len(word) + 1)
    noise = coloured_noise(STRETCH, random.uniform(0, 2), random)
    stretch = noise * 10 ** (-random.uniform(*SNR) / 20)
    stretch[place : place + len(word)] += word
    return 0.05 * 10 ** (random.uniform(-6, 6) / 20) * stretch


def trimmed(word: Samples, threshold: float = 0.01) -> Samples:
    """Without the silence before and after it, below `threshold` of its peak."""
    loud = np.flatnonzero(np.abs(word) > threshold * np.abs(word).max())
    return word[loud[0] : loud[-1] + 1]


def coloured_noise(length: int, slope: float, random: np.random.RandomState) -> Samples:
    """Gaussian noise whose power falls with frequency to the power of `slope` (0 white, 1 pink, 2 brown), rms 1."""
    spectrum = np.fft.rfft(random.normal(0, 1, length))
    frequencies = np.maximum(np.arange(len(spectrum)) * SAMPLE_RATE / length, 60.0)  # level below 60 Hz
    noise = np.fft.irfft(spectrum * frequencies ** (-slope / 2), length)
    return noise / np.sqrt(np.mean(noise**2))


def spectrograms(words: Iterable[Samples], features: LogMel, random: np.random.RandomState) -> Tensor:
    """Each word `in_noise`, as (N, 1, bands, frames) in decibels; a few at a time, to save memory."""
    source, parts = iter(words), []
    while chunk := [in_noise(word, random) for word in islice(source, 128)]:
        parts.append(features.decibels(torch.from_numpy(np.stack(chunk)).float()))
    return torch.cat(parts)


@dataclass(frozen=True)
class Window:
    """Cuts `frames` frames out of longer spectrograms: at random places to train, in the middle otherwise.

    A random shift in time as exact as one of the waveform, since a cut by whole frames is a cut of the
    sound by whole hops; sound, not zeros, comes in from the sides.
    """

    features: LogMel
    frames: int
    shifted: bool

    def __call__(self, decibels: Tensor, random: torch.Generator) -> Tensor:
        count, spare = decibels.shape[0], decibels.shape[-1] - self.frames
        starts = torch.full((count, 1), spare // 2)
        if self.shifted:
            starts = torch.randint(0, spare + 1, (count, 1), generator=random)
        columns = (starts + torch.arange(self.frames))[:, None, None, :].expand(*decibels.shape[:-1], -1)
        return self.features.standardized(decibels.gather(-1, columns))
