"""Synthesized keywords: who says what in which split, that anyone gets the same, and what is served."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from bibench.data import espeak, formants, noisy_words
from bibench.data.audio import LogMel
from bibench.data.location import CACHE
from bibench.data.speech_commands import KEYWORDS
from bibench.foundation.errors import DataError, MissingLibraryError
from bibench.tasks import TASKS
from bibench.tasks.base import SPLITS
from bibench.tasks.embedded_words import SPEAKERS, EmbeddedWords
from bibench.tasks.formant_words import FormantWords
from bibench.tasks.spoken_words import SpokenWords, deal, family

needs_espeak = pytest.mark.skipif(bool(espeak.need()), reason="espeakng-loader is not installed")
task_of_words = pytest.mark.parametrize(
    "task",
    [
        pytest.param(FormantWords, marks=pytest.mark.slow),
        pytest.param(SpokenWords, marks=[needs_espeak, pytest.mark.slow]),
    ],
)


@task_of_words
def test_what_is_declared_is_what_is_served(task: type[EmbeddedWords]) -> None:
    made = task()
    assert task.embedded and task.stands_in_for == TASKS["speech_commands"].title and "embedded" in task.title
    assert task.source and task.licence and made.missing() == ""
    for split in SPLITS:
        batches = made.batches(split, batch_size=500)
        labels = torch.cat([batch.targets for batch in batches.epoch(0)])
        assert batches.examples == SPEAKERS[split] * 10
        assert torch.bincount(labels).tolist() == [SPEAKERS[split]] * 10
    assert task.train_examples == SPEAKERS["train"] * 10
    batch = next(made.batches("train", batch_size=500, seed=0).epoch(0))
    assert batch.inputs[0].shape == (500, 1, 32, 32) == (500, *made.example_inputs().shape[1:])
    assert batch.inputs[0].dtype == torch.float32
    assert batch.inputs[0].mean().abs() < 0.6 and 0.4 < batch.inputs[0].std() < 1.5


@task_of_words
def test_speakers_are_in_one_split_only(task: type[EmbeddedWords]) -> None:
    made = task()
    speakers = {split: set(made.speakers(split)) for split in SPLITS}
    assert all(len(speakers[split]) > 10 for split in SPLITS)
    for first in SPLITS:
        for second in SPLITS:
            assert first == second or not speakers[first] & speakers[second]


@task_of_words
def test_training_sees_shifted_windows_and_evaluation_the_middle(task: type[EmbeddedWords]) -> None:
    made = task()
    decibels, labels = made.arrays("test")
    spare = decibels.shape[-1] - 32
    assert spare == 6
    standardized = made.features.standardized(decibels)
    plain = next(made.batches("test", batch_size=64).epoch(0))
    assert torch.equal(plain.inputs[0], standardized[:64, ..., 3:35])
    assert torch.equal(plain.targets, labels[:64])
    windows = {standardized[i, ..., s : s + 32].numpy().tobytes(): (i, s) for i in range(800) for s in range(spare + 1)}
    found = [
        (windows[x.contiguous().numpy().tobytes()], int(y))
        for batch in made.batches("test", batch_size=64, seed=1).epoch(0)
        for x, y in zip(batch.inputs[0], batch.targets, strict=True)
    ]
    assert {start for (_, start), _ in found} == set(range(spare + 1))
    assert all(labels[example] == label for (example, _), label in found)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A handful of speakers, and a cache of the test's own."""
    monkeypatch.setitem(SPEAKERS, "train", 6)
    monkeypatch.setitem(SPEAKERS, "validation", 2)
    monkeypatch.setitem(SPEAKERS, "test", 3)
    monkeypatch.setenv(CACHE, str(tmp_path / "one"))
    return tmp_path


