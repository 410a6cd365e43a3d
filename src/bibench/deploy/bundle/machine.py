"""The machine: its processor, what it may use of it, and its state before and after a measurement.

Linux tells almost all of this in /proc and /sys; what a system does not tell is left out.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CPUS = Path("/sys/devices/system/cpu")
THERMAL = Path("/sys/class/thermal")
FIRMWARE_THROTTLE = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
"""A Raspberry Pi's firmware: bits 0 to 3 are undervoltage and throttling now."""


def describe() -> dict[str, Any]:
    """Processor, operating system and versions."""
    found = {
        "board": _read(Path("/proc/device-tree/model")).rstrip("\0"),
        "cpu": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "usable_cpus": len(usable_cpus()),
        "platform": f"{platform.system()} {platform.machine()}",
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for library in ("numpy", "onnxruntime"):
        try:
            found[library] = __import__(library).__version__
        except Exception:  # not there, or broken: the engine that needs it says so
            found[library] = ""
    return found


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Hardware"):
            return value.strip()
    if sys.platform == "darwin":
        import subprocess

        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return platform.processor() or platform.machine()


def usable_cpus() -> list[int]:
    """The processors that this process may run on, the best ones first.

    Fast cores come before slow ones, and a second thread of a core after all first ones.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)

    def rank(cpu: int) -> tuple[int, int, int]:
        folder = CPUS / f"cpu{cpu}"
        speed = _number(folder / "cpu_capacity") or _number(folder / "cpufreq/cpuinfo_max_freq") or 0
        siblings = sorted(parse_cpu_list(_read(folder / "topology/thread_siblings_list")))
        return -speed, siblings.index(cpu) if cpu in siblings else 0, cpu

    return sorted(allowed, key=rank)


def pin(threads: int) -> list[int]:
    """Bind this process, and the threads it will start, to its `threads` best processors; [] where that cannot be."""
    chosen = usable_cpus()[:threads]
    if not hasattr(os, "sched_setaffinity"):
        return []
    try:
        os.sched_setaffinity(0, chosen)
    except OSError:
        return []
    return chosen


def parse_cpu_list(text: str) -> list[int]:
    """Numbers of a list such as ``0,4-6``."""
    found: list[int] = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            found += range(int(first), int(last or first) + 1)
    return found


def snapshot(cpus: Iterable[int]) -> dict[str, Any]:
    """The state now: frequencies (MHz), governors, temperatures (°C), counters of throttling, load, processor time."""
    cpus = list(cpus)
    folders = [CPUS / f"cpu{cpu}" for cpu in cpus]
    mhz = [_number(folder / "cpufreq/scaling_cur_freq") for folder in folders]
    throttled = [_number(folder / "thermal_throttle/core_throttle_count") for folder in folders]
    firmware = _read(FIRMWARE_THROTTLE).strip()
    return {
        "time": time.time(),
        "mhz": [value // 1000 for value in mhz if value is not None],
        "governors": sorted({text for f in folders if (text := _read(f / "cpufreq/scaling_governor").strip())}),
        "celsius": _temperatures(),
        "throttle_count": sum(value for value in throttled if value is not None),
        "throttled_now": bool(int(firmware, 16) & 0xF) if firmware else False,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
        "busy": _processor_times(cpus),
        "own": sum(os.times()[:4]),
    }


def _temperatures() -> dict[str, float]:
    found = {}
    for zone in sorted(THERMAL.glob("thermal_zone*")):
        value = _number(zone / "temp")
        if value is not None:
            found[_read(zone / "type").strip() or zone.name] = value / 1000
    return found


def _processor_times(cpus: list[int]) -> dict[str, float]:
    """Seconds that all processes (also of other virtual machines: `steal`) had of the processors since the start."""
    wanted, busy, steal = {f"cpu{cpu}" for cpu in cpus}, 0.0, 0.0
    for line in _read(Path("/proc/stat")).splitlines():
        name, *values = line.split()
        if name in wanted:
            user, nice, system, _, _, irq, softirq, stolen = (int(v) for v in values[:8])
            busy += user + nice + system + irq + softirq
            steal += stolen
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    return {"busy": busy / tick, "steal": steal / tick} if wanted and busy else {}


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_read(path))
    except ValueError:
        return None
