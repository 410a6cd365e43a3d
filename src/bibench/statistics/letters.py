"""Compact letter display: operators share a letter if and only if they are not told apart."""

from __future__ import annotations

import string
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def letters(order: Sequence[T], apart: Iterable[tuple[T, T]]) -> dict[T, str]:
    """The letters of every member of `order`, for the pairs that are `apart`; the first member has an ``a``.

    Insert and absorb (Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", 2004):
    one letter for all; for each pair that is apart every letter that joins the two is split into one without the
    first and one without the second, and letters whose members all share another one go. What stays is one letter
    for each largest set of which no two are apart. His third step, sweeping, which takes letters from members where
    others join them too, is left out: a letter is then no longer such a set.
    """
    place = {member: n for n, member in enumerate(order)}
    columns = [frozenset(order)] if order else []
    for one, other in sorted(apart, key=lambda pair: sorted((place[pair[0]], place[pair[1]]))):
        split = [c - {left} for c in columns if one in c and other in c for left in (one, other)]
        columns = _absorbed([c for c in columns if not (one in c and other in c)] + split)
    columns.sort(key=lambda c: sorted(map(place.__getitem__, c)))
    return {m: "".join(_letter(n) for n, column in enumerate(columns) if m in column) for m in order}


def _absorbed(columns: Sequence[frozenset[T]]) -> list[frozenset[T]]:
    """The columns that no other holds, each once."""
    unique = list(dict.fromkeys(columns))
    return [c for c in unique if c and not any(c < other for other in unique)]


def _letter(n: int) -> str:
    """a to z, A to Z, then numbers in brackets."""
    return string.ascii_letters[n] if n < len(string.ascii_letters) else f"({n + 1})"
