"""Names of all engines whose numbers can be recorded."""

from __future__ import annotations

from bibench.deploy.bundle.engines import ONNX_ENGINES
from bibench.deploy.bundle.tools import TOOLS
from bibench.deploy.engine import ENGINES

__all__ = ["ONNX_ENGINES", "engine_names"]


def engine_names() -> list[str]:
    """Those that run models here or on a device, and those whose benchmark programs are read."""
    return sorted({*ENGINES, *ONNX_ENGINES, *TOOLS})
