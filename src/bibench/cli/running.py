"""``bibench run``: train what a suite lacks, with a live display, and print the scores."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bibench.cli.display import make_display
from bibench.cli.exit_codes import FAILED
from bibench.cli.marking import marked
from bibench.cli.options import (
    RUNS,
    ComputeDevice,
    DataRoot,
    Download,
    Json,
    Load,
    Rerun,
    Runs,
    SuiteName,
    check_device,
    filtered,
    load_files,
)
from bibench.cli.output import console, duration, notes, print_json, tell_of_absent_core
from bibench.cli.planning import counts, print_reasons, stale_hint
from bibench.cli.scoring import print_scores, scores
from bibench.cli.vouching import Force, vouch
from bibench.contracts.loaded import used_by
from bibench.data.location import data_root as find_data_root
from bibench.execution.plan import PlanRow, make_plan
from bibench.execution.runner import Outcome, Runner, prepare_data
from bibench.foundation.errors import BiBenchError, require
from bibench.records.provenance import available_cores
from bibench.records.record import Record, read_compared
from bibench.suite.definition import SUITES, cells
from bibench.suite.filters import Filters
from bibench.suite.store import RECORDS, CellDirectory
from bibench.train.cell import Settings


@filtered
def run(
    suite: SuiteName,
    runs: Runs = RUNS,
    data_root: DataRoot = None,
    download: Download = False,
    *,
    wanted: Filters,
    load: Load = None,
    rerun: Rerun = "missing",
    force: Force = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Cells trained at once (default: one per core, or per GPU).")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads per worker.")] = None,
    device: ComputeDevice = "auto",
    data_workers: Annotated[int, typer.Option("--data-workers", min=0, help="Processes reading data, per cell.")] = 0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard logs.")] = False,
    json: Json = False,
) -> None:
    """Train what the suite lacks and print the scores. Run it again to continue after an interruption."""
    for library, purpose in (
        ("lightning_fabric", "training"),
        ("torchmetrics", "evaluation"),
        ("filelock", "running cells"),
    ):
        require(library, extra="bench", purpose=purpose)
    check_device(device)
    began, out = time.monotonic(), console(stderr=json)
    loaded = load_files(load)
    settings = Settings(
        runs=runs,
        data_root=find_data_root(data_root),
        download=download,
        device=device,
        threads=threads,
        data_workers=data_workers,
        tensorboard=tensorboard,
        discard_stale=rerun != "missing",
        load=loaded,
    )
    chosen = cells(SUITES[suite], wanted)
    with notes():
        rows = make_plan(chosen, runs, data_root=settings.data_root, download=download, rerun=rerun, weights=True)
    prepare_data(rows, settings, lambda text: out.print(text, markup=False))
    needed = used_by([row.cell for row in rows if row.todo])
    settings = replace(settings, marks=vouch(needed, loaded, data_root=settings.data_root, force=force))
    todo = sum(row.todo for row in rows)
    count = min(workers or _default_workers(device), max(1, todo))
    if todo:
        tell_of_absent_core(out)
    out.print(f"Suite {suite}: {len(rows)} cells ({counts(rows)}); training {todo} with {count} worker(s) into {runs}")
    print_reasons(out, rows)
    if hint := stale_hint(rows):
        out.print(hint, markup=False)
    with make_display(out, todo) as display:
        outcome = Runner(rows, settings, count, display).run()
    records = _records(rows, runs)
    state = make_plan(chosen, runs, data_root=settings.data_root)
    records = marked(records, state)
    if json:
        print_json(_summary(rows, outcome, records))
    elif records:
        print_scores(out, records, plan=state)
    elapsed = duration((time.monotonic() - began) / 3600)
    out.print(
        f"{_ending(rows, outcome)} in {elapsed}. Records: {runs}/**/records.jsonl; again with: bibench score {runs}"
    )
    _exit(rows, outcome)


def _default_workers(device: str) -> int:
    import torch

    if device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        return torch.cuda.device_count()
    return available_cores()


def _records(rows: list[PlanRow], runs: Path) -> list[Record]:
    files = [CellDirectory(runs, row.cell).file(RECORDS) for row in rows]
    return [record for file in files if file.exists() for record in _unless_damaged(file)]


def _unless_damaged(file: Path) -> list[Record]:
    try:
        return read_compared(file)
    except BiBenchError:  # as the plan says
        return []


def _summary(rows: list[PlanRow], outcome: Outcome, records: list[Record]) -> dict[str, object]:
    ended = {cell: vars(result) for cell, result in outcome.results.items()}
    cells_ = [
        {**row.cell.to_dict(), **ended.get(row.cell, {"status": row.state, "reason": row.reason})} for row in rows
    ]
    return {"cells": cells_, "scores": [s.to_dict() for s in scores(records)] if records else []}


def _ending(rows: list[PlanRow], outcome: Outcome) -> str:
    elsewhere = sum(r.status == "done" and r.reason != "" for r in outcome.results.values())
    text = f"{outcome.count('done') - elsewhere} trained" + (f", {elsewhere} by another process" if elsewhere else "")
    if failed := _failed(rows, outcome):
        text += f", {failed} failed (see failure.json in their folders, --rerun failed tries again)"
    if unsupported := outcome.count("unsupported") + sum(r.state == "unsupported" for r in rows):
        text += f", {unsupported} unsupported"
    if none := sum(r.state == "no data" for r in rows):
        text += f", {none} without data"
    if _stopped_early(outcome):
        text += ", stopped early (run the same command to continue)"
    return text


def _failed(rows: list[PlanRow], outcome: Outcome) -> int:
    """Cells that failed, now or in an earlier run that was not to be repeated."""
    return outcome.count("failed") + sum(r.state == "failed" and not r.todo for r in rows)


def _stopped_early(outcome: Outcome) -> bool:
    return outcome.signal is not None or outcome.count("interrupted") > 0 or outcome.count("fatal") > 0


def _exit(rows: list[PlanRow], outcome: Outcome) -> None:
    if outcome.signal is not None:
        raise typer.Exit(128 + outcome.signal)
    if _failed(rows, outcome) or _stopped_early(outcome) or any(r.state == "no data" for r in rows):
        raise typer.Exit(FAILED)
