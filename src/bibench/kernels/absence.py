"""Why the compiled core is not there, and what to do: for whatever is slower without it, or needs it."""

from __future__ import annotations

import os
from importlib import import_module, metadata
from pathlib import Path

NOTE = "bibench/_core_absent.txt"
"""What the build backend leaves in a package without the core (``installation/core_or_none.py``)."""
AGAIN = "then install bibench again (pip install --force-reinstall --no-deps --no-cache-dir)"


def reason() -> str:
    """Why `bibench._core` cannot be imported, in one line with what to do; empty where it can."""
    import torch  # noqa: F401  whose OpenMP library the core then finds

    try:
        import_module("bibench._core")
    except ImportError as error:
        return f"{_noted() or _unloadable(error)}; {AGAIN}"
    return ""


def sentence() -> str:
    """What to say before work that is slower without the core: one line, or nothing where it is there."""
    if os.environ.get("BIBENCH_ISA") == "none" or not reason():
        return ""
    return f"bibench runs without its compiled core, with the same numbers but slower. Why: {reason()}"


def _noted() -> str:
    """What the build said, of an installed bibench or of one that leads to its sources."""
    try:
        return Path(str(metadata.distribution("bibench").locate_file(NOTE))).read_text(encoding="utf-8").strip()
    except (metadata.PackageNotFoundError, OSError):
        return ""


def _unloadable(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "it was never built: install a C++20 compiler"
    return f"it was built, but this system does not load it ({error}): install what is missing"
