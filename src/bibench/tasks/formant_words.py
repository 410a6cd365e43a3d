"""Embedded: the ten keywords by a formant synthesizer, from virtual speakers in noise. No download, no extra.

What `bibench.data.formants` says, with every speaker in one split only. It resembles Speech Commands in
form (one-second clips, 32×32 log-mel spectrograms, its ten keywords), not in the variety of real voices;
there are no classes for silence and for other words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bibench.data import formants
from bibench.tasks.base import task
from bibench.tasks.embedded_words import SPEAKERS, EmbeddedWords, Spoken


@task("formant_words")
class FormantWords(EmbeddedWords):
    """Accuracy on 800 words by 80 virtual speakers that are not in the training split."""

    title = "Formant-synthesized words (embedded)"
    source = "synthesized by BiBench's own formant synthesizer"
    licence = "Apache-2.0, as BiBench"

    @classmethod
    def spoken(cls, scratch: Path) -> dict[str, Iterable[Spoken]]:
        return {split: _speak(split, number) for number, split in enumerate(SPEAKERS)}


def _speak(split: str, number: int) -> Iterator[Spoken]:
    random = np.random.RandomState(1000 + number)
    for index in range(SPEAKERS[split]):
        speaker = formants.draw_speaker(random)
        for word in formants.WORDS:
            yield Spoken(formants.speak(word, speaker, random), word, f"{split} {index}")
