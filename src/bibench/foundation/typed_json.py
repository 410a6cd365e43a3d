"""What came out of a JSON file, checked down to its innermost values against the types that its readers rely on.

    class Row(TypedDict):
        macs: int | None
        name: NotRequired[str]

    rows = conform(parse_json(text, source, fix), list[Row], source, fix)

A wrong value is one error with the file, the place inside it, what was expected, what came, and what to do:
``m.json: [3].macs is 'x', expected a whole number or null; export the model again``.
"""

from __future__ import annotations

import json
import math
import reprlib
import sys
import types
import typing
from collections.abc import Iterable
from functools import cache
from typing import Any, Literal, NotRequired, TypeVar

from bibench.foundation.errors import BiBenchError, StoreError

T = TypeVar("T")

WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    type(None): "null",
    list: "a list",
    dict: "an object",
}
LARGEST_INT = 2**64
"""What is counted, seeds and sizes are below; larger ones overflow in the arithmetic of whoever reads them."""


def parse_json(text: str | bytes, source: str, fix: str, error: type[BiBenchError] = StoreError) -> Any:
    """The value of a JSON text, whose numbers are finite; `error` naming `source` and `fix` for anything else."""
    try:
        return _DECODER.decode(text if isinstance(text, str) else text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as damage:
        raise error(f"{source} cannot be read ({damage}); {fix}") from damage


def conform(value: Any, kind: type[T], source: str, fix: str, error: type[BiBenchError] = StoreError) -> T:
    """`value` if it is of `kind`; `error` naming `source`, the place in it, what was expected, what came, and `fix`.

    Args:
        kind: bool, int (at most 64 bits), float (whole numbers too; finite), str, None, unions and literals of them,
            ``list[...]``, ``dict[str, ...]``, a `TypedDict` (other keys than its own may be there), `Any`.
    """
    if wrong := problem(value, kind):
        raise error(f"{source}{' ' if wrong.startswith('holds ') else ': '}{wrong}; {fix}")
    return value  # type: ignore[no-any-return]


def problem(value: Any, kind: Any, at: str = "") -> str:
    """What is wrong with `value`, in words, which lies at the place `at`; "" if it is of `kind`, as for `conform`."""
    if kind is Any:
        return ""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _of_union(value, kind, inner, at)
    if origin is Literal:
        return "" if any(value == one and type(value) is type(one) for one in inner) else _unlike(value, kind, at)
    if typing.is_typeddict(kind):
        return _of_fields(value, kind, at)
    base = origin or kind
    if not fits(value, base):
        return _unlike(value, kind, at)
    if base is list and inner:
        return _first(problem(item, inner[0], f"{at}[{number}]") for number, item in enumerate(value))
    if base is dict and inner:
        return _first(problem(item, inner[1], _member(at, name)) for name, item in value.items())
    return ""


def fits(value: Any, base: Any) -> bool:
    """Whether a plain `value` is of a type that says nothing of what is inside: bool, int, list, ..., or a union."""
    if isinstance(base, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(base))
    if base is float and type(value) in (int, float):
        return bool(abs(value) <= sys.float_info.max)  # not for NaN and infinity
    if base is int:
        return type(value) is int and abs(value) < LARGEST_INT
    return type(value) is (type(None) if base is None else base)


def _of_union(value: Any, kind: Any, options: tuple[Any, ...], at: str) -> str:
    """Of a list or object whose outer kind is right, what is wrong inside it says more."""
    problems = [problem(value, option, at) for option in options]
    if "" in problems:
        return ""
    outer = type(value) if type(value) in (list, dict) else None
    inside = (said for said, option in zip(problems, options, strict=True) if _outer(option) is outer)
    return next(inside, None) or _unlike(value, kind, at)


def _outer(kind: Any) -> Any:
    return dict if typing.is_typeddict(kind) else typing.get_origin(kind) or kind


def _of_fields(value: Any, kind: Any, at: str) -> str:
    if type(value) is not dict:
        return _unlike(value, kind, at)
    for name, (of, required) in _fields(kind).items():
        if name in value:
            if wrong := problem(value[name], of, _member(at, name)):
                return wrong
        elif required:
            return f"{_member(at, name)} is missing, expected {_words(of)}"
    return ""


@cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Names of a `TypedDict` with their types, and whether they must be there.

    Python's own set of required names knows nothing of `NotRequired` where annotations are strings.
    """
    found = {}
    for name, of in typing.get_type_hints(kind, include_extras=True).items():
        optional = typing.get_origin(of) is NotRequired
        found[name] = (typing.get_args(of)[0] if optional else of, kind.__total__ and not optional)
    return found


def _first(problems: Iterable[str]) -> str:
    return next(filter(None, problems), "")


def _member(at: str, name: str) -> str:
    plain = name.isidentifier() and name.isascii()
    return f"{at}{'.' if at else ''}{name}" if plain else f"{at}[{reprlib.repr(name)}]"


def _unlike(value: Any, kind: Any, at: str) -> str:
    came = WORDS[type(value)] if type(value) in (list, dict) else reprlib.repr(value)
    return f"{f'{at} is' if at else 'holds'} {came}, expected {_words(kind)}"


def _words(kind: Any) -> str:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_words, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if kind is Any:
        return "a value"
    return WORDS[type(None) if kind is None else _outer(kind)]


def refuse_constant(constant: str) -> None:
    """For `json.JSONDecoder`, which reads NaN and infinity otherwise."""
    raise ValueError(f"{constant} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


_DECODER = json.JSONDecoder(parse_constant=refuse_constant, parse_float=_finite)
