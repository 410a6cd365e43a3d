"""Theoretical complexity: storage and operations of a model, compression and speed-up (Section 3.2, Eq. 7-8)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bibench.complexity.conventions import BIBENCH, CONVENTIONS, PAPER, PRODUCTS, Convention, convention

if TYPE_CHECKING:
    from bibench.complexity.counting import Comparison, complexity
    from bibench.complexity.result import Complexity, Row, compression, overall, speedup

__all__ = [
    "BIBENCH",
    "CONVENTIONS",
    "PAPER",
    "PRODUCTS",
    "Comparison",
    "Complexity",
    "Convention",
    "Row",
    "complexity",
    "compression",
    "convention",
    "overall",
    "speedup",
]

_HOMES = {
    "counting": ("Comparison", "complexity"),
    "result": ("Complexity", "Row", "compression", "overall", "speedup"),
}


def __getattr__(name: str) -> Any:
    # What is asked for is imported then: the conventions are named without PyTorch.
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"bibench.complexity.{home}"), name)
            return value
    raise AttributeError(f"module 'bibench.complexity' has no attribute {name!r}")
