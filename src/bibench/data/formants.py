"""Words from a formant synthesizer: a source and a filter after Klatt (JASA 1980), with many virtual speakers.

A glottal pulse train and noise pass through four moving resonances; fricatives and bursts are noise in
their own band. A speaker is a pitch, a vocal-tract length, an accent (displaced vowels), a tempo and a
voice quality, all drawn from a seed. It is intelligible but plainly synthetic: it stands in for recorded
speech where nothing else may be installed. Targets are textbook averages of adult male speakers
(Peterson & Barney, JASA 1952, and Klatt's tables), rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
HOP, WINDOW, FFT = 80, 320, 512  # 5 ms frames, 20 ms windows
BANDWIDTHS = (60.0, 90.0, 150.0, 250.0)

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Phone:
    """A target of the synthesizer: formants in Hz, duration in ms, and how loud voice and noise are.

    `band` is the centre and width of the noise in Hz, scaled with the vocal tract.
    """

    formants: tuple[float, float, float]
    ms: float
    voice: float = 1.0
    noise: float = 0.0
    band: tuple[float, float] = (4000.0, 2000.0)


PHONES = {
    "j": Phone((280, 2250, 2950), 60, 0.8),
    "l": Phone((360, 1100, 2700), 70, 0.8),
    "r": Phone((330, 1150, 1600), 80, 0.8),
    "n": Phone((270, 1500, 2500), 80, 0.45),
    "e": Phone((550, 1800, 2500), 120),
    "a": Phone((730, 1150, 2450), 120),
    "ah": Phone((640, 1190, 2390), 110),
    "aw": Phone((590, 860, 2410), 140),
    "o": Phone((480, 900, 2400), 110),
    "u": Phone((330, 900, 2250), 90, 0.9),
    "i": Phone((320, 2100, 2850), 80, 0.9),
    "s": Phone((400, 1600, 2600), 120, 0.0, 0.35, (6200, 2200)),
    "f": Phone((400, 1100, 2300), 110, 0.0, 0.10, (4500, 6000)),
    "closed t": Phone((350, 1750, 2650), 55, 0.0),
    "burst t": Phone((350, 1750, 2650), 25, 0.0, 0.5, (4200, 2500)),
    "closed p": Phone((350, 900, 2300), 60, 0.0),
    "burst p": Phone((350, 900, 2300), 20, 0.0, 0.25, (1000, 1500)),
    "closed d": Phone((250, 1750, 2650), 45, 0.12),
    "burst d": Phone((300, 1750, 2650), 12, 0.3, 0.35, (4000, 2500)),
    "closed g": Phone((250, 1900, 2300), 50, 0.12),
    "burst g": Phone((300, 1700, 2200), 18, 0.3, 0.35, (2000, 900)),
}

WORDS = {
    "yes": ("j", "e", "s"),
    "no": ("n", "o", "u"),
    "up": ("ah", "closed p", "burst p"),
    "down": ("closed d", "burst d", "a", "u", "n"),
    "left": ("l", "e", "f", "closed t", "burst t"),
    "right": ("r", "a", "i", "closed t", "burst t"),
    "on": ("a", "n"),
    "off": ("aw", "f"),
    "stop": ("s", "closed t", "burst t", "a", "closed p", "burst p"),
    "go": ("closed g", "burst g", "o", "u"),
}
"""The ten keywords of Speech Commands in phones."""


@dataclass(frozen=True)
class Speaker:
    """A virtual speaker.

    Attributes:
        pitch: in Hz; `fall`: how far it falls over a word, relative.
        tract: factor of all resonances (1 adult male, 1.2 female, 1.3 child).
        accent: displacement of each phone's formants, as factors.
        tempo: factor of durations.
        breath: share of noise in the voice; `tilt`: corner of the source's spectrum in Hz.
        jitter: relative irregularity of the pitch.
    """

    pitch: float
    fall: float
    tract: float
    accent: dict[str, NDArray[np.float64]]
    tempo: float
    breath: float
    tilt: float
    jitter: float


def draw_speaker(random: np.random.RandomState) -> Speaker:
    """A speaker by chance; higher voices have shorter vocal tracts."""
    pitch = float(np.exp(random.uniform(np.log(80), np.log(280))))
    height = (np.log(pitch) - np.log(80)) / (np.log(280) - np.log(80))
    return Speaker(
        pitch=pitch,
        fall=random.uniform(-0.05, 0.3),
        tract=float(0.9 + 0.3 * height + random.normal(0, 0.05)),
        accent={name: np.exp(random.normal(0, 0.1, 3)) for name in PHONES},
        tempo=random.uniform(0.75, 1.4),
        breath=random.uniform(0.02, 0.35),
        tilt=float(np.exp(random.uniform(np.log(600), np.log(3000)))),
        jitter=random.uniform(0.002, 0.03),
    )


def speak(word: str, speaker: Speaker, random: np.random.RandomState) -> Samples:
    """`word` by `speaker`, (L,) at 16 kHz with a root mean square of 0.1; no two utterances are the same."""
    tracks = _tracks(word, speaker, random)
    frames = len(tracks.voice)
    length = frames * HOP + WINDOW
    pulses = _voice_source(speaker, length, random)
    hiss = random.normal(0, 1, length)
    spectra = _spectra(pulses, frames) + speaker.breath * _spectra(hiss, frames)
    frequencies = np.arange(FFT // 2 + 1) * RATE / FFT
    tilt = 1 / np.sqrt(1 + (frequencies / speaker.tilt) ** 2)
    voiced = spectra * tilt * _resonances(tracks.formants, frequencies) * tracks.voice[:, None]
    band = np.exp(-0.5 * ((frequencies - tracks.centre[:, None]) / (tracks.width[:, None] / 2)) ** 2)
    noisy = _spectra(random.normal(0, 1, length), frames) * band * tracks.noise[:, None]
    samples = _overlap_add(voiced / (np.sqrt(np.mean(np.abs(voiced) ** 2)) + 1e-12) + noisy / np.sqrt(WINDOW), length)
    return 0.1 * samples / np.sqrt(np.mean(samples**2))


@dataclass(frozen=True)
class _Tracks:
    """What the synthesizer does in each frame: formants (T, 4), and (T,) each of the rest."""

    formants: Samples
    voice: Samples
    noise: Samples
    centre: Samples
    width: Samples


def _tracks(word: str, speaker: Speaker, random: np.random.RandomState) -> _Tracks:
    formants, levels, bands = [], [], []
    for name in WORDS[word]:
        phone = PHONES[name]
        count = max(2, round(phone.ms * speaker.tempo * random.uniform(0.8, 1.25) / 5))
        target = np.array(phone.formants) * speaker.accent[name] * np.exp(random.normal(0, 0.05, 3))
        formants += [[*target, 3600.0]] * count
        levels += [(phone.voice, phone.noise * random.uniform(0.6, 1.6))] * count
        bands += [phone.band] * count
    smooth_levels = _smooth(np.array(levels), 3)
    band = _smooth(np.array(bands), 3) * speaker.tract
    moved = _smooth(np.array(formants), 11) * speaker.tract
    return _Tracks(moved, smooth_levels[:, 0], smooth_levels[:, 1], band[:, 0], band[:, 1])


def _smooth(track: Samples, frames: int) -> Samples:
    """A moving average over time, with the ends held: coarticulation."""
    padded = np.pad(track, ((frames // 2, frames // 2), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    return (sums[frames:] - sums[:-frames]) / frames


def _voice_source(speaker: Speaker, length: int, random: np.random.RandomState) -> Samples:
    """The derivative of glottal flow pulses (Rosenberg's shape): open 60 % of the period, closing fast."""
    time = np.linspace(0, 1, length)
    wander = np.repeat(random.normal(0, speaker.jitter, length // 160 + 1), 160)[:length]
    pitch = speaker.pitch * (1 - speaker.fall * time) * (1 + wander)
    phase = np.cumsum(pitch / RATE) % 1.0
    rising, falling = phase < 0.4, (phase >= 0.4) & (phase < 0.6)
    flow = np.where(rising, 0.5 * (1 - np.cos(np.pi * phase / 0.4)), 0.0)
    flow = np.where(falling, np.cos(np.pi / 2 * (phase - 0.4) / 0.2), flow)
    pulses = np.diff(flow, prepend=0.0)
    return pulses / (np.sqrt(np.mean(pulses**2)) + 1e-12)


def _resonances(formants: Samples, frequencies: Samples) -> Samples:
    """Magnitude of four second-order resonances in cascade, each of unit gain at 0 Hz: (T, frequencies)."""
    angles = 2 * np.pi * frequencies / RATE
    cosine, double = np.cos(angles), np.cos(2 * angles)
    power = np.ones((len(formants), len(frequencies)))
    for index, bandwidth in enumerate(BANDWIDTHS):
        c = np.exp(-2 * np.pi * bandwidth / RATE)
        b = 2 * np.sqrt(c) * np.cos(2 * np.pi * np.minimum(formants[:, index, None], 7500.0) / RATE)
        # |1 - b z + c z²|² with z = exp(-i angle), from the differences of the angles
        power *= (1 - b + c) ** 2 / (1 + b**2 + c**2 - 2 * b * (1 + c) * cosine + 2 * c * double)
    return np.sqrt(power)


_TAPER = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW))


def _spectra(samples: Samples, frames: int) -> NDArray[np.complex128]:
    starts = np.arange(frames)[:, None] * HOP
    return np.fft.rfft(samples[starts + np.arange(WINDOW)] * _TAPER, FFT)


def _overlap_add(spectra: NDArray[np.complex128], length: int) -> Samples:
    pieces = np.fft.irfft(spectra, FFT)[:, :WINDOW] * _TAPER
    samples = np.zeros(length)
    for part in range(WINDOW // HOP):  # the parts with one number in all pieces lie side by side
        samples[part * HOP : part * HOP + len(pieces) * HOP] += pieces[:, part * HOP : (part + 1) * HOP].ravel()
    return samples
