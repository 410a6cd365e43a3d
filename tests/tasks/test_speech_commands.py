"""Speech Commands end to end on tiny files in the true form: classes, silence, noise, splits, damage, training."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bibench.contracts import check
from bibench.data.audio import LogMel, read_wave
from bibench.data.location import DATA_ROOT
from bibench.data.speech_commands import CLASSES, KEYWORDS, NOISE_FOLDER, WORDS
from bibench.foundation.errors import DataError
from bibench.tasks import TASKS
from bibench.tasks.speech_commands import RECIPES, SpeechCommandsTask, SpeechCommandsV1, SpeechCommandsV2

from ..data.test_audio import write
from ..data.test_speech_commands import LISTED, speech_commands

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    speech_commands(folder / "speech_commands_v0.01", "v0.01")
    speech_commands(folder / "speech_commands_v0.02", "v0.02", lists=False)
    return folder


VERSIONS = pytest.mark.parametrize("task", [SpeechCommandsV1, SpeechCommandsV2])


@VERSIONS
def test_every_contract_holds(task: type[SpeechCommandsTask], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_ROOT, str(root))
    assert not [f for f in check("task", task.name) if f.problem]


@VERSIONS
def test_classes_and_their_shares(task: type[SpeechCommandsTask], root: Path) -> None:
    """One clip of each word and split: ten keywords, the others unknown, and a tenth as much silence."""
    words = len(WORDS[task.version])
    for split in ("train", "validation", "test"):
        batches = task(root).batches(split, batch_size=100)
        (batch,) = batches.epoch(0)
        counts = torch.bincount(batch.targets, minlength=12).tolist()
        assert counts == [1] * 10 + [words // 10, words - 10]
        assert CLASSES[10:] == ("_silence_", "_unknown_")
        assert batches.examples == words + words // 10
        assert batch.inputs[0].shape == (batches.examples, 1, 32, 32)


def test_published_numbers() -> None:
    """The paper's collapsed operators score the share of unknown: of validation in its Table 12, once of test."""
    assert TASKS["speech_commands"].chance == pytest.approx(0.5677, abs=5e-5)
    assert TASKS["speech_commands_v2"].chance == pytest.approx(0.5726, abs=5e-5)
    for task, validation, test in ((SpeechCommandsV1, 6798, 6835), (SpeechCommandsV2, 9981, 11_005)):
        clips = task.clips - validation - test
        assert task.train_examples == clips + clips // 10


def test_what_is_evaluated_is_the_recording_untouched(root: Path) -> None:
    task = SpeechCommandsV1(root)
    batch = next(task.batches("test", batch_size=33).epoch(0))
    name = LISTED["test"][0].rpartition("/")[2]
    for index, word in enumerate(sorted(WORDS["v0.01"])):
        waveform = read_wave(root / "speech_commands_v0.01" / word / name)
        padded = torch.zeros(1, 16_000)
        padded[0, : len(waveform)] = waveform
        torch.testing.assert_close(batch.inputs[0][index], LogMel()(padded)[0], rtol=1e-4, atol=1e-4)
        assert CLASSES[batch.targets[index]] == (word if word in KEYWORDS else "_unknown_")
    silence = LogMel()(torch.zeros(1, 16_000))[0]
    assert all(torch.equal(x, silence) for x in batch.inputs[0][30:])


def test_training_clips_are_changed_by_seed_and_epoch(root: Path) -> None:
    def features(seed: int, epoch: int) -> list[torch.Tensor]:
        batches = SpeechCommandsV1(root).batches("train", batch_size=33, seed=seed)
        return [x for batch in batches.epoch(epoch) for x in batch.inputs[0]]

    def first(seed: int, epoch: int) -> bytes:
        return torch.stack(features(seed, epoch)).numpy().tobytes()

    assert first(1, 0) == first(1, 0)
    assert len({first(1, 0), first(1, 1), first(2, 0)}) == 3
    plain = {
        x.numpy().tobytes() for x in next(SpeechCommandsV1(root).batches("train", batch_size=33).epoch(0)).inputs[0]
    }
    changed = sum(x.numpy().tobytes() not in plain for epoch in range(4) for x in features(1, epoch))
    assert changed > 4 * 33 / 2
    silence = LogMel()(torch.zeros(1, 16_000))[0]
    noisy = [
        x
        for x in features(1, 0) + features(1, 1) + features(1, 2)
        if float(x.max()) < 6 and not torch.equal(x, silence)
    ]
    assert noisy


