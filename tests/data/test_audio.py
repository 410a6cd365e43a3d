"""Wave files, sound and damaged; each change of a waveform; log-mel against an independent implementation."""

import math
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from bibench.data.audio import (
    SAMPLE_RATE,
    Augmentation,
    LogMel,
    change_amplitude,
    change_speed,
    fit_length,
    mix_noise,
    read_wave,
    resampler,
    shift,
)
from bibench.foundation.errors import DataError


def write(path: Path, samples: np.ndarray, *, rate: int = SAMPLE_RATE, channels: int = 1, width: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype({1: "u1", 2: "<i2", 4: "<i4"}[width]).tobytes())
    return path


def test_reads_what_was_written(tmp_path: Path) -> None:
    samples = np.array([0, 1, -1, 32767, -32768, 12345])
    waveform = read_wave(write(tmp_path / "a.wav", samples))
    assert waveform.dtype == torch.float32
    assert waveform.tolist() == (samples / 32768).tolist()


def test_skips_foreign_chunks(tmp_path: Path) -> None:
    """Recordings of the noise folder carry chunks with comments."""
    file = write(tmp_path / "a.wav", np.arange(10))
    plain = file.read_bytes()
    comment = b"LIST" + struct.pack("<I", 6) + b"secret"
    data = plain[:36] + comment + plain[36:]
    file.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    assert (read_wave(file) * 32768).tolist() == list(range(10))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda data: data[:-7], r"a\.wav is cut off: its header states 1000 samples, it has 996; restore it"),
        (lambda data: data[:30], r"a\.wav is no readable wave file \(it ends in its header\)"),
        (lambda data: b"", r"a\.wav is no readable wave file"),
        (lambda data: b"OggS" + data[4:], r"a\.wav is no readable wave file \(file does not start with RIFF id\)"),
        (lambda data: data[:20] + b"\x55\x00" + data[22:], r"a\.wav is no readable wave file \(unknown format: 85\)"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage, told: str) -> None:
    file = write(tmp_path / "a.wav", np.arange(1000))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=told):
        read_wave(file)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"rate": 8000}, r"has 1 channel\(s\) of 16 bits at 8000 Hz; expected 1 of 16 bits at 16000 Hz"),
        ({"channels": 2}, r"has 2 channel\(s\) of 16 bits"),
        ({"width": 1}, r"of 8 bits at 16000 Hz"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, form: dict, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_wave(write(tmp_path / "a.wav", np.arange(100), **form))


def test_empty_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.wav is empty: it holds no samples"):
        read_wave(write(tmp_path / "a.wav", np.zeros(0)))
    with pytest.raises(DataError, match=r"b\.wav is missing; restore"):
        read_wave(tmp_path / "b.wav")
    (tmp_path / "c.wav").mkdir()
    with pytest.raises(DataError, match=r"c\.wav cannot be read .*a folder is in its place"):
        read_wave(tmp_path / "c.wav")


# -- changes -----------------------------------------------------------------------------------------------


def test_each_change() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert shift(x, 1).tolist() == [0, 1, 2, 3]
    assert shift(x, -3).tolist() == [4, 0, 0, 0]
    assert shift(x, 9).tolist() == shift(x, -9).tolist() == [0, 0, 0, 0]
    assert fit_length(x, 6).tolist() == [1, 2, 3, 4, 0, 0]
    assert fit_length(x, 2).tolist() == [1, 2]
    assert change_amplitude(x, 0.5).tolist() == [0.5, 1, 1.5, 2]
    assert change_speed(x, 0.5).shape == (2,)
    noise = torch.tensor([10.0, 20.0, 30.0])
    torch.testing.assert_close(mix_noise(x, noise, 2, 0.1), 0.9 * x + 0.1 * torch.tensor([30.0, 10.0, 20.0, 30.0]))
    assert torch.equal(mix_noise(x, noise, 0, 0.0), x)


@pytest.mark.parametrize("stretch", [0.8, 1.2])
def test_speed_changes_duration_and_pitch(stretch: float) -> None:
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    changed = change_speed(torch.sin(2 * math.pi * 440 * time), stretch)
    assert changed.shape == (round(SAMPLE_RATE * stretch),)
    loudest = torch.fft.rfft(changed).abs().argmax() * SAMPLE_RATE / changed.shape[0]
    assert loudest == pytest.approx(440 / stretch, abs=1)


def test_augmentation_is_a_function_of_the_generator() -> None:
    x, noises = torch.randn(2000), [torch.randn(5000), torch.randn(300)]
    change = Augmentation()

    def changed(seed: int) -> torch.Tensor:
        return change(x, noises, torch.Generator().manual_seed(seed))

    assert all(torch.equal(changed(seed), changed(seed)) for seed in range(20))
    assert len({changed(seed).numpy().tobytes() for seed in range(40)}) > 25
    torch.manual_seed(3)
    assert torch.equal(change(x, noises), changed(3)), "the default generator serves without one"


def test_probabilities_and_ranges_of_the_recipe() -> None:
    """Counted over many draws of each change alone."""
    silent = {"noise_probability": 0.0, "probability": 0.0}
    x = torch.ones(16_000)
    random = torch.Generator().manual_seed(0)
    count = 600

    def draws(change: Augmentation, noises: list[torch.Tensor]) -> list[torch.Tensor]:
        return [change(x, noises, random) for _ in range(count)]

    assert all(torch.equal(y, x) for y in draws(Augmentation(**silent), [x]))
    levels = [1 - float(y[0]) for y in draws(Augmentation(**silent | {"noise_probability": 0.3}), [torch.zeros(50)])]
    assert sum(level > 0 for level in levels) / count == pytest.approx(0.3, abs=0.06)
    assert 0.25 < max(levels) <= 0.3
    one = Augmentation(noise_probability=0.0)
    made = draws(one, [])
    lengths = [len(y) / 16_000 for y in made]
    assert sum(length != 1 for length in lengths) / count == pytest.approx(0.5, abs=0.07)
    assert 0.8 <= min(lengths) < 0.83 and 1.17 < max(lengths) <= 1.2
    loudness = [float(y.max()) for y in made]
    assert min(loudness) >= 0.7 - 1e-6 and max(loudness) <= 1.1 + 1e-6
    assert sum(abs(value - 1) > 1e-6 for value in loudness) / count == pytest.approx(0.5, abs=0.07)
    zeros = [int((y == 0).sum()) for y in made]
    assert sum(n > 0 for n in zeros) / count == pytest.approx(0.5, abs=0.07)
    assert 3000 < max(zeros) <= 3200
    assert sum(y[0] == 0 for y in made) and sum(y[-1] == 0 for y in made), "to both sides"


# -- features ----------------------------------------------------------------------------------------------


def log_mel(x: np.ndarray, n_fft: int, hop: int, bands: int) -> np.ndarray:
    """From the definition, in float64: frames, Hann window, power over window energy, HTK triangles, decibels."""
    padded = np.pad(x, n_fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = np.stack([padded[t * hop : t * hop + n_fft] * window for t in range(1 + len(x) // hop)])
    power = np.abs(np.fft.rfft(frames)) ** 2 / (window**2).sum()

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    edges = [700 * (10 ** (m / 2595) - 1) for m in np.linspace(0, mel(SAMPLE_RATE / 2), bands + 2)]
    frequencies = np.linspace(0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    energies = np.empty((bands, len(frames)))
    for band in range(bands):
        low, middle, high = edges[band : band + 3]
        rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
        energies[band] = power @ np.clip(np.minimum(rising, falling), 0, None)
    return 10 * np.log10(np.maximum(energies, 1e-10))


@pytest.mark.parametrize("features", [LogMel(), LogMel(n_fft=512, hop=160, bands=40)])
def test_log_mel_equals_its_definition(features: LogMel) -> None:
    random = np.random.RandomState(0)
    sweep = np.sin(2 * np.pi * np.cumsum(np.linspace(50, 7900, SAMPLE_RATE)) / SAMPLE_RATE)
    waves = np.stack([random.normal(0, 0.1, SAMPLE_RATE), sweep + random.normal(0, 0.01, SAMPLE_RATE)])
    ours = features.decibels(torch.from_numpy(waves).float())
    assert ours.shape == (2, 1, features.bands, features.frames(SAMPLE_RATE))
    for index in range(2):
        theirs = log_mel(waves[index], features.n_fft, features.hop, features.bands)
        np.testing.assert_allclose(ours[index, 0].numpy(), theirs, rtol=0, atol=2e-2)
    torch.testing.assert_close(features(torch.from_numpy(waves).float()), (ours - features.mean) / features.std)


def test_one_second_is_32_by_32_and_silence_is_finite() -> None:
    silence = LogMel()(torch.zeros(1, SAMPLE_RATE))
    assert silence.shape == (1, 1, 32, 32)
    assert silence.unique().tolist() == [pytest.approx((-100 - LogMel().mean) / LogMel().std)]


def test_resampling_keeps_frequencies() -> None:
    time = np.arange(22_050) / 22_050
    tone = resampler(22_050)(np.sin(2 * np.pi * 1000 * time))
    assert tone.shape == (16_000,)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(tone[200:-200], expected[200:-200], atol=2e-3)
