"""``bibench score``: accuracies and scores of tracks, from records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bibench.choice import choice
from bibench.cli.options import (
    Format,
    Load,
    Models,
    Operators,
    RecipeName,
    Seeds,
    Tasks,
    check_format,
    filters,
    load_files,
)
from bibench.cli.output import console, number, print_csv, print_json, table
from bibench.errors import BiBenchError
from bibench.operators import FULL_PRECISION
from bibench.records import Record, read
from bibench.report.distribution import write_distribution
from bibench.stats import ALL_SETTINGS, Accuracy, SettingAccuracy, accuracies, settings
from bibench.suite import Filters
from bibench.tracks import TRACKS, Score


def score(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or records files.")],
    format: Format = "table",
    plain: Annotated[bool, typer.Option("--accuracies", help="Accuracies instead of scores (json, csv).")] = False,
    by_setting: Annotated[
        bool, typer.Option("--settings", help="Accuracies at each setting of a sensitivity study instead of scores.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Also draw the accuracies of a sensitivity study (.svg, .html).")
    ] = None,
    tasks: Tasks = None,
    models: Models = None,
    operators: Operators = None,
    seeds: Seeds = None,
    recipe: RecipeName = None,
    load: Load = None,
) -> None:
    """Score records: accuracy per model and operator, then every track."""
    check_format(format)
    load_files(load)
    records = read(runs)
    if not records:
        raise BiBenchError(f"no records in {', '.join(map(str, runs))}; run a suite first")
    records = select(records, filters(tasks, models, operators, seeds, recipe))
    if plot is not None:
        write_distribution(plot, records)
    if format == "table":
        if by_setting:
            _print_settings(console(), settings(records))
        else:
            print_scores(console(), records)
        return
    chosen: Sequence[Accuracy | SettingAccuracy | Score] = scores(records)
    if plain or by_setting:
        chosen = accuracies(records) if plain else settings(records)
    rows = [row.to_dict() for row in chosen]
    (print_json if format == "json" else print_csv)(rows)


def select(records: Sequence[Record], wanted: Filters) -> list[Record]:
    """The records that the filters name; a name means it with any further options, baselines always stay."""
    axes = {"task": wanted.tasks, "model": wanted.models, "operator": wanted.operators, "recipe": (wanted.recipe,)}
    for axis, names in axes.items():
        if not any(names):
            continue
        asked = [choice(name) for name in names if name]
        matching = {v for v in {getattr(r, axis) for r in records} if any(choice(v).fits(a) for a in asked)}
        if not matching:
            found = ", ".join(sorted({getattr(r, axis) for r in records}))
            raise BiBenchError(f"no record has the {axis} {', '.join(map(str, asked))}; the records have: {found}")
        if axis == "operator":
            matching.add(FULL_PRECISION)
        records = [r for r in records if getattr(r, axis) in matching]
    if wanted.seeds:
        records = [r for r in records if r.seed in wanted.seeds]
        if not records:
            raise BiBenchError(f"no record has a seed among {', '.join(map(str, wanted.seeds))}")
    return list(records)


def scores(records: Sequence[Record]) -> list[Score]:
    """The scores of all tracks."""
    return [row for name in TRACKS for row in TRACKS[name].score(records)]


def print_scores(out: Console, records: Sequence[Record]) -> None:
    """Accuracies by task and model, those of a study over all settings, then one table per track."""
    plain = accuracies([r for r in records if not r.study])
    for task in dict.fromkeys(a.task for a in plain):
        _print_accuracies(out, [a for a in plain if a.task == task])
    _print_settings(out, [s for s in settings(records) if s.setting == ALL_SETTINGS])
    for name in TRACKS:
        rows = TRACKS[name].score(records)
        for recipe in dict.fromkeys(row.recipe for row in rows):
            _print_track(out, name, recipe, [row for row in rows if row.recipe == recipe])


def _print_accuracies(out: Console, rows: Sequence[Accuracy]) -> None:
    models = list(dict.fromkeys((a.model, a.recipe) for a in rows))
    operators = list(dict.fromkeys(a.operator for a in rows))
    by_key = {(a.model, a.recipe, a.operator): a for a in rows}
    several = len({recipe for _, recipe in models}) > 1
    columns = ["operator", *(f"{model} {recipe}" if several else model for model, recipe in models), "flags"]
    lines = []
    for operator in operators:
        cells = [by_key.get((*key, operator)) for key in models]
        flags = "; ".join(f"{a.model}: {a.flags}" for a in cells if a and a.flags)
        lines.append([operator, *(_accuracy(a) for a in cells), flags])
    first = rows[0]
    embedded = " - embedded data, not comparable with published numbers" if first.embedded else ""
    title = f"{first.metric} on {first.task}, test split, percent: mean ± standard deviation over seeds{embedded}"
    out.print(table(title, columns, lines, numeric=columns[1:-1]))


def _print_settings(out: Console, rows: Sequence[SettingAccuracy]) -> None:
    """A table per study: what the runs of each operator (at each setting) reached."""
    for place in dict.fromkeys((s.task, s.model, s.study) for s in rows):
        chosen = [s for s in rows if (s.task, s.model, s.study) == place]
        embedded = " - embedded data, not comparable with published numbers" if chosen[0].embedded else ""
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
        title = f"Study {place[2]}: scores of the runs on {place[0]}, {place[1]}, test split, percent{embedded}"
        out.print(table(title, columns, lines, numeric=columns[2:]))


def _accuracy(a: Accuracy | None) -> str:
    if a is None:
        return "-"
    if a.mean is None:
        return "failed"
    spread = f" ± {a.std:.1f}" if a.std is not None else ""
    return f"{a.mean:.1f}{spread}" + (f" ({a.missing} failed)" if a.missing else "")


def _print_track(out: Console, name: str, recipe: str, rows: Sequence[Score]) -> None:
    if not any(row.value is not None for row in rows):
        return
    metrics = [
        metric
        for metric in dict.fromkeys(r.metric for r in rows)
        # the overall metric stays, so that a row without it says what it lacks
        if metric == "om" or any(r.value is not None for r in rows if r.metric == metric)
    ]
    by_key = {(r.operator, r.metric): r for r in rows}
    unit, digits = TRACKS[name].unit, TRACKS[name].digits
    lines = []
    for operator in dict.fromkeys(r.operator for r in rows):
        cells = [by_key[operator, metric] for metric in metrics]
        notes = "; ".join(dict.fromkeys(f"{r.metric}: {r.note}" for r in cells if r.note))
        values = [number(r.value, digits) + (f" ± {r.std_error:.1f}" if r.std_error is not None else "") for r in cells]
        lines.append([operator, *values, notes])
    title = f"{TRACKS[name].title} track ({TRACKS[name].equation}), recipe {recipe}, {unit} ± standard error over seeds"
    out.print(table(title, ["operator", *metrics, "incomplete"], lines, numeric=metrics))
