"""Speech Commands v0.01 and v0.02 (Warden, 2018): one-second clips of single words by thousands of speakers.

https://arxiv.org/abs/1804.03209. Twelve classes as in BiFSMN and the paper: ten keywords; unknown, which
is every clip of any other word; and silence, one clip of zeros for every ten clips of the split. So the
majority class is unknown, at 57 %, and a constant answer scores that: the 56.45 and 56.77 of the paper's
table are such collapses. The TensorFlow tutorial's protocol, with 10 % unknown, is another one. The
paper reports its validation split; here validation is only watched and the test split is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from bibench.data.audio import SAMPLE_RATE, Augmentation, LogMel, fit_length, read_wave
from bibench.data.batches import Batch, Batches, SampleBatches
from bibench.data.layout import Expected
from bibench.data.location import DATA_ROOT
from bibench.data.speech_commands import (
    CLASSES,
    LISTS,
    NOISE_FOLDER,
    SILENCE,
    Clip,
    check_folder,
    find_folder,
    index,
)
from bibench.foundation.checksums import sha256
from bibench.foundation.finding import listed
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import task
from bibench.tasks.speech_classification import SpeechClassification

SILENCE_SHARE = 0.1
"""Clips of silence for each clip of speech, in every split."""

NOISES = 6
"""Wave files in the noise folder."""

URL = "http://download.tensorflow.org/data/speech_commands_{}.tar.gz"

RECIPES = {
    # Section 4 of the paper: Adam for every operator and the same epochs for both stages. The settings of
    # the full-precision stage are those of BiFSMN.
    "paper": Recipe(
        epochs=300,
        batch_size=96,
        lr=1e-3,
        fp32=(("optimizer", "sgd_nesterov"), ("lr", 1e-3), ("weight_decay", 1e-2)),
    ),
    # The paper's released settings: SGD for the operators too, with warm-up.
    "release": Recipe(
        epochs=300,
        batch_size=96,
        lr=5e-3,
        optimizer="sgd_nesterov",
        weight_decay=1e-4,
        warmup=5 / 300,
        fp32=(("lr", 1e-3), ("weight_decay", 1e-2), ("warmup", 0.0)),
    ),
    "quick": Recipe(epochs=10, batch_size=96, lr=1e-3),
}


@dataclass(frozen=True)
class _Read:
    """Reads one clip, changed at random when there is an `augmentation`, then cut or padded to one second."""

    folder: Path
    clips: list[Clip]
    samples: int
    augmentation: Augmentation | None = None
    noises: list[Tensor] = field(default_factory=list)

    def __call__(self, index: int) -> tuple[Tensor, int]:
        if index < len(self.clips):
            clip = self.clips[index]
            waveform, label = read_wave(self.folder / clip.path), clip.label
        else:
            waveform, label = torch.zeros(self.samples), CLASSES.index(SILENCE)
        if self.augmentation is not None:
            waveform = self.augmentation(waveform, self.noises)
        return fit_length(waveform, self.samples), label


@dataclass(frozen=True)
class _Collate:
    """Spectrograms of a batch of waveforms at once."""

    features: LogMel

    def __call__(self, pairs: Sequence[tuple[Tensor, int]]) -> Batch:
        waveforms = torch.stack([waveform for waveform, _ in pairs])
        return Batch((self.features(waveforms),), torch.tensor([label for _, label in pairs]))


class SpeechCommandsTask(SpeechClassification):
    """What both versions share."""

    version: ClassVar[str]
    clips: ClassVar[int]
    archive_sha256: ClassVar[str]
    classes = CLASSES
    licence = "CC BY 4.0"
    augmentation: ClassVar[Augmentation] = Augmentation()
    recipes = RECIPES

    def missing(self) -> str:
        name = f"speech_commands_{self.version}"
        if self.data_root is None:
            return f"no data root given; pass --data-root or set ${DATA_ROOT} to the folder that holds {name}/"
        folder = find_folder(self.data_root, self.version)
        if folder is None:
            return (
                f"{self.data_root} has no {name}/; fetch {self.source} and unpack it there: "
                f"mkdir {name} && tar -xzf {name}.tar.gz -C {name}"
            )
        return check_folder(folder, self.version)

    def layout(self) -> tuple[Expected, ...]:
        name = f"speech_commands_{self.version}"
        folder = find_folder(self.data_root, self.version) if self.data_root else None
        if folder is None or self.data_root is None:
            return (
                Expected(name, f"word folders, {NOISE_FOLDER} and the lists"),
                Expected(f"{name}.tar.gz", "the archive", checksum=f"sha256:{self.archive_sha256}", required=False),
            )
        below = folder.relative_to(self.data_root).as_posix()
        return (
            Expected(below, f"{self.clips:,} clips and {NOISES} noises", pattern="*.wav", files=self.clips + NOISES),
            Expected(f"{below}/{NOISE_FOLDER}", "mixed into training clips", pattern="*.wav", files=NOISES),
            *(
                Expected(f"{below}/{file}", f"files of the {split} split", required=False)
                for split, file in LISTS.items()
            ),
        )

    @cached_property
    def _folder(self) -> Path:
        self.prepare()
        assert self.data_root is not None
        folder = find_folder(self.data_root, self.version)
        assert folder is not None
        return folder

    @cached_property
    def _clips(self) -> dict[str, list[Clip]]:
        return index(self._folder, self.version)

    @cached_property
    def _noises(self) -> list[Tensor]:
        return [read_wave(file) for file in listed(self._folder / NOISE_FOLDER, "*.wav")]

    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Batches:
        self.require_split(split)
        clips = self._clips[split]
        changed = seed is not None
        read = _Read(
            self._folder,
            clips,
            samples=round(self.seconds * SAMPLE_RATE),
            augmentation=self.augmentation if changed else None,
            noises=self._noises if changed else [],
        )
        return SampleBatches(
            read,
            len(clips) + int(SILENCE_SHARE * len(clips)),
            batch_size=batch_size,
            seed=seed,
            workers=self.workers,
            collate=_Collate(self.features),
        )

    def checksum(self) -> str:
        """Over paths, sizes and split of all clips (reading the contents would take minutes)."""
        lines = (
            f"{split} {clip.path} {(self._folder / clip.path).stat().st_size}\n"
            for split, clips in self._clips.items()
            for clip in clips
        )
        return sha256("".join(lines).encode())


@task("speech_commands")
class SpeechCommandsV1(SpeechCommandsTask):
    """Accuracy on the test split of v0.01: 6,835 clips and 683 of silence, in twelve classes."""

    title = "Speech Commands v0.01"
    version = "v0.01"
    source = URL.format("v0.01")
    archive_sha256 = "743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d"
    clips = 64_721
    train_examples = 56_196
    chance = 4268 / 7518


@task("speech_commands_v2")
class SpeechCommandsV2(SpeechCommandsTask):
    """Accuracy on the test split of v0.02: 11,005 clips and 1,100 of silence, in twelve classes."""

    title = "Speech Commands v0.02"
    version = "v0.02"
    source = URL.format("v0.02")
    archive_sha256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"
    clips = 105_829
    train_examples = 93_327
    chance = 6931 / 12_105
