"""Latency of deployed models on a device, measured beside full precision, as records.

A job goes to the device's transport; what comes back, event by event, becomes records: nothing that was
measured is lost when a connection breaks or an engine crashes. See docs/latency.md.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bibench.deploy import explaining, manifest, session
from bibench.deploy.bundle.turns import quartiles
from bibench.deploy.contenders import Contender
from bibench.deploy.devices import DEVICES
from bibench.deploy.devices.events import checked
from bibench.deploy.theory import theoretical_speedup
from bibench.foundation.errors import BiBenchError
from bibench.records.flags import joined
from bibench.records.provenance import environment, git_state, versions
from bibench.records.record import Record

KIND = "latency"
LATENCY, SPEEDUP, SIZE, PEAK, PROCESS = "latency_ms", "speedup", "storage", "peak_memory", "process_memory"
THEORY = "theoretical_speedup"

NEWS_SECONDS = 10.0
"""Who is at work is told no more often, for each count of threads and batch size."""


@dataclass(frozen=True)
class Request:
    """What is measured, where and how well.

    Attributes:
        threads: None for 1, 2, 4 and 8, as far as the device has them.
        precision: half of the interval of each median over the median.
        max_seconds: for one count of threads and batch size, all contenders together.
        shapes: of inputs with free axes, {name: sizes}.
        library: our operators for ONNX Runtime, built for the device.
        programs: benchmark programs of engines, {engine: file}.
        arguments: to those programs.
        name: what the device is called in the records.
    """

    contenders: tuple[Contender, ...]
    device: str = "local"
    threads: tuple[int, ...] | None = None
    batches: tuple[int, ...] = (1,)
    precision: float = 0.02
    max_seconds: float = 60.0
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    library: Path | None = None
    programs: Mapping[str, Path] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    name: str = ""
    memory: bool = True
    profile: bool = False


@dataclass
class Measured:
    """What came back: records, facts, and {(contender, threads, batch): ...} samples and tables of time per node.

    `explanations`: in the same way, sentences on what is slower than expected.
    """

    records: list[Record] = field(default_factory=list)
    samples: dict[tuple[str, int, int], list[float]] = field(default_factory=dict)
    profiles: dict[tuple[str, int, int], list[dict[str, Any]]] = field(default_factory=dict)
    explanations: dict[tuple[str, int, int], list[str]] = field(default_factory=dict)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    problem: str = ""


def measure(request: Request, note: Callable[[str], None]) -> Measured:
    """Measure; `note` is told news in words.

    What broke or was interrupted in the midst is `Measured.problem`, and what was measured before is kept.
    """
    found = Measured()
    job, files = to_job(request)
    transport = DEVICES[request.device].open()
    events: list[dict[str, Any]] = []
    known = {None, *(one.key for one in request.contenders)}
    told: dict[tuple[Any, Any], float] = {}
    try:
        for event in transport.run(job, files):
            if checked(event, request.device).get("contender") not in known:
                raise BiBenchError(f"{request.device}: an event is of the unknown contender {event['contender']!r}")
            events.append(event)
            if event["event"] == "at":
                now, place = time.monotonic(), (event.get("threads"), event.get("batch"))
                if now - told.get(place, -NEWS_SECONDS) < NEWS_SECONDS:
                    continue
                told[place] = now
            _tell(event, request, note)
    except (BiBenchError, KeyboardInterrupt) as error:
        if not any(event["event"] in ("result", "session") for event in events):
            raise
        found.problem = str(error) or "interrupted"
    _collect(events, request, found)
    return found


def to_job(request: Request) -> tuple[dict[str, Any], dict[str, Path]]:
    """The job, and the files that it names {name on the device: file here}."""
    _check_shapes(request)
    files: dict[str, Path] = {}
    rows = []
    for number, one in enumerate(request.contenders):
        files |= {f"files/{number}/{name}": part for name, part in one.parts.items()}
        if (described := manifest.path_of(one.file)).exists():
            files[f"files/{number}/{described.name}"] = described
        row: dict[str, Any] = {"name": one.key, "engine": one.engine, "file": f"files/{number}/{one.file.name}"}
        if peer := explaining.peer_of(one, request.contenders):
            row |= {"peer": peer, "least": explaining.least(theoretical_speedup(one.file, one.engine))}
        row["shapes"] = {name: list(sizes) for name, sizes in request.shapes.items()}
        if (library := _library(one, request)) is not None:
            files[f"files/{library.name}"] = library
            row["library"] = f"files/{library.name}"
        if one.engine in request.programs:
            program = request.programs[one.engine]
            files[f"programs/{program.name}"] = program
            row |= {"program": f"programs/{program.name}", "arguments": list(request.arguments)}
        rows.append(row)
    job = {
        "contenders": rows,
        "threads": list(request.threads) if request.threads else None,
        "batches": list(request.batches),
        "precision": request.precision,
        "max_seconds": request.max_seconds,
        "memory": request.memory,
        "profile": request.profile,
    }
    return job, files


def _check_shapes(request: Request) -> None:
    """Raise for a shape of an input that no model has, if all models say what they have."""
    described = [manifest.read(one.file) for one in request.contenders]
    known = {tensor.name for found in described if found for tensor in found.inputs}
    if None not in described and (unknown := sorted(request.shapes.keys() - known)):
        raise BiBenchError(
            f"--shape {unknown[0]}: no model has an input of that name; known: {', '.join(sorted(known))}"
        )


def _library(one: Contender, request: Request) -> Path | None:
    if one.engine != "bibench":
        return None
    if request.library is not None:
        return request.library
    if DEVICES[request.device].transport != "local":
        raise BiBenchError(
            f"engine 'bibench' on device {request.device!r} needs the library of our operators built for it: --library"
        )
    return Path(session.library())


def _tell(event: Mapping[str, Any], request: Request, note: Callable[[str], None]) -> None:
    titles = {one.key: one.title for one in request.contenders}
    where = f"{event.get('threads')} thread(s), batch {event.get('batch')}"
    if event["event"] == "at":
        note(f"{where}: {titles.get(event['contender'])}: {event['doing']}")
    elif event["event"] == "result" and event["status"] != "ok":
        note(f"{where}: {titles.get(event['contender'])}: {event['status']}: {event['reason']}")
    elif event["event"] == "result":
        own = {k: v for k, v in event["flags"].items() if k in ("wide", "drift")}
        for words in own.values():
            note(f"warning: {where}: {titles.get(event['contender'])}: {words}")
    elif event["event"] == "problem":
        note(f"warning: {where}: {titles.get(event['contender'])}: no {event['step']} ({event['reason']})")
    elif event["event"] == "session":
        for words in [*event.get("flags", {}).values(), *event.get("advice", ())]:
            note(f"warning: {where}: {words}")


def _collect(events: Sequence[Mapping[str, Any]], request: Request, found: Measured) -> None:
    by_key = {one.key: one for one in request.contenders}
    results = [e for e in events if e["event"] == "result"]
    found.machine = dict(next((e for e in events if e["event"] == "machine"), {}))
    found.sessions = [dict(e) for e in events if e["event"] == "session"]
    shared = _environment(found, request)
    for event in results:
        one = by_key[event["contender"]]
        facts = {**shared, **_place(one, event)}
        if event["status"] != "ok":
            found.records.append(_record(LATENCY, None, "ms", facts, status=event["status"], reason=event["reason"]))
            continue
        found.samples[event["contender"], event["threads"], event["batch"]] = event["samples"]
        found.records += _of_times(event, _peer(event, results, by_key), facts)
    for one in request.contenders:
        measured = [e for e in results if e["contender"] == one.key and e["status"] == "ok"]
        if measured:
            facts = {**shared, **_place(one, measured[0]), "threads": None, "batch_size": None}
            found.records.append(_record(SIZE, one.bytes, "B", facts))
            theory = None if one.baseline else theoretical_speedup(one.file, one.engine)
            if theory is not None:
                found.records.append(_record(THEORY, theory, "", facts))
    for event in (e for e in events if e["event"] == "memory"):
        facts = {**shared, **_place(by_key[event["contender"]], event)}
        found.records.append(_record(PEAK, event["model"], "B", facts))
        found.records.append(_record(PROCESS, event["process"], "B", facts))
    for event in (e for e in events if e["event"] == "profile"):
        found.profiles[event["contender"], event["threads"], event["batch"]] = event["rows"]
    found.explanations = explaining.explanations(request.contenders, found.samples, found.profiles)


def _of_times(event: Mapping[str, Any], peer: Sequence[float] | None, facts: dict[str, Any]) -> Iterator[Record]:
    samples = event["samples"]
    low, middle, high = quartiles(samples)
    flags = joined(*event["flags"], facts.get("flags", ""))
    yield _record(LATENCY, middle, "ms", facts, low=low, high=high, samples=len(samples), flags=flags)
    if peer is not None:
        ratios = [a / b for a, b in zip(peer, samples, strict=False)]
        low, middle, high = quartiles(ratios)
        yield _record(SPEEDUP, middle, "", facts, low=low, high=high, samples=len(ratios), flags=flags)


def _peer(
    event: Mapping[str, Any], results: Sequence[Mapping[str, Any]], by_key: Mapping[str, Contender]
) -> Sequence[float] | None:
    """The samples of the baseline in the same rounds, that of the same engine if there is one; None for itself."""
    own = by_key[event["contender"]]
    if own.baseline:
        return None
    peers = {
        by_key[other["contender"]].engine: other["samples"]
        for other in reversed(results)
        if other["status"] == "ok"
        and by_key[other["contender"]].baseline
        and (other["threads"], other["batch"]) == (event["threads"], event["batch"])
    }
    return peers.get(own.engine, next(reversed(peers.values()), None))


def _place(one: Contender, event: Mapping[str, Any]) -> dict[str, Any]:
    return {**one.facts, "engine": one.engine, "threads": event["threads"], "batch_size": event["batch"]}


def _environment(found: Measured, request: Request) -> dict[str, Any]:
    """The machine that was measured; of this one, only what evaluated it."""
    machine = found.machine
    name = request.name or (request.device if request.device != "local" else machine.get("board") or machine.get("cpu"))
    commit, dirty = git_state()
    local = environment() if DEVICES[request.device].transport == "local" else {"bibench": versions()["bibench"]}
    return {
        **local,
        "git_commit": commit,
        "git_dirty": dirty,
        "device": name or request.device,
        "platform": machine.get("platform", ""),
        "cpu": machine.get("cpu", ""),
        "cpu_count": machine.get("cpu_count"),
        "accelerator": "cpu",
        "python": machine.get("python", ""),
        "numpy": machine.get("numpy", ""),
        "started": found.started.isoformat(timespec="microseconds"),
    }


def _record(metric: str, value: float | None, unit: str, facts: Mapping[str, Any], **more: Any) -> Record:
    return Record(kind=KIND, metric=metric, value=value, unit=unit, **{**facts, **more})
