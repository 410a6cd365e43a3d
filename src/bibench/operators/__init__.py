"""The operators, one file each. `OPERATORS` is the catalogue; `operator` is its decorator."""

from bibench.operators.base import (
    FULL_PRECISION,
    OPERATORS,
    PAPER_ORDER,
    Operator,
    known_operators,
    operator,
    paper_order,
)
from bibench.operators.description import Along, Description, Gate, InferenceForm, InputScale, Signs
from bibench.operators.method import Method, Techniques

__all__ = [
    "FULL_PRECISION",
    "OPERATORS",
    "PAPER_ORDER",
    "Along",
    "Description",
    "Gate",
    "InferenceForm",
    "InputScale",
    "Method",
    "Operator",
    "Signs",
    "Techniques",
    "known_operators",
    "operator",
    "paper_order",
]
