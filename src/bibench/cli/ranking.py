"""``bibench rank`` and ``bibench coverage``: the order, how sure it is, and what is there to tell it from."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from bibench.cli.marking import marked
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
from bibench.execution.plan import PlanRow
from bibench.foundation.errors import BiBenchError
from bibench.records.record import Record
from bibench.report.tables import DATA, FORMATS, Table, paragraph, render, render_tables
from bibench.statistics import CriticalDifference, LeaveOneOut, Rank, claims, coverage
from bibench.statistics.comparing import CORRECTION, Inference, comparisons_of
from bibench.statistics.correcting import CORRECTIONS, check_correction
from bibench.statistics.coverage import OF_PLAN, Coverage
from bibench.statistics.critical import criticals_of
from bibench.statistics.evidence import evidence_of, thin
from bibench.statistics.intervals import SAMPLES
from bibench.statistics.layout import KINDS, Layout, layouts
from bibench.statistics.leaving_out import left_out_of
from bibench.statistics.measured import NOUNS, Measured, measured
from bibench.statistics.ranking import ranks_of, sureness
from bibench.suite.filters import Filters
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
    level: Annotated[float, typer.Option("--level", help="Confidence of the intervals and comparisons.")] = 0.95,
    correction: Annotated[
        str, typer.Option("--correction", help=f"For the number of comparisons: {', '.join(CORRECTIONS)}.")
    ] = CORRECTION,
    samples: Annotated[int, typer.Option("--samples", help="Samples of the bootstrap.")] = SAMPLES,
    random_seed: Annotated[int, typer.Option("--random-seed", min=0, help="Seed of the bootstrap.")] = 0,
    suite: OfSuite = None,
    *,
    wanted: Filters,
    data_root: DataRoot = None,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Rank operators by score, with rank intervals, who is not told apart, average ranks, and without each task."""
    check_format(format, FORMATS)
    load_files(load)
    check_protocol(protocol)
    check_correction(correction)
    names = flat(track) or [name for name in TRACKS if not TRACKS[name].comparators]
    for name in names:
        if TRACKS[name].comparators:
            raise BiBenchError(f"--track {name}: other compression is compared, not ranked; see: bibench score")
    runs = records_of(runs)
    records = _records(runs, wanted)
    plan = plan_of(runs, suite, wanted, data_root, records)
    records = marked(records, plan)
    how = Inference(over, samples, random_seed, level, correction)
    made = {name: layouts(records, name, metric, protocol) for name in names}
    ranked = {name: ranks_of(made[name], how) for name in names}
    if not any(ranked.values()):
        raise BiBenchError(f"no {', '.join(names)} in these records has the metric {metric!r}; see: bibench score")
    found = [
        Found(name, _coverage_of(name, records, plan), rows, criticals_of(made[name], level), left_out_of(made[name]))
        for name, rows in ranked.items()
        if rows
    ]
    line = _evidence(layout for name in names for layout in made[name])
    if format == "json":
        print_json([one.to_dict() | _more(made[one.track], how) for one in found])
    elif format in DATA:
        said = [f"{one.track}: {covered.line}" for one in found for covered in one.covered]
        for text in filter(None, [line, *said]):  # not among the rows, and not lost where they are piped
            sys.stderr.write(f"{text}\n")
        sys.stdout.write(render([row.to_dict() for one in found for row in one.ranks], format))
    else:
        _show(format, [t for one in found for t in _tables(one)], line)


def _evidence(made: Iterable[Layout]) -> str:
    """What stands first: how few seeds or tasks there are of what has a score."""
    scored = [layout for layout in made if any(row.value is not None for row in layout.scores)]
    return thin((TRACKS[layout.track].title, evidence_of(layout)) for layout in scored)


def _more(made: Sequence[Layout], how: Inference) -> dict[str, Any]:
    """What only JSON has room for: every pair of operators."""
    return {"evidence": _evidence(made), "comparisons": [row.to_dict() for row in comparisons_of(made, how)]}


@dataclass(frozen=True)
class Found:
    """What there is to say of one track."""

    track: str
    covered: Sequence[Coverage]
    ranks: Sequence[Rank]
    critical: Sequence[CriticalDifference]
    left_out: Sequence[LeaveOneOut]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "track": self.track,
            "coverage": [found.to_dict() for found in self.covered],
            "ranks": [row.to_dict() for row in self.ranks],
            "critical_differences": [row.to_dict() for row in self.critical],
            "leave_one_out": [row.to_dict() for row in self.left_out],
        }


