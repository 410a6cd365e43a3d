"""What the embedded speech tasks share: synthesized keywords in noise, made once and cached as spectrograms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from bibench.data.batches import Batches, TensorBatches
from bibench.data.location import cached_folder
from bibench.data.noisy_words import Samples, Window, spectrograms
from bibench.data.speech_commands import KEYWORDS
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import DataError
from bibench.foundation.files import unreadable
from bibench.recipes.recipe import Recipe
from bibench.tasks.base import SPLITS
from bibench.tasks.speech_classification import SpeechClassification

SPEAKERS = {"train": 240, "validation": 40, "test": 80}
"""Speakers of each split; each says every keyword once."""


class Spoken(NamedTuple):
    """One utterance: samples at 16 kHz, the keyword, and who said it."""

    samples: Samples
    word: str
    speaker: str


class EmbeddedWords(SpeechClassification):
    """Subclasses synthesize the words: `spoken`, and a `version` to change whenever its output changes."""

    embedded = True
    stands_in_for = "Speech Commands v0.01"
    classes = KEYWORDS
    version: ClassVar[int] = 1
    train_examples = SPEAKERS["train"] * len(KEYWORDS)
    chance = 1 / len(KEYWORDS)
    recipes = {
        "paper": Recipe(epochs=100, batch_size=64, lr=2e-3),
        "quick": Recipe(epochs=8, batch_size=64, lr=4e-3),
        "smoke": Recipe(epochs=1, batch_size=64, lr=4e-3),
    }

    @classmethod
    @abstractmethod
    def spoken(cls, scratch: Path) -> dict[str, Iterable[Spoken]]:
        """All utterances by split, the same at every call; `scratch` is a folder for temporary files."""

    def prepare(self) -> None:
        self._folder()

    def arrays(self, split: str) -> tuple[Tensor, Tensor]:
        """Spectrograms in decibels (N, 1, bands, longer than the model's frames) and labels (N,) of a split."""
        stored = self._stored(split)
        return torch.from_numpy(stored["decibels"]), torch.from_numpy(stored["labels"])

    def speakers(self, split: str) -> list[str]:
        """Who says each example of a split."""
        return [str(name) for name in self._stored(split)["speakers"]]

    def batches(self, split: str, *, batch_size: int, seed: int | None = None) -> Batches:
        self.require_split(split)
        decibels, labels = self._splits[split]
        window = Window(self.features, self.input_shape[-1], shifted=seed is not None)
        return TensorBatches(decibels, labels, batch_size=batch_size, transform=window, seed=seed)

    def checksum(self) -> str:
        return sha256(*(t.numpy().tobytes() for pair in self._splits.values() for t in pair))

    @cached_property
    def _splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {split: self.arrays(split) for split in SPLITS}

    def _stored(self, split: str) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
        file = self._folder() / f"{split}.npz"
        try:
            with np.load(file) as stored:
                return {name: stored[name] for name in ("decibels", "labels", "speakers")}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise DataError(
                unreadable(file, error) or f"{file} is damaged ({error}); delete {file.parent} to have it made again"
            ) from error

    def _folder(self) -> Path:
        return cached_folder(f"{self.name}-v{self.version}", self._build)

    def _build(self, folder: Path) -> None:
        for number, (split, utterances) in enumerate(self.spoken(folder).items()):
            said = list(utterances)
            random = np.random.RandomState(number)
            np.savez(
                folder / f"{split}.npz",
                decibels=spectrograms((s.samples for s in said), self.features, random).numpy(),
                labels=np.array([KEYWORDS.index(s.word) for s in said]),
                speakers=np.array([s.speaker for s in said]),
            )
