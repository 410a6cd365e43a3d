"""How counts and names are said in sentences, wherever one is printed: ``1 cell``, ``2 cells``, ``a, b and c``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def plural(noun: str, count: float) -> str:
    """The noun for so many: ``cell`` for 1, ``cells`` for others; ``3 task × model pairs`` without the number.

    >>> plural("latency", 2), plural("task × model", 2), plural("corrupted accuracy", 1)
    ('latencies', 'task × model pairs', 'corrupted accuracy')
    """
    if count == 1:
        return noun
    if not noun[-1].isalpha() or "×" in noun:
        return f"{noun} pairs"
    if noun.endswith("lf"):
        return f"{noun[:-1]}ves"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """The number with its noun: ``1 cell``, ``1,024 cells``."""
    return f"{count:,} {plural(noun, count)}"


def verb(count: float, one: str, many: str) -> str:
    """The form of a verb for so many: ``is`` or ``are``."""
    return one if count == 1 else many


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    return " ".join([", ".join(names[:-1]), last, names[-1]]) if len(names) > 1 else "".join(names)


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: ``; did you mean 'recu'?``, or a full stop where no known name is near.

    Case and options in brackets are no difference: ``recv`` is near ``recu[scale_init=weight]``.
    """
    shapes: dict[str, list[str]] = {}
    for one in known:
        for shape in dict.fromkeys((one.lower(), one.partition("[")[0].lower())):
            shapes.setdefault(shape, []).append(one)
    close = difflib.get_close_matches(name.lower(), list(shapes), n=3, cutoff=0.5)
    near = list(dict.fromkeys(one for shape in close for one in shapes[shape]))[:3]
    return f"; did you mean {listed([repr(one) for one in near], 'or')}?" if near else "."
