"""Start-up: importing bibench over importing torch, and planning the paper's grid."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from .timing import interleave, summarize


def python(code: str) -> Any:
    """A fresh interpreter that runs `code`."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def command(*arguments: str) -> Any:
    """The command line in a fresh interpreter."""
    code = "import sys; from bibench.cli.app import main; main()"
    return lambda: subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def run() -> list[dict[str, Any]]:
    """Wall times of whole processes."""
    times = interleave(
        {
            "import torch": python("import torch"),
            "import bibench": python("import bibench"),
            "bibench plan paper": command("plan", "paper"),
            "bibench list operators": command("list", "operators"),
        },
        rounds=7,
        warmup=1,
    )
    return summarize(times, "import torch")
