"""``bibench rank`` and ``bibench coverage``: who can be told from whom, and what is there to tell it from."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bibench.cli.options import (
    DataRoot,
    Load,
    Protocol,
    RecordsOf,
    check_format,
    filtered,
    flat,
    load_files,
    records_of,
)
from bibench.cli.output import console, number, print_json, table
from bibench.cli.planned import plan_of
from bibench.cli.scoring import read_runs, select, some
from bibench.errors import BiBenchError
from bibench.plan import PlanRow
from bibench.records import Record
from bibench.report.tables import DATA, FORMATS, Table, render, render_tables
from bibench.statistics import Coverage, LeaveOneOut, Rank, coverage
from bibench.statistics.intervals import SAMPLES
from bibench.statistics.layout import KINDS, layouts
from bibench.statistics.leaving_out import left_out_of
from bibench.statistics.ranking import ranks_of
from bibench.suite import Filters
from bibench.tracks import TRACKS
from bibench.tracks.base import BIBENCH, check_protocol

Format = Annotated[str, typer.Option("--format", help=f"table, {', '.join(FORMATS)}")]
OfSuite = Annotated[
    str | None, typer.Option("--suite", help="Count the cells of this suite, not those that the records span.")
]

PLANNED = ("learning_task", "neural_architecture", "corruption_robustness")
"""Tracks whose coverage is that of trained cells; the others measure without training, or study settings."""


@filtered
def rank(
    runs: RecordsOf = None,
    track: Annotated[list[str] | None, typer.Option("--track", help="Only these tracks.")] = None,
    metric: Annotated[str, typer.Option("--metric", help="Metric of the track to rank by.")] = "om",
    protocol: Protocol = BIBENCH,
    over: Annotated[str, typer.Option("--over", help="What intervals are over: auto, seeds or tasks.")] = "auto",
    level: Annotated[float, typer.Option("--level", help="Confidence of the intervals.")] = 0.95,
    samples: Annotated[int, typer.Option("--samples", help="Samples of the bootstrap.")] = SAMPLES,
    random_seed: Annotated[int, typer.Option("--random-seed", min=0, help="Seed of the bootstrap.")] = 0,
    suite: OfSuite = None,
    *,
    wanted: Filters,
    data_root: DataRoot = None,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Rank operators with intervals, ties and the ranking without each task; coverage comes first."""
    check_format(format, FORMATS)
    load_files(load)
    check_protocol(protocol)
    names = flat(track) or [name for name in TRACKS if not TRACKS[name].comparators]
    for name in names:
        if TRACKS[name].comparators:
            raise BiBenchError(f"--track {name}: other compression is compared, not ranked; see: bibench score")
    runs = records_of(runs)
    records = _records(runs, wanted)
    plan = plan_of(runs, suite, wanted, data_root)
    asked: dict[str, Any] = {"metric": metric, "protocol": protocol}
    drawn: dict[str, Any] = {"over": over, "samples": samples, "seed": random_seed, "level": level}
    made = {name: layouts(records, name, **asked) for name in names}
    found = {name: ranks_of(made[name], **drawn) for name in names}
    if not any(found.values()):
        raise BiBenchError(f"no {', '.join(names)} in these records has the metric {metric!r}; see: bibench score")
    covered = {name: _coverage_of(name, records, plan) for name in names if found[name]}
    left = {name: left_out_of(made[name]) for name in covered}
    if format == "json":
        print_json([_whole(name, covered[name], found[name], left[name]) for name in covered])
    elif format in DATA:
        for name, said in covered.items():  # not among the rows, and not lost where they are piped
            for line in said:
                sys.stderr.write(f"{name}: {line.line}\n")
        sys.stdout.write(render([row.to_dict() for rows in found.values() for row in rows], format))
    else:
        shown = [t for name, said in covered.items() for t in _tables(name, said, found[name], left[name])]
        _show(format, shown)


