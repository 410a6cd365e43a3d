"""Slips of the pen in a class: a name that is close to one that its base asks for, which nothing else uses.

Python takes ``def scales`` in the place of ``def scale`` without a word, and the base goes on with its default.
"""

from __future__ import annotations

import difflib
import dis
import inspect
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from types import CodeType
from typing import Any

from bibench.foundation.errors import DefinitionWarning

CLOSE = 0.8
"""How alike two names must be, as `difflib` measures it; ``wieght`` and ``weight`` are 0.83."""
_WORDS = ("name", "title", "paper", "formula", "source", "licence", "techniques", "profiles")
"""What is said of an entry and changes nothing of what it computes."""


def slips(cls: type, base: type, asked: Collection[str] = ()) -> list[str]:
    """For each name of `cls` that is no slot of `base` but close to one that `cls` does not have: a sentence.

    A name that the class itself uses elsewhere is a helper of its own, and no slip.

    Args:
        base: the class of BiBench that asks for slots by name; a nearer one between the two takes its place.
        asked: further names that are asked for.
    """
    own, base = _own(cls, base)
    slots = _slots(base) | set(asked)
    written = {name: place for c in own for name, place in _written(c).items()}
    free = sorted(slots - written.keys())
    used = {name for c in own for name in _used(c)}
    found = []
    for name, where in written.items():
        if name.startswith("_") or name in slots or hasattr(base, name) or name in used:
            continue
        if near := difflib.get_close_matches(name, free, n=1, cutoff=CLOSE):
            found.append(f"{where}: nothing asks for {name!r}; did you mean {near[0]!r}?")
    return found


def overrides(cls: type, base: type, asked: Collection[str] = ()) -> bool:
    """Whether `cls` has any slot of its own that changes what it computes, as far as can be seen."""
    own, nearest = _own(cls, base)
    slots = (_slots(nearest) | set(asked)) - set(_WORDS)
    written = {name for c in own for name in _written(c)}
    hidden = any("setattr" in _used(c) or (nearest is not base and "__init__" in vars(c)) for c in own)
    return hidden or bool(slots & written)


def nearest_base(cls: type, base: type) -> type:
    """The first class of BiBench that `cls` is derived from, at most `base`."""
    return _own(cls, base)[1]


def tell(sentences: Iterable[str]) -> None:
    """Warn of each, in the name of whoever wrote the class."""
    for sentence in sentences:
        warnings.warn(sentence, DefinitionWarning, stacklevel=4)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'width'?`` where one of the `known` names is close, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.65)  # depth and width are 0.6
    return f"; did you mean {near[0]!r}?" if near else ""


def _own(cls: type, base: type) -> tuple[list[type], type]:
    """The classes that a user wrote, and the class of BiBench below them."""
    order = [c for c in cls.__mro__ if issubclass(c, base)]
    own: list[type] = []
    for number, c in enumerate(order):
        if c is base or (number and c.__module__.partition(".")[0] == "bibench"):
            return own, c
        own.append(c)
    return own, base


def _slots(base: type) -> set[str]:
    """The public names that the classes of BiBench among the bases define or annotate."""
    ours = [c for c in base.__mro__ if c.__module__.partition(".")[0] == "bibench"]
    names = {name for c in ours for name in (*vars(c), *vars(c).get("__annotations__", {}))}
    return {name for name in names if not name.startswith("_")}


def _written(cls: type) -> dict[str, str]:
    """The names that a class defines, or sets on itself in its methods, each with where."""
    found: dict[str, str] = {}
    for function in _functions(cls):
        for at in _instructions(function.__code__):
            if at.opname == "STORE_ATTR":
                found.setdefault(at.argval, f"{cls.__name__}.{function.__name__}")
    return found | {name: cls.__name__ for name in vars(cls) if not name.startswith("__")}


def _used(cls: type) -> set[str]:
    """The names that the methods of a class read, or have as text, each but from itself."""
    found: set[str] = set()
    for function in _functions(cls):
        code = function.__code__
        names = {i.argval for i in _instructions(code) if i.opname in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_GLOBAL")}
        texts = {c for one in _codes(code) for c in one.co_consts if isinstance(c, str)}
        found |= (names | texts) - {function.__name__}
    return found


def _functions(cls: type) -> Iterator[Callable[..., Any]]:
    for value in vars(cls).values():
        for one in (value, getattr(value, "fget", None), getattr(value, "__func__", None)):
            if inspect.isfunction(one):
                yield inspect.unwrap(one)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _instructions(code: CodeType) -> Iterator[dis.Instruction]:
    for one in _codes(code):
        yield from dis.get_instructions(one)