def test_silence_gets_noise_in_training(root: Path) -> None:
    batches = SpeechCommandsV1(root).batches("train", batch_size=33, seed=0)
    silence = CLASSES.index("_silence_")
    clips = [
        x
        for epoch in range(12)
        for batch in batches.epoch(epoch)
        for x, y in zip(*batch.inputs, batch.targets, strict=True)
        if y == silence
    ]
    quiet = sum(float(x.max() - x.min()) < 1e-5 for x in clips)
    assert len(clips) == 36
    assert 12 < quiet < 36, "noise is mixed into about 30 %"


def test_workers_change_nothing(root: Path) -> None:
    alone = SpeechCommandsV1(root).batches("train", batch_size=8, seed=3)
    helped = SpeechCommandsV1(root, workers=2).batches("train", batch_size=8, seed=3)
    for ours, theirs in zip(alone.epoch(1), helped.epoch(1), strict=True):
        assert torch.equal(ours.inputs[0], theirs.inputs[0]) and torch.equal(ours.targets, theirs.targets)


def test_checksum_tells_another_file_and_another_split(root: Path, tmp_path: Path) -> None:
    folder = speech_commands(tmp_path / "speech_commands_v0.01")
    before = SpeechCommandsV1(tmp_path).checksum()
    assert before == SpeechCommandsV1(tmp_path).checksum() == SpeechCommandsV1(root).checksum()
    write(folder / "yes" / "00176480_nohash_3.wav", np.arange(100))
    longer = SpeechCommandsV1(tmp_path).checksum()
    with (folder / "testing_list.txt").open("a") as stream:
        stream.write("yes/00176480_nohash_3.wav\n")
    assert len({before, longer, SpeechCommandsV1(tmp_path).checksum()}) == 3


@pytest.mark.parametrize("seed", [None, 0])
def test_a_damaged_clip_is_named_when_it_is_read(tmp_path: Path, seed: int | None) -> None:
    folder = speech_commands(tmp_path / "speech_commands_v0.01")
    file = folder / "yes" / LISTED["train"][0].rpartition("/")[2]
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"yes/00176480_nohash_0\.wav is cut off: its header states"):
        list(SpeechCommandsV1(tmp_path).batches("train", batch_size=8, seed=seed).epoch(0))


def test_damaged_noise_is_named_before_training(tmp_path: Path) -> None:
    folder = speech_commands(tmp_path / "speech_commands_v0.01")
    write(folder / NOISE_FOLDER / "pink_noise.wav", np.arange(100), rate=44_100)
    with pytest.raises(DataError, match=r"pink_noise\.wav has 1 channel\(s\) of 16 bits at 44100 Hz"):
        SpeechCommandsV1(tmp_path).batches("train", batch_size=8, seed=0)


def test_what_is_missing_is_told_with_the_fix(tmp_path: Path) -> None:
    assert SpeechCommandsV1().missing().startswith("no data root given; pass --data-root or set $BIBENCH_DATA")
    told = SpeechCommandsV2(tmp_path).missing()
    assert (
        "has no speech_commands_v0.02/; fetch http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz" in told
    )
    folder = speech_commands(tmp_path / "speech_commands_v0.02", "v0.02")
    assert SpeechCommandsV2(tmp_path).missing() == ""
    (folder / "fish").mkdir()
    assert "fish is no word of Speech Commands v0.02" in SpeechCommandsV2(tmp_path).missing()
    with pytest.raises(DataError, match=r"task 'speech_commands_v2': .*fish"):
        SpeechCommandsV2(tmp_path).prepare()


def test_recipes() -> None:
    assert RECIPES["paper"].optimizer == "adam"
    release = RECIPES["release"]
    assert (release.optimizer, release.lr, release.momentum, release.weight_decay) == ("sgd_nesterov", 5e-3, 0.9, 1e-4)
    assert release.warmup * release.epochs == pytest.approx(5)
    for recipe in (RECIPES["paper"], release):
        baseline = recipe.for_operator(full_precision=True)
        assert (baseline.optimizer, baseline.lr, baseline.weight_decay) == ("sgd_nesterov", 1e-3, 1e-2)
        assert baseline.epochs == recipe.epochs == 300 and recipe.batch_size == 96
