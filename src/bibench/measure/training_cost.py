"""Training cost as records: time of forward, backward and optimizer, peak memory, ratio to full precision."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch

from bibench.foundation.choice import Choice
from bibench.measure.isolation import run_isolated
from bibench.measure.session import Contender, Request, Result, paired_ratios
from bibench.measure.step import PHASES
from bibench.operators import FULL_PRECISION
from bibench.records.flags import joined
from bibench.records.provenance import environment
from bibench.records.record import Record, write_file
from bibench.suite.cell import Cell
from bibench.suite.store import RECORDS
from bibench.train.cell import identity_fields, precision_of

FOLDER = Path("measurements", "training-cost")
SLOWER = "slower_format"
"""Flag of full precision in the memory format that is not the peer."""


def measure_training_cost(request: Request, runs: Path, note: Callable[[str], None]) -> list[Record]:
    """Measure in a process of its own, and write the records into the run folder."""
    began = datetime.datetime.now(datetime.UTC)
    result = run_isolated(request, note)
    records = to_records(result, request, began)
    first = request.cells[0]
    settings = f"{first.recipe.path_name},batch={result.batch_size},threads={request.threads}"
    place = Path(first.task.path_name, first.model.path_name, settings, began.strftime("%Y%m%dT%H%M%S.%fZ"))
    write_file(runs / FOLDER / place / RECORDS, records, checksum=True)
    return records


def baseline_first(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """`cells` with the full-precision cell of the first one in front."""
    baseline = replace(cells[0], operator=Choice(FULL_PRECISION))
    return (baseline, *(c for c in dict.fromkeys(cells) if c != baseline))


def to_records(result: Result, request: Request, began: datetime.datetime) -> list[Record]:
    """The records of a session: what every contender needed, or why there is no number."""
    shared = {
        **environment(request.device),
        "threads": request.threads,
        "batch_size": result.batch_size,
        "started": began.isoformat(timespec="microseconds"),
        "seconds": round(result.seconds, 3),
    }
    rows: list[Record] = []
    for contender in result.contenders:
        facts = {
            **shared,
            **identity_fields(contender.cell),
            "precision": precision_of(contender.cell.resolved_recipe(), torch.device(request.device)),
            "memory_format": contender.memory_format,
        }
        rows += _of_contender(contender, result, facts)
    return rows


def _of_contender(contender: Contender, result: Result, facts: dict[str, Any]) -> list[Record]:
    baseline = contender.cell.full_precision
    if contender.status == "ok" and (baseline or result.peer is not None):
        slower = SLOWER if baseline and contender is not result.peer else ""
        flag = {"flags": joined(slower, facts["flags"])}
        rows = _times(contender, result.steps_per_epoch, facts | flag)
        if contender.peak_memory is not None:
            rows.append(_record("peak_memory", contender.peak_memory, unit="B", **facts | flag))
        if result.peer is not None and not baseline:
            rows.append(_median("time_ratio", paired_ratios(result.peer, contender), 1, "", facts))
        return rows
    status, reason = contender.status, contender.reason
    if status == "ok":
        status, reason = "failed", f"full precision could not be measured: {_baseline_reason(result)}"
    metric = "step_seconds" if baseline else "time_ratio"
    return [_record(metric, None, status=status, reason=reason, **facts)]


def _baseline_reason(result: Result) -> str:
    return "; ".join(dict.fromkeys(c.reason for c in result.contenders if c.cell.full_precision and c.reason))


def _times(contender: Contender, steps: int, facts: dict[str, Any]) -> list[Record]:
    rows = []
    for phase in (*PHASES, "step"):
        epoch = "epoch" if phase == "step" else f"epoch_{phase}"
        for kind, values in (("", contender.seconds(phase)), ("_cpu", contender.cpu_seconds(phase))):
            rows.append(_median(f"{phase}{kind}_seconds", values, 1, "s", facts))
            rows.append(_median(f"{epoch}{kind}_seconds", values, steps, "s", facts))
    return rows


def _median(metric: str, values: Sequence[float], factor: int, unit: str, facts: dict[str, Any]) -> Record:
    """The median of `values` with its quartiles, times `factor`."""
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    spread = {"low": factor * low, "high": factor * high, "samples": len(values)}
    return _record(metric, factor * middle, unit=unit, **spread, **facts)


def _record(metric: str, value: float | None, **more: Any) -> Record:
    return Record(kind="cost", metric=metric, value=value, **more)
