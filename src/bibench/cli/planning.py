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
    Format,
    Load,
    Rerun,
    RunFolder,
    SuiteName,
    check_format,
    filtered,
    load_files,
)
from bibench.cli.output import console, duration, notes, print_json, table
from bibench.data.location import data_root as find_data_root
from bibench.data.remembered import plugged
from bibench.execution.plan import PlanRow, make_plan
from bibench.suite.definition import cells_of
from bibench.suite.filters import Filters


@filtered
def plan(
    suite: SuiteName,
    runs: RunFolder = RUNS,
    data_root: DataRoot = None,
    *,
    wanted: Filters,
    load: Load = None,
    rerun: Rerun = "missing",
    probe: Annotated[bool, typer.Option("--probe", help="Time a few steps where no record tells.")] = False,
    format: Format = "table",
) -> None:
    """Show the cells of a suite: done, to do, impossible, and an estimate of the hours."""
    check_format(format)
    loaded, root = load_files(load), find_data_root(data_root)
    chosen = cells_of(suite, wanted)
    with notes():
        rows = make_plan(chosen, runs, data_root=root, rerun=rerun, probe=probe)
    if loaded or plugged():
        from bibench.cli.vouching import warn
        from bibench.contracts.loaded import used_by

        warn(used_by([row.cell for row in rows if row.todo]), loaded, data_root=root)
    if format == "json":
        print_json([row.to_dict() for row in rows])
        return
    out = console()
    out.print(_plan_table(suite, rows))
    print_reasons(out, rows)
    out.print(f"{len(rows)} cells: {counts(rows)}.")
    if hint := stale_hint(rows):
        out.print(hint, markup=False)
    todo = [row for row in rows if row.todo]
    known = [row.hours for row in todo if row.hours is not None]
    if todo:
        out.print(
            f"To do: {len(todo)} cells, about {duration(sum(known))} of one worker"
            + (f", without {len(todo) - len(known)} cells that nothing tells about." if len(known) < len(todo) else ".")
        )


@filtered
def status(
    suite: SuiteName,
    runs: RunFolder = RUNS,
    data_root: DataRoot = None,
    *,
    wanted: Filters,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Show how far a suite is, and why cells failed, are stale or cannot run."""
    check_format(format)
    load_files(load)
    chosen = cells_of(suite, wanted)
    with notes():
        rows = make_plan(chosen, runs, data_root=find_data_root(data_root), hours=format == "json")
    if format == "json":
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
        hours = [row.hours for row in group if row.hours is not None]
        seeds = ",".join(str(row.cell.seed) for row in group)
        estimate = duration(sum(hours)) if hours else ("?" if any(row.todo for row in group) else "")
        basis = "; ".join(dict.fromkeys(row.basis for row in group if row.basis))
        lines.append((task, model, operator, recipe, seeds, counts(group), estimate, basis))
    columns = ("task", "model", "operator", "recipe", "seeds", "state", "time", "basis of the time")
    return table(f"Plan of suite {suite}", columns, lines, numeric=("time",))


def print_reasons(out: Console, rows: Sequence[PlanRow]) -> None:
    """Each reason once, with the cells it concerns."""
    concerned: dict[tuple[str, str], list[PlanRow]] = {}
    for row in rows:
        if row.reason:
            concerned.setdefault((row.state, row.reason), []).append(row)
    for (state, reason), group in concerned.items():
        tasks = ", ".join(dict.fromkeys(str(row.cell.task) for row in group))
        where = str(group[0].cell) if len(group) == 1 else f"{len(group)} cells of {tasks}"
        out.print(f"{state}: {where}: {reason}", markup=False)
