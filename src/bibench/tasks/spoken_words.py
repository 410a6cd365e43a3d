"""Embedded: the ten keywords spoken by eSpeak NG, in many voices and accents of English, in noise.

Needs the optional package espeakng-loader (eSpeak NG, GPL-3), which is only run: what it says is cached
on this machine and nothing of it is distributed. Voices are in one split only, with their near relatives
(klatt, klatt2, ...). It resembles Speech Commands in form, not in the variety of real voices; there are
no classes for silence and for other words.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bibench.data import espeak
from bibench.data.audio import resampler
from bibench.data.speech_commands import KEYWORDS
from bibench.errors import DataError, MissingLibraryError
from bibench.tasks.base import task
from bibench.tasks.embedded_words import SPEAKERS, EmbeddedWords, Spoken

SHARES = {"train": 0.6, "validation": 0.15, "test": 0.25}
"""Of the families of voices."""


@task("spoken_words")
class SpokenWords(EmbeddedWords):
    """Accuracy on 800 words by voices that are not in the training split."""

    title = "eSpeak words (embedded)"
    source = "synthesized by eSpeak NG (package espeakng-loader, pip install 'bibench[speech]')"
    extra = "speech"
    licence = "eSpeak NG is GPL-3 and optional; its output is cached, not distributed"

    def missing(self) -> str:
        return espeak.need()

    def prepare(self) -> None:
        if problem := self.missing():
            raise MissingLibraryError(f"task {self.name!r}: {problem}")
        super().prepare()

    @classmethod
    def spoken(cls, scratch: Path) -> dict[str, Iterable[Spoken]]:
        plan = _utterances(deal(espeak.voices()))
        clips = espeak.speak([utterance for _, utterance in plan], scratch)
        resample = resampler(espeak.RATE)  # by 320/441
        spoken: dict[str, list[Spoken]] = {split: [] for split in SPEAKERS}
        for (split, utterance), clip in zip(plan, clips, strict=True):
            spoken[split].append(Spoken(resample(clip / 32768.0), utterance.text, utterance.voice))
        return dict(spoken)


def family(voice: str) -> str:
    """Variants that differ by a number or by capitals are relatives; f1, f2, ... and m1, m2, ... are people."""
    stem = voice.casefold().rstrip("0123456789")
    return voice if stem in ("f", "m") else stem


def deal(voices: list[str]) -> dict[str, list[str]]:
    """Voices by split: whole families, shuffled by a fixed seed."""
    families = sorted({family(voice) for voice in voices})
    np.random.RandomState(0).shuffle(families)
    dealt, start = {}, 0.0
    for split, share in SHARES.items():
        low, high = (round(bound * len(families)) for bound in (start, start + share))
        dealt[split] = [voice for voice in voices if family(voice) in families[low:high]]
        start += share
    if empty := [split for split, chosen in dealt.items() if not chosen]:
        raise DataError(
            f"eSpeak NG has {len(families)} families of voices, which leaves none for the {empty[0]} split; "
            "expected at least 4. Install espeakng-loader again"
        )
    return dealt


def _utterances(voices: dict[str, list[str]]) -> list[tuple[str, espeak.Utterance]]:
    """What is said, in the order in which it is said: every speaker is a voice, accent, tempo and pitch."""
    random = np.random.RandomState(0)
    said = []
    for split, count in SPEAKERS.items():
        for index in range(count):
            voice = voices[split][index % len(voices[split])]
            accent = espeak.ACCENTS[random.randint(len(espeak.ACCENTS))]
            rate, pitch, range_ = (int(random.randint(*bounds)) for bounds in ((110, 220), (20, 81), (20, 81)))
            said += [(split, espeak.Utterance(word, voice, accent, rate, pitch, range_)) for word in KEYWORDS]
    return said