@filtered
def cover(
    runs: RecordsOf = None,
    suite: OfSuite = None,
    *,
    wanted: Filters,
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Only what is missing or out of date.")] = False,
    data_root: DataRoot = None,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Show which cells are done, failed, cannot work, are stale or never ran."""
    check_format(format, FORMATS)
    load_files(load)
    runs = records_of(runs)
    records = _records(runs, wanted, empty=suite is not None)
    plan = plan_of(runs, suite, wanted, data_root, records)
    records = marked(records, plan)
    basis = OF_PLAN if any(path.is_dir() for path in runs) else f"the cells of suite {suite}; staleness is unknown"
    found = coverage(records, plan, basis=basis)
    rows = _coverage_rows(found.incomplete if incomplete else found, tuple(found.states))
    others = _measured(records)
    if format == "json":
        shown = found.incomplete if incomplete else found
        whole = {name: value for name, value in found.to_dict().items() if name != "rows"}
        print_json(whole | {"rows": [row.to_dict() for row in shown.rows], "measured": list(map(asdict, others))})
    elif format in DATA:
        sys.stderr.write("".join(f"{line}\n" for line in (found.line, *map(_lacking, others))))
        sys.stdout.write(render(rows, format))
    else:
        columns = list(rows[0]) if rows else []
        lines = [[row[name] if row[name] != 0 else "" for name in columns] for row in rows]
        title = f"{found.line} ({found.basis})"
        _show(format, [Table(title, columns, lines)] if rows else [], "" if rows else f"{title}: nothing is missing.")
        _show(format, [], "\n".join(map(_lacking, others)))


def _measured(records: Sequence[Record]) -> list[Measured]:
    """What there is beside test scores, of each kind that a track reads."""
    kinds = [kind for kind in NOUNS if kind != "score"]
    return [found for kind in kinds if (found := measured(records, kind)).expected]


def _lacking(found: Measured) -> str:
    return claims.measurements(found, str)


def _show(format: str, tables: Sequence[Table], first: str = "") -> None:
    """Tables for people, after a line of text: on the console, in Markdown or in LaTeX."""
    if format != "table":
        sys.stdout.write(paragraph(first, format) + render_tables(tables, format))
        return
    out = console()
    if first:
        out.print(f"{first}\n")
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


def _tables(found: Found) -> Iterator[Table]:
    """Coverage, then for every recipe the ranks, the average ranks and the positions without each task."""
    title = f"{TRACKS[found.track].title} track: cells that there are"
    yield Table(title, ("cells", "of"), [(one.line, one.basis) for one in found.covered])
    for place in dict.fromkeys((row.recipe, row.source) for row in found.ranks):
        own = [row for row in found.ranks if (row.recipe, row.source) == place]
        if all(row.rank is None for row in own):
            notes = "; ".join(dict.fromkeys(row.note for row in own))
            yield Table(f"No operator has the metric {own[0].metric} under {place[0]}", ("why",), [(notes,)])
            continue
        yield _ranks_table(found.track, own)
        yield from (_critical_table(one) for one in found.critical if (one.recipe, one.source) == place)
        yield _left_out_table([row for row in found.left_out if (row.recipe, row.source) == place])


def _ranks_table(name: str, rows: Sequence[Rank]) -> Table:
    digits, first = TRACKS[name].digits, rows[0]
    lines = [
        [
            row.label if row.shared else row.rank,
            row.span.replace("–", "-") or "-",
            row.groups,
            row.operator,
            row.value,
            "-" if row.low is None else f"{number(row.low, digits)} to {number(row.high, digits)}",
            row.note,
        ]
        for row in rows
    ]
    source = f" of {first.source}" if first.source else ""
    title = f"{TRACKS[name].title} track, {first.metric}, recipe {first.recipe}{source}, protocol {first.protocol}, "
    title += f"{TRACKS[name].unit}; {sureness(rows)}"
    return Table(title, ("rank", "ranks", "letters", "operator", "score", "interval", "incomplete"), lines, digits)


def _critical_table(found: CriticalDifference) -> Table:
    if found.difference is None:
        return Table("Average ranks: none", ("why",), [(found.note,)])
    ranked = zip(found.operators, found.average_ranks, strict=True)
    lines = [[rank, found.letters.get(operator, ""), operator] for operator, rank in ranked]
    title = "; ".join(filter(None, (found.title, found.note)))
    return Table(title, ("average rank", "letters", "operator"), lines, 2)


def _left_out_table(rows: Sequence[LeaveOneOut]) -> Table:
    operators = list(rows[0].ranks)
    lines = [[row.left_out or "(all tasks)", *(row.ranks.get(o) for o in operators), row.tau, row.note] for row in rows]
    alone = "; there is one task only" if len(rows) == 1 else ""
    title = f"Position of each operator without one task, τ to the full ranking{alone}"
    return Table(title, ("without", *operators, "τ", "note"), lines, 2)


def _coverage_rows(found: Coverage, states: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"task": r.task, "model": r.model, "recipe": r.recipe, "operator": r.operator, "source": r.source}
        | {"cells": r.expected, **{s: r.states.get(s, 0) for s in states}, "reasons": "; ".join(r.reasons)}
        for r in found.rows
    ]