@filtered
def cover(
    runs: RecordsOf = None,
    suite: OfSuite = None,
    *,
    wanted: Filters,
    data_root: DataRoot = None,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Show which cells are done, failed, cannot work, are stale or never ran."""
    check_format(format, FORMATS)
    load_files(load)
    runs = records_of(runs)
    found = coverage(_records(runs, wanted, empty=suite is not None), plan_of(runs, suite, wanted, data_root))
    if format == "json":
        print_json(found.to_dict())
    elif format in DATA:
        sys.stderr.write(found.line + "\n")
        sys.stdout.write(render(_coverage_rows(found), format))
    else:
        rows = _coverage_rows(found)
        columns = list(rows[0]) if rows else []
        lines = [[row[name] if row[name] != 0 else "" for name in columns] for row in rows]
        _show(format, [Table(f"{found.line} ({found.basis})", columns, lines)])


def _show(format: str, tables: Sequence[Table]) -> None:
    """Tables for people: on the console, in Markdown or in LaTeX."""
    if format != "table":
        sys.stdout.write(render_tables(tables, format))
        return
    out = console()
    for shown in tables:
        lines = [[number(v, shown.digits or 0) if isinstance(v, float) else v for v in row] for row in shown.rows]
        right = [c for n, c in enumerate(shown.columns) if any(isinstance(row[n], int | float) for row in shown.rows)]
        out.print(table(shown.title, shown.columns, lines, numeric=right))


def _records(runs: Sequence[Path], wanted: Filters, *, empty: bool = False) -> list[Record]:
    records = read_runs(runs)
    return select(some(records, runs), wanted) if records or not empty else []


def _coverage_of(track: str, records: Sequence[Record], plan: Sequence[PlanRow] | None) -> list[Coverage]:
    """Coverage of each kind of record that a track reads; a study is covered where it is scored."""
    kinds = KINDS.get(track) or sorted({r.kind for r in records})
    studied = track == "training_consumption"
    records = [r for r in records if r.kind != "score" or bool(r.study) == studied]
    return [found for kind in kinds if (found := coverage(records, _of_track(track, plan), kind=kind)).rows]


def _of_track(track: str, plan: Sequence[PlanRow] | None) -> list[PlanRow] | None:
    if plan is None or track not in PLANNED:
        return None
    return [row for row in plan if row.cell.study is None] or None


def _whole(name: str, covered: Sequence[Coverage], rows: Sequence[Rank], left: Sequence[LeaveOneOut]) -> dict[str, Any]:
    return {
        "track": name,
        "coverage": [found.to_dict() for found in covered],
        "ranks": [row.to_dict() for row in rows],
        "leave_one_out": [row.to_dict() for row in left],
    }


def _tables(
    name: str, covered: Sequence[Coverage], rows: Sequence[Rank], left: Sequence[LeaveOneOut]
) -> Iterator[Table]:
    """Coverage, then for every recipe the ranks and the positions without each task."""
    title = f"{TRACKS[name].title} track: cells that there are"
    yield Table(title, ("cells", "of"), [(found.line, found.basis) for found in covered])
    for place in dict.fromkeys((row.recipe, row.source) for row in rows):
        own = [row for row in rows if (row.recipe, row.source) == place]
        if all(row.rank is None for row in own):
            notes = "; ".join(dict.fromkeys(row.note for row in own))
            yield Table(f"No operator has the metric {own[0].metric} under {place[0]}", ("why",), [(notes,)])
            continue
        yield _ranks_table(name, own)
        yield _left_out_table([row for row in left if (row.recipe, row.source) == place])


def _ranks_table(name: str, rows: Sequence[Rank]) -> Table:
    digits, first = TRACKS[name].digits, rows[0]
    lines = [
        [
            row.rank,
            "-" if row.best is None else f"{row.best}-{row.worst}",
            row.groups,
            row.operator,
            row.value,
            "-" if row.low is None else f"{number(row.low, digits)} to {number(row.high, digits)}",
            row.note,
        ]
        for row in rows
    ]
    told = any(row.low is not None for row in rows)
    interval = f"{100 * first.level:g} % intervals over {first.over}, one letter: not told apart"
    source = f" of {first.source}" if first.source else ""
    title = f"{TRACKS[name].title} track, {first.metric}, recipe {first.recipe}{source}, protocol {first.protocol}, "
    title += f"{TRACKS[name].unit}; {interval if told else 'no intervals'}"
    return Table(title, ("rank", "ranks", "ties", "operator", "score", "interval", "incomplete"), lines, digits)


def _left_out_table(rows: Sequence[LeaveOneOut]) -> Table:
    operators = list(rows[0].ranks)
    lines = [[row.left_out or "(all tasks)", *(row.ranks.get(o) for o in operators), row.tau, row.note] for row in rows]
    alone = "; there is one task only" if len(rows) == 1 else ""
    title = f"Position of each operator without one task, τ to the full ranking{alone}"
    return Table(title, ("without", *operators, "τ", "note"), lines, 2)


def _coverage_rows(found: Coverage) -> list[dict[str, Any]]:
    return [
        {"task": r.task, "model": r.model, "recipe": r.recipe, "operator": r.operator, "source": r.source}
        | {"cells": r.expected, **{s: r.states.get(s, 0) for s in found.states}, "reasons": "; ".join(r.reasons)}
        for r in found.rows
    ]
