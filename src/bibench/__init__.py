"""BiBench: the reference benchmark for network binarization (1-bit weights and activations)."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bibench.foundation import moved

if TYPE_CHECKING:
    from bibench import models
    from bibench.deploy.exporting import export
    from bibench.foundation.errors import BiBenchError
    from bibench.kernels.spec import LayerSpec
    from bibench.kernels.surrogate import Surrogate
    from bibench.nn.auditing import Audit, AuditRow, audit
    from bibench.nn.conversion import binarize
    from bibench.nn.layers import BinaryLayer, binary_layers, progress
    from bibench.operators import OPERATORS, InferenceForm, Operator, Techniques, operator

__version__ = "0.1.0"

moved.install()

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
    "nn.auditing": ("Audit", "AuditRow", "audit"),
    "nn.conversion": ("binarize",),
    "deploy": ("export",),
    "foundation.errors": ("BiBenchError",),
    "nn.layers": ("BinaryLayer", "binary_layers", "progress"),
    "operators": ("OPERATORS", "InferenceForm", "Operator", "Techniques", "operator"),
    "kernels.spec": ("LayerSpec",),
    "kernels.surrogate": ("Surrogate",),
}


def __getattr__(name: str) -> Any:
    # What is asked for is imported then: the command line answers Ctrl-C before PyTorch is there.
    for home, names in _HOMES.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f"bibench.{home}"), name)
            return value
    if find_spec(f"bibench.{name}"):  # a room, or a short name of a module: bibench.models, bibench.layers
        return import_module(f"bibench.{name}")
    raise AttributeError(f"module 'bibench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
