"""Time per node of an ONNX model, from the profile that ONNX Runtime writes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from .engines import on_inputs, onnx_session

RUNS, WARM = 20, 5
KERNEL = "_kernel_time"


def profile(contender: Mapping[str, Any], threads: int, batch: int) -> list[dict[str, Any]]:
    """Rows of `per_node`, in the order of execution. Profiling itself costs a little: shares, not latencies."""
    with tempfile.TemporaryDirectory() as folder:
        session = onnx_session(contender, threads, profile_prefix=str(Path(folder) / "profile"))
        run = on_inputs(session, contender, batch)
        for _ in range(WARM + RUNS):
            run()
        events = json.loads(Path(session.end_profiling()).read_text())
    return per_node(events, WARM)


def per_node(events: Iterable[Mapping[str, Any]], skip: int) -> list[dict[str, Any]]:
    """One row per node: name, operator, median microseconds over all but the first `skip` runs, share in percent."""
    times: dict[str, list[float]] = {}
    operators: dict[str, str] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(KERNEL):
            node = name[: -len(KERNEL)]
            times.setdefault(node, []).append(float(event["dur"]))
            operators[node] = str(event.get("args", {}).get("op_name", ""))
    medians = {node: median(values[skip:] or values) for node, values in times.items()}
    total = sum(medians.values())
    return [
        {
            "order": number,
            "node": node,
            "op": operators[node],
            "microseconds": round(value, 1),
            "percent": round(100 * value / total, 2) if total else 0.0,
        }
        for number, (node, value) in enumerate(medians.items(), 1)
    ]
