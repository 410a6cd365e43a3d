"""Interleaved timing: alternatives take turns in one process, so that a busy moment hits them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import Any


def interleave(
    alternatives: Mapping[str, Callable[[], object]],
    rounds: int,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
    calls: int = 1,
) -> dict[str, list[float]]:
    """Seconds of every call, the alternatives in a new random order in each round.

    `clock`: wall time, or ``time.process_time`` for single-threaded work on a machine that does other things.
    `calls`: how often an alternative is called when it is its turn.
    """
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    order, shuffle = list(alternatives), random.Random(0).shuffle
    for number in range(warmup + rounds):
        shuffle(order)
        for name in order:
            for _ in range(calls):
                start = clock()
                alternatives[name]()
                elapsed = clock() - start
                if number >= warmup:
                    times[name].append(elapsed)
    return times


def summarize(times: Mapping[str, list[float]], base: str) -> list[dict[str, Any]]:
    """Median and quartiles in milliseconds, and the ratio of medians to `base`."""
    reference = median(times[base])
    rows = []
    for name, values in times.items():
        low, _, high = quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
        rows.append(
            {
                "name": name,
                "median_ms": 1e3 * median(values),
                "quartiles_ms": [1e3 * low, 1e3 * high],
                "ratio": median(values) / reference,
                "base": base,
                "rounds": len(values),
            }
        )
    return rows
