"""The operators, one file each. `OPERATORS` is the catalogue; `operator` is its decorator."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bibench.operators.names import FULL_PRECISION, PAPER_ORDER, paper_order

if TYPE_CHECKING:
    from bibench.operators.base import OPERATORS, Operator, known_operators, operator
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

_HOMES = {
    "base": ("OPERATORS", "Operator", "known_operators", "operator"),
    "description": ("Along", "Description", "Gate", "InferenceForm", "InputScale", "Signs"),
    "method": ("Method", "Techniques"),
}


def __getattr__(name: str) -> Any:
    # What is asked for is imported then: names in records are read without PyTorch.
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"bibench.operators.{home}"), name)
            return value
    raise AttributeError(f"module 'bibench.operators' has no attribute {name!r}")
