"""Measurements of latency in a run folder, or appended to a file of records.

measurements/latency/<device>/<time>/records.jsonl   the numbers
                                    /session.json    models, machine, state before and after, statistics
                                    /samples.csv     every sample
                                    /profile-*.csv   time per node
"""

from __future__ import annotations

import datetime
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bibench.deploy.bundle.turns import interval, quantile
from bibench.deploy.latency import Measured, Request
from bibench.foundation.checksums import file_sha256
from bibench.foundation.errors import BiBenchError
from bibench.foundation.files import storing, write_json, write_text
from bibench.foundation.locks import exclusive
from bibench.foundation.visible import csv_text
from bibench.records.record import Record, read_file, write_file
from bibench.suite.store import RECORDS

FOLDER = Path("measurements", "latency")


def require_writable(target: Path) -> None:
    """Raise before anything is measured when `store` could not write to `target` afterwards."""
    folder = target
    if target.suffix == ".jsonl":
        _known(target)
        folder = target.parent
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    with storing(folder):
        tempfile.TemporaryFile(dir=there).close()  # and no folder: what is measured may yet come to nothing


def store(measured: Measured, request: Request, target: Path) -> Path:
    """Write all below the run folder `target`, or append the records to it if it is a ``.jsonl`` file."""
    if target.suffix == ".jsonl":
        append(measured.records, target)
        return target
    device = measured.records[0].device if measured.records else request.device
    folder = new_folder(target, device, measured.started)
    write_text(folder / "samples.csv", csv_text(_samples(measured)))
    for (key, threads, batch), rows in measured.profiles.items():
        write_text(folder / f"profile-{key}-{threads}threads-batch{batch}.csv", csv_text(rows))
    write_json(folder / "session.json", _session(measured, request))
    write_file(folder / RECORDS, measured.records, checksum=True)
    return folder


def append(records: Iterable[Record], file: Path) -> None:
    """Add records to a file of records, which is checked first; it gets all of them or stays as it is.

    Processes that append at once wait for each other.
    """
    with exclusive(file):
        write_file(file, [*_known(file), *records])


def _known(file: Path) -> list[Record]:
    if file.is_dir():
        raise BiBenchError(f"-o {file}: expected a file or a run folder, this folder is named like a file of records")
    return read_file(file) if file.exists() else []


def new_folder(runs: Path, name: str, started: datetime.datetime) -> Path:
    """A new folder for measurements on the device called `name`."""
    place = re.sub(r"[^A-Za-z0-9+.-]+", "-", name).strip("-.").lower() or "device"
    folder = runs / FOLDER / place / started.strftime("%Y%m%dT%H%M%S.%fZ")
    with storing(folder):
        folder.mkdir(parents=True)
    return folder


def _session(measured: Measured, request: Request) -> dict[str, Any]:
    models = [
        {
            "contender": one.key,
            "title": one.title,
            "engine": one.engine,
            "baseline": one.baseline,
            "files": {
                name: {"bytes": part.stat().st_size, "sha256": file_sha256(part)} for name, part in one.parts.items()
            },
        }
        for one in request.contenders
    ]
    statistics = [
        {"contender": key, "threads": threads, "batch": batch, **summary(samples)}
        for (key, threads, batch), samples in measured.samples.items()
    ]
    explanations = [
        {"contender": key, "threads": threads, "batch": batch, "sentences": said}
        for (key, threads, batch), said in measured.explanations.items()
    ]
    return {
        "started": measured.started.isoformat(timespec="microseconds"),
        "problem": measured.problem,
        "precision": request.precision,
        "max_seconds": request.max_seconds,
        "models": models,
        "machine": measured.machine,
        "statistics": statistics,
        "explanations": explanations,
        "sessions": measured.sessions,
    }


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """Milliseconds: median, its 95 % interval, minimum and tails."""
    bounds = interval(samples)
    return {
        "median": median(samples),
        "interval": None if bounds is None else list(bounds),
        "minimum": min(samples),
        "p05": quantile(samples, 0.05),
        "p95": quantile(samples, 0.95),
        "samples": len(samples),
    }


def _samples(measured: Measured) -> list[dict[str, Any]]:
    return [
        {"contender": key, "threads": threads, "batch": batch, "round": number, "ms": f"{value:.6f}"}
        for (key, threads, batch), samples in measured.samples.items()
        for number, value in enumerate(samples, 1)
    ]
