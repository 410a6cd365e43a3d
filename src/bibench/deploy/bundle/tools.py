"""Benchmark programs of other engines that a user supplies: how they are called, and how their output is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

NUMBER = r"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)"

CALLS = 10
"""Calls that one run of a program makes."""


@dataclass(frozen=True)
class Timing:
    """What a program said about its calls: milliseconds, and how many there were.

    `value` is the median where the program tells one, else the mean (`statistic`).
    """

    value: float
    statistic: str
    calls: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Tool:
    """A program: its arguments for (model, threads, calls), and the reader of its output."""

    program: str
    arguments: Callable[[str, int, int], list[str]]
    parse: Callable[[str], Timing]
    threads: bool = True


def lce_arguments(model: str, threads: int, calls: int) -> list[str]:
    """Arguments of ``lce_benchmark_model``; it stops by itself after `calls`, its shortest time set to nothing."""
    return [f"--graph={model}", f"--num_threads={threads}", f"--num_runs={calls}", "--min_secs=0", "--warmup_runs=1"]


COUNT = re.compile(r"\bcount=([0-9]+)\s")
SPREAD = re.compile(rf"min={NUMBER}\s+max={NUMBER}\s")
MEDIAN = re.compile(rf"\b(?:median|p50)={NUMBER}")
AVERAGE = re.compile(rf"Inference \(avg\): {NUMBER}")


def parse_lce(output: str) -> Timing:
    """Read the output of ``lce_benchmark_model`` (TFLite's benchmark tool), which is in microseconds.

    The last ``count=`` line is the measurement, the one before it the warm-up; a line of equal times has no spread.
    """
    average = AVERAGE.search(output)
    if average is None:
        raise ValueError(f"no line 'Inference (avg): …' in the output of lce_benchmark_model{_tail(output)}")
    lines = [line for line in output.splitlines() if COUNT.search(f"{line} ")]
    if len(lines) < 2:  # without a warm-up line, the only one would be it
        return Timing(_milliseconds(average[1], 1e3), "mean", 1)
    calls, spread, middle = (pattern.search(f"{lines[-1]} ") for pattern in (COUNT, SPREAD, MEDIAN))
    low, high = (_milliseconds(text, 1e3) for text in spread.groups()) if spread else (None, None)
    statistic, value = ("median", middle[1]) if middle else ("mean", average[1])
    return Timing(_milliseconds(value, 1e3), statistic, int(calls[1]) if calls else 1, low, high)


def dabnn_arguments(model: str, threads: int, calls: int) -> list[str]:
    """Arguments of ``benchmark_single_model``, which chooses its own number of calls and has one thread."""
    return [model]


UNITS = {"ns": 1e6, "us": 1e3, "ms": 1.0, "s": 1e-3}
"""How many of google-benchmark's units make a millisecond."""
BENCHMARK_LINE = re.compile(rf"^(\S+)\s+{NUMBER} (ns|us|ms|s)\s+{NUMBER} (ns|us|ms|s)\s+([0-9]+)(?:\s|$)", re.MULTILINE)
AGGREGATES = ("_mean", "_median", "_stddev", "_cv")


def parse_google_benchmark(output: str) -> dict[str, Timing]:
    """Read google-benchmark's console output, real time: {name: timing}; repeated names give the median."""
    found: dict[str, list[Timing]] = {}
    for name, real, unit, _, _, calls in BENCHMARK_LINE.findall(output):
        if not name.endswith(AGGREGATES):
            found.setdefault(name, []).append(Timing(_milliseconds(real, UNITS[unit]), "mean", int(calls)))
    if not found:
        raise ValueError(f"no line of google-benchmark (name, time, CPU time, iterations){_tail(output)}")
    return {name: sorted(rows, key=lambda row: row.value)[(len(rows) - 1) // 2] for name, rows in found.items()}


def parse_dabnn(output: str) -> Timing:
    """Read the output of daBNN's ``benchmark_single_model``: one benchmark."""
    found = parse_google_benchmark(output)
    if len(found) != 1:
        raise ValueError(f"expected one benchmark in the output of daBNN, got {', '.join(found)}")
    return next(iter(found.values()))


TOOLS = {
    "larq": Tool("lce_benchmark_model", lce_arguments, parse_lce),
    "dabnn": Tool("benchmark_single_model", dabnn_arguments, parse_dabnn, threads=False),
}


def command(engine: str, program: str, model: str, threads: int, calls: int, extra: Sequence[str]) -> list[str]:
    """The words of the command that measures `model`; the user's own arguments come last, so they win."""
    return [program, *TOOLS[engine].arguments(model, threads, calls), *extra]


def check(engine: str, threads: int, batch: int) -> None:
    """Raise ValueError for what a benchmark program cannot measure."""
    if batch != 1:
        raise ValueError(f"engine {engine!r} is measured at batch 1, got {batch}")
    if threads != 1 and not TOOLS[engine].threads:
        raise ValueError(f"engine {engine!r} has one thread, {threads} were asked for")


def _milliseconds(text: str, per_millisecond: float) -> float:
    value = float(text) / per_millisecond
    if not 0 < value < 1e9:
        raise ValueError(f"{text} is no time of an inference")
    return value


def _tail(output: str) -> str:
    last = output.strip().splitlines()[-1:] or ["(nothing)"]
    return f"; its last line: {last[0][:200]}"
