"""What is known of cells without asking the catalogues: answers that were given before by the same code.

An answer is plain data of JSON and follows from the cell's names alone. It is asked of the catalogues wherever PyTorch
is imported, since nothing of a user's own is in them before (`bibench.data.remembered`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from bibench.data.remembered import keep, live, recall
from bibench.foundation.registry import foreign

T = TypeVar("T")

NAME = "cells"

_before: dict[str, dict[str, Any]] | None = None
_learned: dict[str, dict[str, Any]] = {}


def answer(of: str, question: str, ask: Callable[[], T]) -> T:
    """The answer to a question about a cell (or what is not of a cell alone), from before or from `ask`."""
    if not live():
        before = _remembered().get(of, {})
        if question in before:
            return before[question]  # type: ignore[no-any-return]
    said = ask()
    _learned.setdefault(of, {})[question] = said
    return said


def remember() -> None:
    """Keep what was learned since, for the next process; nothing where the catalogues have anything of others."""
    global _before
    if foreign():
        forget()
        return
    known = recall(NAME) or {}
    new = {of: said for of, said in _learned.items() if known.get(of, {}) != {**known.get(of, {}), **said}}
    if new:
        keep(NAME, {**known, **{of: {**known.get(of, {}), **said} for of, said in new.items()}})
    _before = None
    forget()


def forget() -> None:
    """Nothing was learned."""
    _learned.clear()


def _remembered() -> dict[str, dict[str, Any]]:
    global _before
    if _before is None:
        _before = recall(NAME) or {}
    return _before
