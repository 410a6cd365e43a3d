"""``bibench measure corruptions``: trained cells on corrupted test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from bibench.cli.marking import marked
from bibench.cli.options import (
    ComputeDevice,
    DataRoot,
    Format,
    Load,
    check_format,
    filtered,
    flat,
    load_files,
    resolve_device,
)
from bibench.cli.output import console, notes, number, print_records, require_measured, table
from bibench.cli.vouching import Force, vouch
from bibench.contracts.loaded import used_by
from bibench.data.location import data_root as find_data_root
from bibench.foundation.errors import BiBenchError, StoreError
from bibench.records.record import Record
from bibench.suite.filters import Filters

if TYPE_CHECKING:
    from bibench.tracks.corruption_robustness import CorruptedAccuracy


@filtered
def corruptions(
    runs: Annotated[Path, typer.Argument(help="A run folder with finished cells.")],
    names: Annotated[
        list[str] | None, typer.Option("--corruptions", help="Only these, as in: fog,snow (default: all 19).")
    ] = None,
    source: Annotated[
        str, typer.Option("--source", help="official files, generated images, or auto: official where they are.")
    ] = "auto",
    seed: Annotated[int, typer.Option("--corruption-seed", min=0, help="Seed of generated corruptions.")] = 0,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what has been measured.")] = False,
    *,
    wanted: Filters,
    data_root: DataRoot = None,
    device: ComputeDevice = "auto",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Threads that corrupt images.")] = None,
    load: Load = None,
    force: Force = False,
    format: Format = "table",
) -> None:
    """Accuracy of finished cells under 19 corruptions in 5 severities (Hendrycks & Dietterich, 2019)."""
    from bibench.data.corruptions import CORRUPTIONS
    from bibench.data.corruptions.apply import check_name
    from bibench.measure.corruptions import SOURCES, Request, finished_cells, measure_corruptions
    from bibench.tasks import TASKS

    check_format(format)
    if source not in SOURCES:
        raise BiBenchError(f"--source must be {', '.join(SOURCES[:-1])} or {SOURCES[-1]}; got {source!r}")
    chosen = tuple(dict.fromkeys(flat(names))) or CORRUPTIONS
    for name in chosen:
        check_name(name)
    device = resolve_device(device)
    loaded = load_files(load)
    for task in wanted.tasks:
        TASKS[task.partition("[")[0]]
    if not runs.is_dir():
        raise StoreError(f"{runs} does not exist; expected a run folder")
    with notes():
        cells = finished_cells(runs, wanted)
    if not cells:
        raise BiBenchError(f"{runs} has no finished cell of an image classification task that the options name")
    news = console(stderr=True)
    root = find_data_root(data_root)
    vouch(used_by(cells), loaded, data_root=root, force=force)
    request = Request(runs, chosen, source, seed, root, device, threads, again)
    records = measure_corruptions(cells, request, news.print)
    records = marked(records)
    print_records(records, format, lambda: print_corruptions(console(), records))
    require_measured(records)


def print_corruptions(out: Console, records: Sequence[Record]) -> None:
    """For each task, model and recipe accuracies by corruption and by severity; then what failed."""
    from bibench.tracks.corruption_robustness import by_corruption, by_severity

    corruption, severity = by_corruption(records), by_severity(records)
    for place in dict.fromkeys((r.task, r.model, r.recipe) for r in corruption):
        for rows, what in ((corruption, "corruption"), (severity, "severity")):
            chosen = [r for r in rows if (r.task, r.model, r.recipe) == place]
            title = f"accuracy on {place[0]}, {place[1]}, recipe {place[2]}, percent, by {what}: mean over seeds and "
            _print_table(out, title + ("severities" if what == "corruption" else "corruptions"), what, chosen)
    for record in records:
        if record.value is None:
            out.print(f"{record.status}: {record.cell}: {record.reason}")


def _print_table(out: Console, title: str, what: str, rows: Sequence[CorruptedAccuracy]) -> None:
    operators = list(dict.fromkeys(r.operator for r in rows))
    by_key = {(r.condition, r.operator): r for r in rows}
    lines = []
    for condition in dict.fromkeys(r.condition for r in rows):
        found = [by_key.get((condition, operator)) for operator in operators]
        lines.append([condition, *(number(r.accuracy if r else None) for r in found)])
    out.print(table(title, [what, *operators], lines, numeric=operators))
