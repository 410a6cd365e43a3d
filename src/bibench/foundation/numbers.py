"""Numbers of files that others made: one check, which tells where, what was expected and what came.

A number is finite. NaN and infinity, which Python's readers of JSON, XML and CSV let pass, make averages NaN far from
their cause; booleans count as 0 and 1; ``float`` and ``int`` read underscores and the digits of all scripts.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from bibench.foundation.errors import DataError

RESTORE = "restore this file from the distribution"
LONGEST = 300
"""Digits of an integer that is read as one; Python refuses some thousands, and no float is larger."""
_NUMBER = re.compile(r"[ \t\r\n]*[+-]?(?=\.?\d)\d*(?P<rest>(\.\d*)?([eE][+-]?\d+)?)[ \t\r\n]*", re.ASCII)


class Limits(TypedDict, total=False):
    """What a number must be, besides finite.

    Attributes:
        whole: it must be whole; a float that is (3.0) passes, and becomes an int.
        low: the smallest that passes.
        high: the largest.
        expected: in words; made from the bounds by default.
        fix: what to do about another; by default that the file is to be restored.
    """

    whole: bool
    low: float
    high: float
    expected: str
    fix: str


def number(value: Any, where: str, **limits: Unpack[Limits]) -> float:
    """`value`, if it is a finite number within `limits`: a Python or numpy int or float, and no boolean.

    Args:
        where: file and line, row or field.

    Raises:
        DataError: it is another thing; with all of this.
    """
    if isinstance(value, np.generic):
        value = value.item()
    whole, low, high = limits.get("whole", False), limits.get("low", -math.inf), limits.get("high", math.inf)
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        good = plain and math.isfinite(float(value)) and low <= value <= high and (not whole or value == int(value))
    except OverflowError:  # an integer of hundreds of digits
        good = False
    if not good:
        raise _refused(value, where, limits)
    return int(value) if whole else value


def parse_number(text: Any, where: str, **limits: Unpack[Limits]) -> float:
    """The number that `text` spells in ASCII, as in -1.5e3, within the limits of `number`; a `DataError` otherwise."""
    match = _NUMBER.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _refused(text, where, limits)
    integer = limits.get("whole") and match["rest"] == "" and len(text) < LONGEST
    return number(int(text) if integer else float(text), where, **limits)


def check_finite(values: NDArray[Any], where: Callable[[int], str], *, fix: str = RESTORE) -> None:
    """Raise `DataError` for the first row of `values` (N, ...) with a number that is not finite.

    Args:
        where: file and line or field of a row, from its index.
    """
    wrong = ~np.isfinite(values).all(tuple(range(1, values.ndim)))
    if wrong.any():
        row = int(wrong.argmax())
        found = values[row].reshape(-1)
        bad = found[~np.isfinite(found)][0]
        raise DataError(f"{where(row)} is {bad}, expected a finite number; {fix}")


def check_kind(values: Any, kinds: str, where: str, expected: str, *, fix: str = RESTORE) -> None:
    """Raise `DataError` unless the numpy type of `values` is one of `kinds` (``f``, ``iu``, ...)."""
    found = getattr(values, "dtype", None)
    if found is None or found.kind not in kinds:
        raise DataError(f"{where} holds {found or type(values).__name__}, expected {expected}; {fix}")


def _refused(value: Any, where: str, limits: Limits) -> DataError:
    expected = limits.get("expected") or _words(limits)
    return DataError(f"{where} is {reprlib.repr(value)}, expected {expected}; {limits.get('fix', RESTORE)}")


def _words(limits: Limits) -> str:
    kind = "a whole number" if limits.get("whole") else "a finite number"
    low, high = limits.get("low", -math.inf), limits.get("high", math.inf)
    if math.isfinite(low) and math.isfinite(high):
        return f"{kind} from {low:g} to {high:g}"
    if math.isfinite(low):
        return f"{kind}, at least {low:g}"
    return f"{kind}, at most {high:g}" if math.isfinite(high) else kind
