"""Theoretical complexity: storage and operations of a model, compression and speed-up (Section 3.2, Eq. 7-8)."""

from bibench.complexity.conventions import BIBENCH, CONVENTIONS, PAPER, PRODUCTS, Convention, convention
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
