"""``bibench plan`` and ``status``: what a suite consists of, what is done, and what the rest will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from bibench.cli.options import (
    RUNS,
    DataRoot,
    Json,
    Load,
    Rerun,
    Runs,
    SuiteName,
    filtered,
    load_files,
)
from bibench.cli.output import console, duration, notes, print_json, table
from bibench.cli.vouching import warn
from bibench.contracts.loaded import used_by
from bibench.data.location import data_root as find_data_root
from bibench.execution.plan import PlanRow, make_plan
from bibench.foundation.wording import counted, listed
from bibench.suite.definition import SUITES, cells
from bibench.suite.filters import Filters


@filtered
def plan(
    suite: SuiteName,
    runs: Runs = RUNS,
    data_root: DataRoot = None,
    *,
    wanted: Filters,
    load: Load = None,
    rerun: Rerun = "missing",
    probe: Annotated[bool, typer.Option("--probe", help="Time a few steps where no record tells.")] = False,
    json: Json = False,
) -> None:
    """Show the cells of a suite: done, to do, impossible, and an estimate of the hours."""
    loaded, root = load_files(load), find_data_root(data_root)
    chosen = cells(SUITES[suite], wanted)
    with notes():
        rows = make_plan(chosen, runs, data_root=root, rerun=rerun, probe=probe)
    warn(used_by([row.cell for row in rows if row.todo]), loaded, data_root=root)
    if json:
        print_json([row.to_dict() for row in rows])
        return
    out = console()
    out.print(_plan_table(suite, rows))
    print_reasons(out, rows)
    _print_each(out, [("time", row.basis, row) for row in rows])
    out.print(f"{len(rows)} cells: {counts(rows)}.")
    if hint := stale_hint(rows):
        out.print(hint, markup=False)
    for text in costs(rows):
        out.print(text, markup=False)


@filtered
def status(
    suite: SuiteName,
    runs: Runs = RUNS,
    data_root: DataRoot = None,
    *,
    wanted: Filters,
    load: Load = None,
    json: Json = False,
) -> None:
    """Show how far a suite is, and why cells failed, are stale or cannot run."""
    load_files(load)
    chosen = cells(SUITES[suite], wanted)
    with notes():
        rows = make_plan(chosen, runs, data_root=find_data_root(data_root))
    if json:
        print_json([row.to_dict() for row in rows])
        return
    out = console()
    told = [row for row in rows if row.state not in ("done", "missing")]
    if told:
        columns = ("task", "model", "operator", "seed", "state", "why")
        lines = [
            (row.cell.task, row.cell.model, row.cell.operator, row.cell.seed, row.state, row.reason) for row in told
        ]
        out.print(table("", columns, lines, numeric=("seed",)))
    out.print(f"Suite {suite} in {runs}: {len(rows)} cells: {counts(rows)}.")
    if hint := stale_hint(rows):
        out.print(hint, markup=False)
    if any(row.state == "failed" for row in rows):
        out.print("Failed cells keep their traceback in failure.json; run with --rerun failed to try them again.")


def costs(rows: Sequence[PlanRow]) -> list[str]:
    """What the cells that are to do will take in all, and those that would be if there were data."""
    wanting = [row for row in rows if row.state == "no data"]
    return [
        f"{what}: {_total(own)}"
        for what, own in (("To do", [row for row in rows if row.todo]), ("Without data", wanting))
        if own
    ]


def _total(rows: Sequence[PlanRow]) -> str:
    """``4 cells, about 12 min of one worker (8 to 20 min) on EPYC, without 1 cell that nothing near tells about.``"""
    known = [row for row in rows if row.hours is not None]
    cells = counted(len(rows), "cell")
    if not known:
        return f"{cells}; nothing near enough tells how long they take. --probe measures a few steps of each."
    text = f"{cells}, about {duration(sum(row.hours or 0 for row in known))} of one worker"
    low, high = (sum(getattr(row, end) or 0 for row in known) for end in ("low", "high"))
    if duration(low) != duration(high):
        text += f" ({_range(low, high)})"
    devices = [name for name in dict.fromkeys(row.device for row in known) if name]
    text += f" on {listed(devices)}" if devices else ""
    left = len(rows) - len(known)
    return text + (f", without {counted(left, 'cell')} that nothing near enough tells about." if left else ".")


def _range(low: float, high: float) -> str:
    """``8 to 20 min``."""
    first, last = duration(low), duration(high)
    number, unit = first.rsplit(" ", 1)
    return f"{number} to {last}" if last.endswith(f" {unit}") else f"{first} to {last}"


def stale_hint(rows: Sequence[PlanRow]) -> str:
    """What to do about stale cells that are left as they are, or an empty string."""
    left = sum(row.state == "stale" and not row.todo for row in rows)
    if not left:
        return ""
    told = (
        f"{left} stale cells are not trained again: their numbers are of"
        if left > 1
        else ("1 stale cell is not trained again: its numbers are of")
    )
    return f"{told} other code than today's. To train what is stale again: the same bibench run with --rerun stale"


def counts(rows: Sequence[PlanRow]) -> str:
    """Like ``12 done, 3 missing``."""
    found = Counter(row.state for row in rows)
    return ", ".join(f"{n} {state}" for state, n in found.most_common()) or "none"


def _plan_table(suite: str, rows: Sequence[PlanRow]) -> object:
    groups: dict[tuple[object, ...], list[PlanRow]] = {}
    for row in sorted(rows, key=lambda r: (str(r.cell.task), str(r.cell.model))):
        cell = row.cell
        groups.setdefault((cell.task, cell.model, cell.operator, cell.recipe), []).append(row)
    lines = []
    for (task, model, operator, recipe), group in groups.items():
        known = [row for row in group if row.hours is not None]
        seeds = ",".join(str(row.cell.seed) for row in group)
        estimate, likely = "?" if any(row.todo or row.state == "no data" for row in group) else "", ""
        if known:
            estimate = duration(sum(row.hours or 0 for row in known))
            low, high = (sum(getattr(row, end) or 0 for row in known) for end in ("low", "high"))
            likely = _range(low, high) if duration(low) != duration(high) else ""
        lines.append((task, model, operator, recipe, seeds, counts(group), estimate, likely))
    columns = ("task", "model", "operator", "recipe", "seeds", "state", "time", "likely")
    return table(f"Plan of suite {suite}", columns, lines, numeric=("time", "likely"))


def print_reasons(out: Console, rows: Sequence[PlanRow]) -> None:
    """Each reason once, with the cells it concerns."""
    _print_each(out, [(row.state, row.reason, row) for row in rows])


def _print_each(out: Console, told: Sequence[tuple[str, str, PlanRow]]) -> None:
    concerned: dict[tuple[str, str], list[PlanRow]] = {}
    for what, reason, row in told:
        if reason:
            concerned.setdefault((what, reason), []).append(row)
    for (state, reason), group in concerned.items():
        tasks = ", ".join(dict.fromkeys(str(row.cell.task) for row in group))
        where = str(group[0].cell) if len(group) == 1 else f"{len(group)} cells of {tasks}"
        out.print(f"{state}: {where}: {reason}", markup=False)
