"""What a model file is: the fields of its records, from its manifest if it has one, else from its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNKNOWN: Mapping[str, Any] = {
    "cell": "",
    "task": "",
    "embedded": False,
    "family": "",
    "operator": "",
    "recipe": "",
    "seed": 0,
}
"""Of a file that says nothing about itself."""


def identify(file: Path) -> tuple[dict[str, Any], str]:
    """Record fields of the model in `file`, and the engine that it was exported for ("" if it does not say)."""
    return {**UNKNOWN, "model": file.stem}, ""
