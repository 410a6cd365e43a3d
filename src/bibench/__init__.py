"""BiBench: the reference benchmark for network binarization (1-bit weights and activations)."""

from typing import TYPE_CHECKING, Any

from bibench import models
from bibench.auditing import Audit, AuditRow, audit
from bibench.conversion import binarize
from bibench.errors import BiBenchError
from bibench.layers import BinaryLayer, binary_layers, progress
from bibench.operators import OPERATORS, InferenceForm, Operator, Techniques, operator
from bibench.spec import LayerSpec
from bibench.surrogate import Surrogate

if TYPE_CHECKING:
    from bibench.deploy.exporting import export

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


def __getattr__(name: str) -> Any:
    # Deployment is imported when it is used.
    if name == "export":
        from bibench.deploy import export

        return export
    raise AttributeError(f"module 'bibench' has no attribute {name!r}")
