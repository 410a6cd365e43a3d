"""The report over 100,000 records: seconds and peak memory of reading, scoring, ranking and writing."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bibench.operators import PAPER_ORDER
from bibench.records.record import Record

RECORDS = 100_000
MODELS = {"resnet20": "cnn", "vgg_small": "cnn", "bert": "transformer", "pointnet": "mlp"}
CORRUPTIONS = 19


def synthetic(count: int, seed: int = 0) -> Iterator[Record]:
    """Cells of tasks × models × operators × seeds with all their measurements, until there are `count` records."""
    noise, made = random.Random(seed), 0
    for task in range(10_000):
        for model, family in MODELS.items():
            for place, operator in enumerate(PAPER_ORDER):
                for repetition in range(5):
                    base = 0.93 - 0.012 * place - 0.02 * (task % 7) + noise.gauss(0, 0.01)
                    for record in cell(f"task{task:02}", model, family, operator, repetition, base, noise):
                        if made == count:
                            return
                        made += 1
                        yield record


def cell(
    task: str, model: str, family: str, operator: str, seed: int, base: float, noise: random.Random
) -> Iterator[Record]:
    """The records of one cell: score, training, sizes, latency and 96 corrupted accuracies."""
    known: dict[str, Any] = {
        "cell": f"{task}/{model}/{operator}/paper/seed{seed}",
        "task": task,
        "embedded": True,
        "model": model,
        "family": family,
        "operator": operator,
        "recipe": "paper",
        "seed": seed,
        "code": "a-b-c-d-e",
        "initial_weights": f"w{task}{seed}",
        "data_order": f"o{task}{seed}",
        "data": f"d{task}",
        "started": "2026-01-01T00:00:00+00:00",
        "bibench": "0.1.0",
        "python": "3.11",
        "torch": "2.6",
        "platform": "Linux x86_64",
        "cpu": "synthetic",
        "cpu_count": 2,
    }
    yield Record(kind="score", metric="accuracy", split="test", value=base, **known)
    yield Record(kind="training", metric="train_seconds", unit="s", value=100.0, **known)
    bits = 32 if operator == "fp32" else 2
    yield Record(kind="complexity", metric="storage", unit="B", value=1e5 * bits, **known)
    if bits == 2:
        for metric in ("compression", "speedup"):
            yield Record(kind="complexity", metric=metric, value=10 + noise.random(), **known)
    yield Record(
        kind="latency", metric="latency_ms", unit="ms", value=float(bits), device="host", engine="onnx", **known
    )
    yield Record(kind="corruption", metric="accuracy", corruption="none", severity=0, value=base, **known)
    for corruption in range(CORRUPTIONS):
        for severity in range(1, 6):
            value = base * (1 - 0.06 * severity) + noise.gauss(0, 0.01)
            name = f"corruption{corruption:02}"
            yield Record(kind="corruption", metric="accuracy", corruption=name, severity=severity, value=value, **known)


def write(path: Path, count: int = RECORDS) -> None:
    """The records as a file."""
    with path.open("w", encoding="utf-8") as stream:
        for record in synthetic(count):
            stream.write(json.dumps(asdict(record)) + "\n")


def run() -> list[dict[str, Any]]:
    """One build in a fresh process, the way a user starts it."""
    with tempfile.TemporaryDirectory() as folder:
        records, site = Path(folder, "records.jsonl"), Path(folder, "site")
        write(records)
        command = "from bibench.cli.app import main; main()"
        arguments = ["report", str(records), "--against", "published", "-o", str(site)]
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", command, *arguments], check=True, capture_output=True)
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        files = [f for f in site.rglob("*") if f.is_file()]
        return [
            {
                "name": f"report of {RECORDS:,} records",
                "seconds": round(seconds, 1),
                "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
                "peak_gib": round(used.ru_maxrss / 2**20, 2),
                "files": len(files),
                "site_mb": round(sum(f.stat().st_size for f in files) / 1e6, 1),
            }
        ]
