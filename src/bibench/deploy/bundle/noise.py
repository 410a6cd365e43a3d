"""What may have disturbed a measurement: flags for the record, and what to do about it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from .turns import DRIFT, drift, width

OTHERS, STEAL, FREQUENCY = 0.05, 0.01, 0.10
"""Shares of the processors' time that other processes and other virtual machines had; a drop of the frequency."""
SHORTEST = 1.0
"""Seconds below which shares of the processors' time mean nothing: systems count it in steps of a hundredth."""


def disturbances(before: Mapping[str, Any], after: Mapping[str, Any], cpus: int) -> dict[str, str]:
    """What the states before and after say, {flag: words}."""
    found = {}
    seconds = after["time"] - before["time"]
    if before["busy"] and after["busy"] and seconds >= SHORTEST:
        elapsed = seconds * max(cpus, 1)
        own = after["own"] - before["own"]
        others = (after["busy"]["busy"] - before["busy"]["busy"] - own) / elapsed
        stolen = (after["busy"]["steal"] - before["busy"]["steal"]) / elapsed
        if others > OTHERS:
            found["busy"] = f"other processes had {100 * others:.0f} % of the processors in use; stop them, or repeat"
        if stolen > STEAL:
            found["steal"] = (
                f"other virtual machines had {100 * stolen:.0f} % of the processors; use a host of your own"
            )
    if after["throttle_count"] > before["throttle_count"] or after["throttled_now"]:
        found["throttled"] = "the processor throttled itself (too hot, or too little power); cool it and repeat"
    elif before["mhz"] and after["mhz"] and mean(after["mhz"]) < (1 - FREQUENCY) * mean(before["mhz"]):
        found["throttled"] = (
            f"the clock fell from {mean(before['mhz']):.0f} to {mean(after['mhz']):.0f} MHz; cool it and repeat"
        )
    return found


def advice(before: Mapping[str, Any], cpus: Sequence[int]) -> list[str]:
    """What makes numbers noisier than they need to be, though no fault of them."""
    found = []
    slow = [governor for governor in before["governors"] if governor != "performance"]
    if slow:
        found.append(f"governor {', '.join(slow)}: clocks vary; 'performance' is steadier (cpupower frequency-set)")
    if not cpus:
        found.append("threads could not be pinned to processors on this system")
    return found


def of_samples(samples: Sequence[float], precision: float) -> dict[str, str]:
    """What the samples of one contender say, {flag: words}."""
    found = {}
    if width(samples) > precision:
        found["wide"] = f"the median is known to ± {100 * width(samples):.1f} % only; give it more --max-seconds"
    change = drift(samples)
    if abs(change) > DRIFT:
        found["drift"] = f"it became {100 * abs(change):.0f} % {'slower' if change > 0 else 'faster'} on the way"
    return found
