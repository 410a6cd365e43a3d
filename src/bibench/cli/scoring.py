"""``bibench score``: accuracies and scores of tracks, from records alone."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bibench.cli.output import console, number, print_json, table
from bibench.errors import BiBenchError
from bibench.records import Record, read
from bibench.stats import Accuracy, accuracies
from bibench.tracks import TRACKS, Score


def score(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or records files.")],
    format: Annotated[str, typer.Option("--format", help="table, json or csv")] = "table",
    plain: Annotated[bool, typer.Option("--accuracies", help="Accuracies instead of scores (json, csv).")] = False,
) -> None:
    """Score records: accuracy per model and operator, then every track."""
    records = read(runs)
    if not records:
        raise BiBenchError(f"no records in {', '.join(map(str, runs))}; run a suite first")
    if format == "table":
        print_scores(console(), records)
        return
    rows = [a.to_dict() for a in accuracies(records)] if plain else [s.to_dict() for s in scores(records)]
    if format == "json":
        print_json(rows)
    elif format == "csv":
        _print_csv(rows)
    else:
        raise BiBenchError(f"--format must be table, json or csv; got {format!r}")


def scores(records: Sequence[Record]) -> list[Score]:
    """The scores of all tracks."""
    return [row for name in TRACKS for row in TRACKS[name].score(records)]


def print_scores(out: Console, records: Sequence[Record]) -> None:
    """Accuracies by task and model, then one table per track."""
    for task in dict.fromkeys(a.task for a in accuracies(records)):
        _print_accuracies(out, [a for a in accuracies(records) if a.task == task])
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
        m for m in dict.fromkeys(r.metric for r in rows) if any(r.value is not None for r in rows if r.metric == m)
    ]
    by_key = {(r.operator, r.metric): r for r in rows}
    lines = []
    for operator in dict.fromkeys(r.operator for r in rows):
        cells = [by_key[operator, metric] for metric in metrics]
        notes = "; ".join(dict.fromkeys(f"{r.metric}: {r.note}" for r in cells if r.note))
        values = [number(r.value) + (f" ± {r.std_error:.1f}" if r.std_error is not None else "") for r in cells]
        lines.append([operator, *values, notes])
    title = (
        f"{TRACKS[name].title} track ({TRACKS[name].equation}), recipe {recipe}, "
        "percent of full precision ± standard error over seeds"
    )
    out.print(table(title, ["operator", *metrics, "incomplete"], lines, numeric=metrics))


def _print_csv(rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