@task_of_words
def test_everyone_synthesizes_the_same(task: type[EmbeddedWords], few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when eSpeak has spoken before: it always speaks in a process of its own."""
    checksum = task().checksum()
    monkeypatch.setenv(CACHE, str(few / "two"))
    assert task().checksum() == checksum
    made = (few / "two" / f"{task.name}-v1").glob("[!.]*")  # beside their checksums
    assert sorted(f.name for f in made) == [f"{s}.npz" for s in sorted(SPLITS)]

    def spoken(*args: object) -> None:
        raise AssertionError("synthesized again")

    monkeypatch.setattr(task, "spoken", spoken)
    task().prepare()
    assert task().checksum() == checksum


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", None])
def test_damaged_cache_is_told_with_the_fix(few: Path, damage: bytes | None) -> None:
    FormantWords().prepare()
    file = few / "one" / "formant_words-v1" / "test.npz"
    if damage is None:
        np.savez(file, labels=np.zeros(3))
    else:
        file.write_bytes(damage)
    with pytest.raises(
        DataError, match=r"test\.npz is damaged \(.*\); delete .*formant_words-v1 to have it made again"
    ):
        FormantWords().batches("test", batch_size=2)


# -- eSpeak ------------------------------------------------------------------------------------------------


@needs_espeak
def test_relatives_are_dealt_together() -> None:
    voices = espeak.voices()
    dealt = deal(voices)
    assert sorted(voice for split in SPLITS for voice in dealt[split]) == voices
    families = {split: {family(voice) for voice in dealt[split]} for split in SPLITS}
    assert not families["train"] & families["test"]
    assert not families["train"] & families["validation"]
    assert not families["validation"] & families["test"]
    assert [family(v) for v in ("klatt2", "Mike", "mike2", "f1", "m3")] == ["klatt", "mike", "mike", "f1", "m3"]


@needs_espeak
def test_voices_and_accents_and_words_differ(tmp_path: Path) -> None:
    said = [
        espeak.Utterance(word, voice, accent, 160, 50, 50)
        for word in ("yes", "no")
        for voice in ("f1", "m3")
        for accent in espeak.ACCENTS
    ]
    clips = espeak.speak(said, tmp_path)
    assert len(clips) == len(said)
    assert all(0.1 < len(clip) / espeak.RATE < 1.5 and np.abs(clip).max() > 1000 for clip in clips)
    assert len({clip.tobytes() for clip in clips}) == len(said)
    again = espeak.speak(said, tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(clips, again, strict=True))
    assert list(tmp_path.iterdir()) == []


@needs_espeak
def test_a_failing_speaker_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"eSpeak NG failed \(.*eSpeak NG has no voice xx-none\+f1; .*install it again"):
        espeak.speak([espeak.Utterance("yes", "f1", "xx-none", 160, 50, 50)], tmp_path)


def test_without_the_library_the_task_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if "espeak" in name else found(name, *more)
    )
    assert "needs the library espeakng-loader, which is not installed" in SpokenWords().missing()
    assert "pip install 'bibench[speech]'" in SpokenWords().missing()
    with pytest.raises(MissingLibraryError, match=r"task 'spoken_words': .*espeakng-loader"):
        SpokenWords().prepare()
    assert FormantWords().missing() == ""


# -- formants ----------------------------------------------------------------------------------------------


def test_vowels_have_their_formants() -> None:
    """The vowel of "on" has its first two resonances near the targets, moved by the length of the vocal tract."""
    for tract in (1.0, 1.2):
        accent = {name: np.ones(3) for name in formants.PHONES}
        speaker = formants.Speaker(100.0, 0.0, tract, accent, 1.5, 0.05, 3000.0, 0.002)
        word = np.mean(
            [
                np.abs(np.fft.rfft(formants.speak("on", speaker, np.random.RandomState(seed))[800:2400], 16_000))
                for seed in range(8)
            ],
            0,
        )
        smooth = np.convolve(word, np.ones(150) / 150, "same")
        low = 400 + smooth[400:950].argmax()
        assert low == pytest.approx(730 * tract, rel=0.2)
        valley = smooth[round(2000 * tract * 0.95) : round(2000 * tract * 1.05)].mean()
        assert smooth[round(1150 * tract)] > 2 * valley


def test_words_of_a_speaker_differ_and_repeat_by_seed() -> None:
    assert tuple(formants.WORDS) == KEYWORDS
    speaker = formants.draw_speaker(np.random.RandomState(0))
    said = {word: formants.speak(word, speaker, np.random.RandomState(1)) for word in KEYWORDS}
    for word, samples in said.items():
        assert 0.1 < len(samples) / formants.RATE < 1
        assert np.sqrt(np.mean(samples**2)) == pytest.approx(0.1)
        assert np.array_equal(samples, formants.speak(word, speaker, np.random.RandomState(1)))
        assert not np.array_equal(samples, formants.speak(word, speaker, np.random.RandomState(2)))
    high = [
        np.abs(np.fft.rfft(said[w], 16_000))[5000:].sum() / np.abs(np.fft.rfft(said[w], 16_000)).sum()
        for w in ("yes", "no")
    ]
    assert high[0] > 3 * high[1], "an s hisses"


# -- noise -------------------------------------------------------------------------------------------------


def test_words_are_in_noise_of_the_stated_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.RandomState(0)
    tone = np.sin(2 * np.pi * 1000 * np.arange(6000) / 16_000)
    for ratio in (5.0, 25.0):
        monkeypatch.setattr(noisy_words, "SNR", (ratio, ratio))
        powers, places = [], []
        for _ in range(30):
            stretch = noisy_words.in_noise(tone, random)
            assert stretch.shape == (noisy_words.STRETCH,)
            lock = np.exp(-2j * np.pi * 1000 * np.arange(len(stretch)) / 16_000)
            envelope = np.abs(np.convolve(stretch * lock, np.ones(6000), "valid"))
            place = int(envelope.argmax())
            outside = np.delete(stretch, np.arange(max(0, place - 200), place + 6200))
            inside = (2 * envelope.max() / 6000) ** 2 / 2
            powers.append(10 * np.log10(inside / np.mean(outside**2)))
            places.append(place)
        assert np.mean(powers) == pytest.approx(ratio, abs=1)
        assert min(places) >= noisy_words.BEFORE - 200 and max(places) <= noisy_words.BEFORE + 10_000 + 200
        assert max(places) - min(places) > 5000


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_noise_has_its_colour(slope: float) -> None:
    noise = noisy_words.coloured_noise(1 << 16, slope, np.random.RandomState(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.arange(len(power)) * 16_000 / (1 << 16)
    low, high = (power[(hertz > f) & (hertz < 1.5 * f)].mean() for f in (300, 3000))
    assert np.mean(noise**2) == pytest.approx(1)
    assert np.log10(low / high) == pytest.approx(slope, abs=0.1)


def test_spectrograms_are_those_of_each_word_in_turn() -> None:
    words = [np.sin(np.arange(3000) * f) for f in (0.1, 0.2, 0.3)] * 50
    made = noisy_words.spectrograms(iter(words), LogMel(), np.random.RandomState(0))
    random = np.random.RandomState(0)
    one_by_one = [torch.from_numpy(noisy_words.in_noise(word, random)).float() for word in words]
    assert made.shape == (150, 1, 32, 38)
    torch.testing.assert_close(made[140], LogMel().decibels(one_by_one[140][None])[0], rtol=1e-4, atol=1e-3)


def test_trimming_removes_silence_only() -> None:
    word = np.concatenate([np.zeros(50), [0.5, 0, -1, 0.2], np.zeros(9)])
    assert noisy_words.trimmed(word).tolist() == [0.5, 0, -1, 0.2]
