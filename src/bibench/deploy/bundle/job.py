"""A job: every configuration (threads × batch) in a process of its own, then memory and profile of each contender.

Whatever happens is told as events, one JSON object per line, as it happens: what was measured before a
connection or a process broke is there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from . import machine, marker, noise
from .engines import ONNX_ENGINES, load, sampler
from .memory import peak_memory
from .profiling import profile
from .tools import TOOLS
from .turns import Turns, describe, take_turns

Event = dict[str, Any]
Emit = Callable[[Event], None]
Job = Mapping[str, Any]

COUNTS = (1, 2, 4, 8)
"""Threads of the paper, as far as the machine has them."""
NEWS_SECONDS = 1.0


def run_job(job: Job, emit: Emit) -> None:
    """Do everything that `job` asks for."""
    facts = machine.describe()
    emit({"event": "machine", **facts})
    usable = facts["usable_cpus"]
    explained: set[str] = set()
    for threads in job["threads"] or [count for count in COUNTS if count <= usable]:
        for batch in job["batches"]:
            one = {**job, "threads": threads, "batch": batch}
            if threads > usable:
                _refuse(one, f"{threads} threads were asked for, the machine has {usable} processors for us", emit)
            else:
                _configuration(one, emit, explained)
    emit({"event": "done"})


def _refuse(one: Job, reason: str, emit: Emit) -> None:
    for contender in one["contenders"]:
        emit({**_result(one, contender["name"]), "status": "unsupported", "reason": reason})


def _configuration(one: Job, emit: Emit, explained: set[str]) -> None:
    """Turns, started again without a contender that the process died of; then memory and profile of the survivors.

    Who is slower than expected is profiled in the first of its configurations; `explained` are those who were.
    """
    left = list(one["contenders"])
    good: set[str] = set()
    samples: dict[str, list[float]] = {}
    while left:
        events, at_work, ending = _child("turns", {**one, "contenders": left}, emit)
        results = [e for e in events if e["event"] == "result"]
        good |= {e["contender"] for e in results if e["status"] == "ok"}
        samples.update({e["contender"]: e["samples"] for e in results if e["status"] == "ok"})
        if not ending:
            break
        dead = left if at_work is None else [left[at_work]]
        for contender in dead:
            reason = f"the process died in its turn ({ending})"
            emit({**_result(one, contender["name"]), "status": "failed", "reason": reason})
        told = {e["contender"] for e in results}
        left = [c for c in left if c not in dead and c["name"] not in told]
    for contender in one["contenders"]:
        if contender["name"] in good and contender["engine"] not in TOOLS:
            slow = contender["name"] not in explained and disappoints(contender, samples)
            explained |= {contender["name"]} if slow else set()
            for step in ("memory", "profile"):
                if one[step] or (step == "profile" and slow):
                    _, _, ending = _child(step, {**one, "contenders": [contender]}, emit)
                    if ending:
                        emit({**_result(one, contender["name"]), "event": "problem", "step": step, "reason": ending})


def disappoints(contender: Mapping[str, Any], samples: Mapping[str, list[float]]) -> bool:
    """Whether its speed-up over its ``peer`` is below the ``least`` that is expected of it."""
    mine, peer = samples.get(contender["name"], []), samples.get(contender.get("peer", ""), [])
    ratios = [a / b for a, b in zip(peer, mine)]
    return bool(ratios) and median(ratios) < contender["least"]


def _child(step: str, one: Job, emit: Emit) -> tuple[list[Event], int | None, str]:
    """The events of one step in a process of its own, who was at work last, and how it died ("" if it did not)."""
    turn = Path(f"turn-{os.getpid()}").resolve()
    marker.create(turn)
    process = subprocess.Popen(
        [sys.executable, "-m", __package__ or "", step],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(one["threads"])},
    )
    events: list[Event] = []
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({**one, "turn": str(turn)}).encode())
        process.stdin.close()
        for line in process.stdout:
            events.append(json.loads(line))
            emit(events[-1])
        code = process.wait()
    finally:
        process.kill()
        process.wait()
    return events, marker.read(turn), _ending(code) if code else ""


def _ending(code: int) -> str:
    """As `bibench.foundation.errors.ending`, which is not on the device."""
    if code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}" + ("; out of memory?" if code == -signal.SIGKILL else "")


def turns_step(one: Job, emit: Emit) -> None:
    """Load, warm up and measure all contenders."""
    threads, batch = one["threads"], one["batch"]
    cpus = machine.pin(threads)
    samplers: dict[str, Callable[[], float]] = {}
    numbers = {contender["name"]: number for number, contender in enumerate(one["contenders"])}
    left_by = marker.Marker(Path(one["turn"]))
    told = 0.0

    def at(name: str, doing: str) -> None:
        nonlocal told
        left_by.leave(numbers[name])
        if time.monotonic() - told >= NEWS_SECONDS:  # seldom: who reads them takes time from the processors
            told = time.monotonic()
            emit({**_result(one, name), "event": "at", "doing": doing})

    for contender in one["contenders"]:
        name = contender["name"]
        at(name, "warming up")
        try:
            samplers[name] = sampler(contender, threads, batch)
        except Exception as error:  # a file, engine or operator that cannot be; the others go on
            emit({**_result(one, name), "status": "failed", "reason": describe(error)})
    before = machine.snapshot(cpus)
    found = take_turns(
        samplers, one["precision"], one["max_seconds"], lambda name, number: at(name, f"round {number + 1}")
    )
    after = machine.snapshot(cpus)
    flags = {**noise.disturbances(before, after, len(cpus)), **({} if cpus else {"unpinned": "not pinned"})}
    for name in samplers:
        emit({**_result(one, name), **_outcome(found, name, flags, one["precision"])})
    emit(
        {
            "event": "session",
            "threads": threads,
            "batch": batch,
            "rounds": found.rounds,
            "seconds": round(found.seconds, 3),
            "cpus": cpus,
            "flags": flags,
            "advice": noise.advice(before, cpus),
            "before": before,
            "after": after,
        }
    )


def _outcome(found: Turns, name: str, flags: Mapping[str, str], precision: float) -> Event:
    if name in found.failures:
        return {"status": "failed", "reason": found.failures[name]}
    samples = found.samples[name]
    return {"status": "ok", "samples": samples, "flags": {**flags, **noise.of_samples(samples, precision)}}


def memory_step(one: Job, emit: Emit) -> None:
    """Peak memory of one contender."""
    machine.pin(one["threads"])
    contender = one["contenders"][0]
    if contender["engine"] in ONNX_ENGINES:
        import onnxruntime  # type: ignore[import-untyped]  # noqa: F401  # what the library itself takes is no memory of the model
    found = peak_memory(lambda: load(contender, one["threads"], one["batch"]))
    emit({**_result(one, contender["name"]), "event": "memory", **found})


def profile_step(one: Job, emit: Emit) -> None:
    """Time per node of one contender, if ONNX Runtime runs it."""
    contender = one["contenders"][0]
    if contender["engine"] in ONNX_ENGINES:
        machine.pin(one["threads"])
        rows = profile(contender, one["threads"], one["batch"])
        emit({**_result(one, contender["name"]), "event": "profile", "rows": rows})


def _result(one: Job, name: str) -> Event:
    return {"event": "result", "contender": name, "threads": one["threads"], "batch": one["batch"]}


STEPS: dict[str, Callable[[Job, Emit], None]] = {
    "turns": turns_step,
    "memory": memory_step,
    "profile": profile_step,
}
