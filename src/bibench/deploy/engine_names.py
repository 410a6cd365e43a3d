"""Names of all engines whose numbers can be recorded."""

from __future__ import annotations

from bibench.deploy.bundle.tools import TOOLS


def engine_names() -> list[str]:
    """Those that run here, and those whose benchmark programs are read."""
    return sorted({"onnxruntime", "bibench", *TOOLS})
