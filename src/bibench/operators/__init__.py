"""The operators, one file each. `OPERATORS` is the catalogue; `operator` is its decorator."""

from bibench.operators.base import (
    FULL_PRECISION,
    OPERATORS,
    PAPER_ORDER,
    InferenceForm,
    Method,
    Operator,
    Techniques,
    known_operators,
    operator,
    paper_order,
)

__all__ = [
    "FULL_PRECISION",
    "OPERATORS",
    "PAPER_ORDER",
    "InferenceForm",
    "Method",
    "Operator",
    "Techniques",
    "known_operators",
    "operator",
    "paper_order",
]
