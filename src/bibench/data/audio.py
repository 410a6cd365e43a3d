"""Audio: reading wave files, random changes of a waveform, and log-mel spectrograms.

Waveforms are (L,) float32 in [-1, 1] at 16 kHz. The random changes draw from torch's generator, which
`bibench.data.batches.SampleBatches` seeds for each example, or from the one they are given. Spectrograms
come from torchaudio, which imports beside our torch; its file reading needs FFmpeg libraries and does
not always work, so files are read by Python's own `wave` module: all data sets here are 16-bit PCM.
"""

from __future__ import annotations

import wave
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bibench.errors import DataError, require
from bibench.files import unreadable

SAMPLE_RATE = 16_000


def read_wave(path: Path) -> Tensor:
    """The samples of a mono 16-bit PCM wave file at 16 kHz, (L,) float32 in [-1, 1).

    Raises:
        DataError: naming the file, when it is missing, cut off, empty, or of another form.
    """
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            stated, data = file.getnframes(), file.readframes(file.getnframes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing; restore this file from the distribution") from None
    except (wave.Error, EOFError, OSError, RuntimeError) as error:
        reason = str(error) or "it ends in its header"
        problem = f"{path} is no readable wave file ({reason}); restore it from the distribution"
        raise DataError(unreadable(path, error) or problem) from error
    if form != (1, 2, SAMPLE_RATE):
        raise DataError(
            f"{path} has {form[0]} channel(s) of {8 * form[1]} bits at {form[2]} Hz; expected 1 of 16 bits at "
            f"{SAMPLE_RATE} Hz (PCM); convert it, or restore it from the distribution"
        )
    if len(data) != 2 * stated:
        raise DataError(
            f"{path} is cut off: its header states {stated} samples, it has {len(data) // 2}; "
            "restore it from the distribution"
        )
    if not stated:
        raise DataError(f"{path} is empty: it holds no samples; restore it from the distribution")
    samples = np.frombuffer(data, dtype="<i2")
    return torch.from_numpy(samples.astype(np.float32) / 32768)


def resampler(rate: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """A function that resamples (L,) from `rate` Hz to 16 kHz, by a windowed sinc."""
    require("torchaudio", extra="bench", purpose="resampling")
    from torchaudio.transforms import Resample  # type: ignore[import-untyped, unused-ignore]

    resample = Resample(rate, SAMPLE_RATE, dtype=torch.float64)
    return lambda samples: resample(torch.from_numpy(samples)).numpy()


# -- random changes ----------------------------------------------------------------------------------------


def change_amplitude(waveform: Tensor, factor: float) -> Tensor:
    """Louder or softer."""
    return waveform * factor


def change_speed(waveform: Tensor, stretch: float) -> Tensor:
    """`stretch` times as long, by linear interpolation: slower and lower in pitch, or faster and higher."""
    length = max(1, round(waveform.shape[0] * stretch))
    return F.interpolate(waveform[None, None], size=length, mode="linear", align_corners=False)[0, 0]


def shift(waveform: Tensor, samples: int) -> Tensor:
    """Later by `samples` (earlier if negative), zeros where nothing was recorded; the length stays."""
    length = waveform.shape[0]
    samples = max(-length, min(length, samples))
    return F.pad(waveform, (samples, -samples))


def fit_length(waveform: Tensor, length: int) -> Tensor:
    """The first `length` samples, zeros after the end of shorter ones."""
    return F.pad(waveform, (0, length - waveform.shape[0]))


def mix_noise(waveform: Tensor, noise: Tensor, start: int, level: float) -> Tensor:
    """(1 - level) · waveform + level · noise, with the piece of `noise` from `start` on (repeated if too short)."""
    places = (start + torch.arange(waveform.shape[0])) % noise.shape[0]
    return (1 - level) * waveform + level * noise[places]


@dataclass(frozen=True)
class Augmentation:
    """The changes of the BiFSMN recipe: noise, amplitude, speed and shift, each with its probability.

    Attributes:
        noise_probability, noise_level: how often noise is mixed in, and its largest share.
        probability: of each of the three others.
        amplitude: range of the factor.
        speed: largest relative change of the duration.
        shift_seconds: largest shift to either side.
    """

    noise_probability: float = 0.3
    noise_level: float = 0.3
    probability: float = 0.5
    amplitude: tuple[float, float] = (0.7, 1.1)
    speed: float = 0.2
    shift_seconds: float = 0.2

    def __call__(self, waveform: Tensor, noises: list[Tensor], random: torch.Generator | None = None) -> Tensor:
        """A changed waveform, of another length where the speed changed.

        The same number of values is drawn whatever happens, so that one change does not move the others.
        """
        chances = torch.rand(4, generator=random).tolist()
        which, where, level, loudness, speed, moved = torch.rand(6, generator=random).tolist()
        if noises and chances[0] < self.noise_probability:
            noise = noises[int(which * len(noises))]
            start = int(where * max(1, noise.shape[0] - waveform.shape[0]))
            waveform = mix_noise(waveform, noise, start, level * self.noise_level)
        if chances[1] < self.probability:
            low, high = self.amplitude
            waveform = change_amplitude(waveform, low + (high - low) * loudness)
        if chances[2] < self.probability:
            waveform = change_speed(waveform, 1 + self.speed * (2 * speed - 1))
        if chances[3] < self.probability:
            waveform = shift(waveform, round(self.shift_seconds * SAMPLE_RATE * (2 * moved - 1)))
        return waveform


# -- features ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogMel:
    """Log-mel spectrograms, (B, L) → (B, 1, bands, frames), in decibels and then standardized by constants.

    Power of a Hann-windowed STFT (centred frames, reflected ends) over the window's energy, in triangular
    HTK-mel bands from 0 to 8 kHz, 10·log10(max(power, 1e-10)); then (x - mean) / std. With the defaults, those
    of BiFSMN, one second gives 32×32. The constants bring speech near zero mean and unit
    deviation: FSMN has no norm that would do it.
    """

    n_fft: int = 2048
    hop: int = 512
    bands: int = 32
    mean: float = -30.0
    std: float = 15.0

    def frames(self, samples: int) -> int:
        """How many frames a waveform of this many samples has."""
        return 1 + samples // self.hop

    def decibels(self, waveforms: Tensor) -> Tensor:
        """Without the standardization."""
        mel, to_decibels = _torchaudio(self.n_fft, self.hop, self.bands)
        with torch.no_grad():
            return to_decibels(mel(waveforms)).unsqueeze(1)

    def __call__(self, waveforms: Tensor) -> Tensor:
        return self.standardized(self.decibels(waveforms))

    def standardized(self, decibels: Tensor) -> Tensor:
        """(x - mean) / std."""
        return (decibels - self.mean) / self.std


@cache
def _torchaudio(n_fft: int, hop: int, bands: int) -> tuple[Any, Any]:
    require("torchaudio", extra="bench", purpose="log-mel spectrograms")
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram  # type: ignore[import-untyped, unused-ignore]

    mel = MelSpectrogram(SAMPLE_RATE, n_fft=n_fft, hop_length=hop, n_mels=bands, normalized=True)
    return mel, AmplitudeToDB("power")
