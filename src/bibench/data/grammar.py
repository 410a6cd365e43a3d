"""Sentences from template grammars, with labels that are true by construction: five forms of GLUE's tasks.

Each form is a function of a random source to one `Example`. Bags of words say little about the label:
what decides is negation, order, agreement over a distance, or the comparison of two sentences. Words
have unequal frequencies, so test sentences also hold words that training showed a few times only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from random import Random
from typing import TypeVar

from bibench.data.text import Example

T = TypeVar("T")
Form = Callable[[Random], Example]


def draw(form: Form, sizes: Sequence[int], seed: int) -> list[list[Example]]:
    """Disjoint parts of `sizes` distinct examples; a pair counts as seen whatever its order."""
    random = Random(seed)
    seen: set[frozenset[str]] = set()
    parts: list[list[Example]] = []
    for size in sizes:
        part: list[Example] = []
        while len(part) < size:
            example = form(random)
            key = frozenset(text for text in (example.first, example.second) if text is not None)
            if key not in seen:
                seen.add(key)
                part.append(example)
        parts.append(part)
    return parts


# `Random.random` alone is promised to give the same numbers in every version of Python.


def pick(items: Sequence[T], random: Random) -> T:
    """One of `items`, all equally likely."""
    return items[int(random.random() * len(items))]


def frequent(items: Sequence[T], random: Random) -> T:
    """One of `items`, the earlier the likelier (the density falls linearly to zero... squared)."""
    return items[int(random.random() ** 2 * len(items))]


def chance(share: float, random: Random) -> bool:
    """True in `share` of the cases."""
    return random.random() < share
