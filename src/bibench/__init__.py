"""BiBench: the reference benchmark for network binarization (1-bit weights and activations)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bibench import models
    from bibench.auditing import Audit, AuditRow, audit
    from bibench.conversion import binarize
    from bibench.deploy.exporting import export
    from bibench.errors import BiBenchError
    from bibench.layers import BinaryLayer, binary_layers, progress
    from bibench.operators import OPERATORS, InferenceForm, Operator, Techniques, operator
    from bibench.spec import LayerSpec
    from bibench.surrogate import Surrogate

__version__ = "0.1.0"

__all__ = [
    "OPERATORS",
    "Audit",
    "AuditRow",
    "BiBenchError",
    "BinaryLayer",
    "InferenceForm",
    "LayerSpec",
    "Operator",
    "Surrogate",
    "Techniques",
    "audit",
    "binarize",
    "binary_layers",
    "export",
    "models",
    "operator",
    "progress",
]

_HOMES = {
    "auditing": ("Audit", "AuditRow", "audit"),
    "conversion": ("binarize",),
    "deploy": ("export",),
    "errors": ("BiBenchError",),
    "layers": ("BinaryLayer", "binary_layers", "progress"),
    "operators": ("OPERATORS", "InferenceForm", "Operator", "Techniques", "operator"),
    "spec": ("LayerSpec",),
    "surrogate": ("Surrogate",),
}


def __getattr__(name: str) -> Any:
    # What is asked for is imported then: the command line answers Ctrl-C before PyTorch is there.
    if name == "models":
        return import_module("bibench.models")
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"bibench.{home}"), name)
            return value
    raise AttributeError(f"module 'bibench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
