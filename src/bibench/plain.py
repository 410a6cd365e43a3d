"""Plain Python values, as JSON and file names take them, of what NumPy and PyTorch give."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
import torch

PLAIN = (bool, int, float, str, type(None))


def plain(value: Any) -> Any:
    """The Python number, string or truth value that `value` is or holds; what is none of these is returned as it came.

    Taken are NumPy's scalars, arrays and tensors of one element (of any type, on any device, with or without a
    gradient), and subclasses such as members of an `enum.IntEnum`.
    """
    if type(value) in PLAIN:
        return value
    value = _element(value)
    for kind in (int, float, str):  # subclasses; bool has none
        if isinstance(value, kind) and not isinstance(value, bool):
            return kind.__new__(kind, value) if kind is not str else str.__str__(value)
    return float(value) if isinstance(value, np.floating) else value  # a long double is no float even as an item


def plain_tuple(value: Any) -> Any:
    """`plain`, and a list or tuple as the tuple of what is in it."""
    return tuple(map(plain_tuple, value)) if isinstance(value, list | tuple) else plain(value)


def shown(value: Any) -> str:
    """`value` in a few words for an error message, with its type where that does not show."""
    if type(value) in (*PLAIN, list, dict, tuple):
        return reprlib.repr(value)
    kind = f"of type {type(value).__name__}"
    if isinstance(value, np.ndarray | torch.Tensor):
        return f"{kind} and shape {tuple(value.shape)}"
    return f"{' '.join(reprlib.repr(value).split())} {kind}"


def _element(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    try:
        if isinstance(value, np.ndarray) and value.size == 1:
            return value.item()
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            return value.item()
    except (RuntimeError, NotImplementedError):  # on the meta device there is no value
        pass
    return value
