"""``bibench score``: accuracies and scores of tracks, from records alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bibench.cli.marking import marked
from bibench.cli.options import (
    Load,
    RecordsOf,
    check_format,
    filtered,
    load_files,
    records_of,
)
from bibench.cli.output import console, notes, number, table
from bibench.cli.planned import plan_of
from bibench.execution.plan import PlanRow
from bibench.foundation.choice import choice, recorded
from bibench.foundation.errors import BiBenchError
from bibench.foundation.wording import meant
from bibench.operators import FULL_PRECISION
from bibench.records.accuracies import ALL_SETTINGS, Accuracy, SettingAccuracy, accuracies, settings
from bibench.records.flags import others_than_marked
from bibench.records.record import Record, read
from bibench.report.distribution import write_distribution
from bibench.report.tables import DATA, FORMATS, Table, render, render_tables
from bibench.statistics.coverage import coverages
from bibench.suite.filters import Filters
from bibench.tracks import TRACKS, Score
from bibench.tracks.base import BIBENCH, PAPER, check_protocol

OfTable = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="How scores are averaged: bibench, or paper as the paper does \\[default: bibench; paper for --table].",
    ),
]


@filtered
def score(
    runs: RecordsOf = None,
    protocol: OfTable = None,
    of_paper: Annotated[
        str | None,
        typer.Option("--table", help="A table of the paper: 2 (accuracy), 3 (efficiency) or 4 (deployability)."),
    ] = None,
    format: Annotated[str, typer.Option("--format", help=f"table, {', '.join(FORMATS)}")] = "table",
    details: Annotated[
        bool, typer.Option("--details", help="Also the speed-up on each device and number of threads.")
    ] = False,
    plain: Annotated[bool, typer.Option("--accuracies", help="Accuracies instead of scores (json, csv).")] = False,
    by_setting: Annotated[
        bool, typer.Option("--settings", help="Accuracies at each setting of a sensitivity study instead of scores.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Also draw the accuracies of a sensitivity study (.svg, .html).")
    ] = None,
    *,
    wanted: Filters,
    load: Load = None,
) -> None:
    """Score records: accuracy per model and operator, then every track."""
    check_format(format, FORMATS)
    protocol = check_protocol(protocol or (BIBENCH if of_paper is None else PAPER))
    load_files(load)
    runs = records_of(runs)
    records = some(read_runs(runs), runs)
    plan = plan_of(runs, None, wanted, None)
    records = marked(select(records, wanted), plan)
    if of_paper is not None:
        _print_sheets(of_paper, records, protocol, format)
        return
    if plot is not None:
        write_distribution(plot, records)
    if format == "table":
        if by_setting:
            _print_settings(console(), settings(records))
        else:
            print_scores(console(), records, protocol, details, plan)
    elif plain or by_setting:
        rows: Sequence[Accuracy | SettingAccuracy] = accuracies(records) if plain else settings(records)
        title = "Accuracies" if plain else "Accuracies by setting"
        sys.stdout.write(render([row.to_dict() for row in rows], format, title))
    elif format in DATA:
        sys.stdout.write(render([row.to_dict() for row in scores(records, protocol)], format))
    else:
        sys.stdout.write(render_tables(list(track_tables(records, protocol, details)), format))


def _print_sheets(number: str, records: Sequence[Record], protocol: str, format: str) -> None:
    """A table of the paper, for each source of the records."""
    from bibench.report.paper_tables import sheets
    from bibench.report.typesetting import WRITTEN, plain, rows_of

    made = sheets(number, records, protocol)
    if format in DATA:
        sys.stdout.write(render([row for sheet in made for row in rows_of(sheet)], format))
    elif format in WRITTEN:
        sys.stdout.write("\n".join(map(WRITTEN[format], made)))
    else:
        out = console()
        for sheet in made:
            columns, rows, notes_ = plain(sheet)
            numeric = columns[1:] if any(line.values for line in sheet.lines) else ()
            out.print(table(f"Table {sheet.number}: {sheet.title}", columns, rows, numeric=numeric))
            for note in notes_:
                out.print(note, markup=False)


def read_runs(runs: Sequence[Path]) -> list[Record]:
    """The records of `runs`; what reading them warns of is printed as a note."""
    with notes():
        return read(runs)


def some(records: list[Record], runs: Sequence[Path]) -> list[Record]:
    """The records read from `runs`; a `BiBenchError` where there are none."""
    if not records:
        raise BiBenchError(f"no records in {', '.join(map(str, runs))}; run a suite first")
    return records


def select(records: Sequence[Record], wanted: Filters) -> list[Record]:
    """The records that the filters name; a name means it with any further options, baselines always stay."""
    axes = {"task": wanted.tasks, "model": wanted.models, "operator": wanted.operators, "recipe": (wanted.recipe,)}
    for axis, names in axes.items():
        if not any(names):
            continue
        asked = [choice(name) for name in names if name]
        matching = {v for v in {getattr(r, axis) for r in records} if any(recorded(v).fits(a) for a in asked)}
        if not matching:
            found = sorted({getattr(r, axis) for r in records})
            near = meant(str(asked[0]), found) if len(asked) == 1 else "."
            have = f"{near} The records have" if near != "." else "; the records have"
            raise BiBenchError(f"no record has the {axis} {', '.join(map(str, asked))}{have}: {', '.join(found)}")
        if axis == "operator":
            matching.add(FULL_PRECISION)
        records = [r for r in records if getattr(r, axis) in matching]
    if wanted.seeds:
        records = [r for r in records if r.seed in wanted.seeds]
        if not records:
            raise BiBenchError(f"no record has a seed among {', '.join(map(str, wanted.seeds))}")
    return list(records)


def scores(records: Sequence[Record], protocol: str = BIBENCH) -> list[Score]:
    """The scores of all tracks."""
    return [row for name in TRACKS for row in TRACKS[name].score(records, protocol)]


def print_scores(
    out: Console,
    records: Sequence[Record],
    protocol: str = BIBENCH,
    details: bool = False,
    plan: Sequence[PlanRow] | None = None,
) -> None:
    """Coverage, accuracies by task and model, those of a study over all settings, then one table per track."""
    for what, found in zip(("Coverage", "Coverage of comparators"), coverages(records, plan), strict=True):
        if found.rows:
            out.print(f"{what}: {found.line} ({found.basis})\n", markup=False, highlight=False)
    plain = accuracies([r for r in records if not r.study])
    for task, source in dict.fromkeys((a.task, a.source) for a in plain):
        _print_accuracies(out, [a for a in plain if (a.task, a.source) == (task, source)])
    studied = [s for s in settings(records) if s.setting == ALL_SETTINGS]
    _print_settings(out, studied)
    tables = list(track_tables(records, protocol, details))
    if not (plain or studied or tables):
        out.print(_nothing(records, protocol), markup=False, highlight=False)
    for shown in tables:
        digits = shown.digits if shown.digits is not None else 1
        lines = [[cell if isinstance(cell, str) else number(cell, digits) for cell in row] for row in shown.rows]
        numeric = [column for column in shown.columns[1:] if column != "notes"]
        out.print(table(shown.title, shown.columns, lines, numeric=numeric))


def _nothing(records: Sequence[Record], protocol: str) -> str:
    """Why records have no score."""
    kinds = ", ".join(sorted({r.kind for r in records}))
    notes = dict.fromkeys(f"{row.track}: {row.note}" for row in scores(records, protocol) if row.note)
    return "\n".join([f"No track scores these {len(records)} records ({kinds})", *notes])


def _print_accuracies(out: Console, rows: Sequence[Accuracy]) -> None:
    models = list(dict.fromkeys((a.model, a.recipe) for a in rows))
    operators = list(dict.fromkeys(a.operator for a in rows))
    by_key = {(a.model, a.recipe, a.operator): a for a in rows}
    several = len({recipe for _, recipe in models}) > 1
    short = _short_names([model for model, _ in models])
    headings = [f"{short[model]} {recipe}" if several else short[model] for model, recipe in models]
    columns = ["operator", *headings, "flags"]
    lines = []
    for operator in operators:
        cells = [by_key.get((*key, operator)) for key in models]
        flagged: dict[str, list[str]] = {}
        for heading, cell in zip(headings, cells, strict=True):
            if cell and (others := others_than_marked(cell.flags)):
                flagged.setdefault(others, []).append(heading)
        flags = "; ".join(f"{flag}: {', '.join(names)}" for flag, names in flagged.items())
        lines.append([operator, *(_accuracy(a) for a in cells), flags])
    first = rows[0]
    embedded = " - embedded data, not comparable with published numbers" if first.embedded else ""
    source = f" - from {first.source}, not from runs" if first.source else ""
    title = (
        f"{first.metric} on {first.task}, test split, percent: mean ± standard deviation over seeds{embedded}{source}"
    )
    shortened = [model for model in short if short[model] != model]
    if shortened:
        title += f"\nmodels: {', '.join(shortened)}"
    out.print(table(title, columns, lines, numeric=columns[1:-1]))


def _short_names(models: Sequence[str]) -> dict[str, str]:
    """Each model without its options, unless that leaves two alike."""
    bare = {model: recorded(model).name for model in models}
    return {model: name if list(bare.values()).count(name) == 1 else model for model, name in bare.items()}


def _print_settings(out: Console, rows: Sequence[SettingAccuracy]) -> None:
    """A table per study: what the runs of each operator (at each setting) reached."""
    for place in dict.fromkeys((s.task, s.model, s.study, s.source) for s in rows):
        chosen = [s for s in rows if (s.task, s.model, s.study, s.source) == place]
        embedded = " - embedded data, not comparable with published numbers" if chosen[0].embedded else ""
        source = f" - from {place[3]}, not from runs" if place[3] else ""
        columns = ["operator", "setting", "mean", "std", "best", "worst", "runs", "collapsed %", "failed"]
        lines = [
            [
                s.operator,
                s.setting,
                *(number(value, 2) for value in (s.mean, s.std, s.best, s.worst)),
                s.runs,
                number(s.collapsed, 0),
                s.missing or "",
            ]
            for s in chosen
        ]
        title = f"Study {place[2]}: scores of the runs on {place[0]}, {place[1]}, test split, percent{embedded}{source}"
        out.print(table(title, columns, lines, numeric=columns[2:]))


def _accuracy(a: Accuracy | None) -> str:
    if a is None:
        return "-"
    if a.mean is None:
        return "failed"
    spread = f" ± {a.std:.1f}" if a.std is not None else ""
    return f"{a.mean:.1f}{spread}" + (f" ({a.missing} failed)" if a.missing else "")


def track_tables(records: Sequence[Record], protocol: str, details: bool = False) -> Iterator[Table]:
    """A table for each track, source and recipe, operators by metrics, and of its parts.

    Parts of one number for each operator (the speed-up on a device) are one table, with `details`.
    """
    for name in TRACKS:
        rows = TRACKS[name].score(records, protocol)
        for place in dict.fromkeys((row.source, row.recipe) for row in rows):
            chosen = [row for row in rows if (row.source, row.recipe) == place]
            parts = dict.fromkeys(row.part for row in chosen)
            by_part = {part: [row for row in chosen if row.part == part and row.metric != "om"] for part in parts}
            single = [part for part in parts if part and len({row.metric for row in by_part[part]}) == 1]
            for part in parts:
                shown = [row for row in chosen if row.part == part]
                if part not in single and any(row.value is not None for row in shown):
                    yield _track_table(name, shown)
            if details and single:
                yield _parts_table(name, [row for part in single for row in by_part[part]])


def _parts_table(name: str, rows: Sequence[Score]) -> Table:
    """What has one number for each operator: parts by operators."""
    operators = list(dict.fromkeys(row.operator for row in rows))
    values = {(row.part, row.operator): row.value for row in rows}
    lines = [[part, *(values.get((part, o)) for o in operators)] for part in dict.fromkeys(row.part for row in rows)]
    metric = rows[0].metric.partition("[")[0]
    return Table(_title(name, metric, rows[0]), ["", *operators], lines, TRACKS[name].digits)


def _track_table(name: str, rows: Sequence[Score]) -> Table:
    metrics = [
        metric
        for metric in dict.fromkeys(r.metric for r in rows)
        # the overall metric stays, so that a row without it says what it lacks
        if metric == "om" or any(r.value is not None for r in rows if r.metric == metric)
    ]
    by_key = {(r.operator, r.metric): r for r in rows}
    lines: list[list[str | float | None]] = []
    for operator in dict.fromkeys(r.operator for r in rows):
        cells = [by_key[operator, metric] for metric in metrics]
        notes = "; ".join(dict.fromkeys(f"{r.metric}: {r.note}" for r in cells if r.note))
        lines.append([operator, *(_with_error(r, TRACKS[name].digits) for r in cells), notes])
    title = _title(name, rows[0].part, rows[0], spread=any(r.std_error is not None for r in rows))
    part = f"_{rows[0].part.replace('-', '_')}"  # is in the title
    return Table(title, ["operator", *(m.removesuffix(part) for m in metrics), "notes"], lines, TRACKS[name].digits)


def _title(name: str, what: str, row: Score, spread: bool = False) -> str:
    parts = [f"{TRACKS[name].title} track ({TRACKS[name].equation})", what, f"recipe {row.recipe}"]
    parts.append(f"{TRACKS[name].unit}{' ± standard error over seeds' if spread else ''}")
    parts.append("averaged as in the paper" if row.protocol == PAPER else "")
    parts.append(f"from {row.source}, not from runs" if row.source else "")
    return ", ".join(filter(None, parts))


def _with_error(r: Score, digits: int) -> str | float | None:
    if r.value is None or r.std_error is None:
        return r.value
    return f"{r.value:.{digits}f} ± {r.std_error:.{digits}f}"
