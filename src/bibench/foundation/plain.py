"""Plain Python values, as JSON and file names take them, of what NumPy and PyTorch give."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable
from typing import Any

PLAIN = (bool, int, float, str, type(None))
MOST_BITS = 4096
"""Of an integer that is shown with its digits."""

_EXACT: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
}
"""Of a subclass its value, whatever the subclass makes of ``int(...)`` or ``str(...)``."""


def _instance(value: Any, library: str, *names: str) -> bool:
    """Whether it is of one of these classes of a library; without importing that: who has one, has it."""
    module = sys.modules.get(library)
    return module is not None and isinstance(value, tuple(getattr(module, name) for name in names))


def plain(value: Any) -> Any:
    """The Python number, string or truth value that `value` is or holds; what is none of these is returned as it came.

    Taken are NumPy's scalars, arrays and tensors of one element (of any type, on any device, with or without a
    gradient), and subclasses such as members of an `enum.IntEnum`.
    """
    if type(value) in PLAIN:
        return value
    value = _element(value)
    if type(value) is bool:
        return value
    for kind, exact in _EXACT.items():
        if isinstance(value, kind):
            return exact(value)
    return float(value) if _instance(value, "numpy", "floating") else value  # a long double is itself as an item


def plain_tuple(value: Any) -> Any:
    """`plain`, and a list or tuple as the tuple of what is in it."""
    return tuple(map(plain_tuple, value)) if isinstance(value, list | tuple) else plain(value)


def shown(value: Any) -> str:
    """`value` in a few words for an error message, with its type where that does not show."""
    if isinstance(value, int) and value.bit_length() > MOST_BITS:  # Python refuses to write thousands of digits
        return f"an integer of {value.bit_length()} bits"
    if type(value) in (*PLAIN, list, dict, tuple):
        return reprlib.repr(value)
    kind = f"of type {type(value).__name__}"
    if _instance(value, "numpy", "ndarray") or _instance(value, "torch", "Tensor"):
        return f"{kind} and shape {tuple(value.shape)}"
    return f"{' '.join(reprlib.repr(value).split())} {kind}"


def _element(value: Any) -> Any:
    if _instance(value, "numpy.ma", "MaskedArray") and sys.modules["numpy.ma"].is_masked(value):
        return value  # there is no value, and its item would be 0
    if _instance(value, "numpy", "generic"):
        return value.item()
    try:
        if _instance(value, "numpy", "ndarray") and value.size == 1:
            return value.item()
        if _instance(value, "torch", "Tensor") and value.numel() == 1:
            return value.item()
    except (RuntimeError, NotImplementedError):  # on the meta device there is no value
        pass
    return value
