"""Memory of a model in an engine: how far the resident memory of a process of its own rises."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RUNS = 3


def peak_memory(load: Callable[[], Callable[[], Any]]) -> dict[str, int]:
    """Bytes at the peak of loading and running, of the `process` and what was added (`model`)."""
    with suppress(OSError):  # forget the peak of starting up; where that cannot be, it is below that of the model
        RESET.write_text("5")
    before = _resident("VmRSS")
    run = load()
    for _ in range(RUNS):
        run()
    peak = _resident("VmHWM")
    return {"process": peak, "model": max(peak - before, 0)}


def _resident(field: str) -> int:
    # Linux's getrusage would tell the peak of the parent, if that was higher before exec.
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
