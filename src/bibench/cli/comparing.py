"""``bibench versus``: is one operator better than another, in a sentence, by task and overall."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from bibench.cli.marking import marked
from bibench.cli.options import (
    Load,
    Models,
    Protocol,
    RecipeName,
    RecordsOf,
    Seeds,
    Tasks,
    check_format,
    filters,
    load_files,
    records_of,
)
from bibench.cli.output import console, print_json, table
from bibench.cli.planned import plan_of
from bibench.cli.scoring import read_runs, select, some
from bibench.foundation.wording import listed
from bibench.report.tables import DATA, FORMATS, Table, paragraph, render, render_tables
from bibench.statistics import claims
from bibench.statistics.comparing import CORRECTION, Inference
from bibench.statistics.correcting import CORRECTIONS, check_correction
from bibench.statistics.intervals import SAMPLES
from bibench.statistics.versus import Versus, found_name, versus
from bibench.tracks import TRACKS
from bibench.tracks.base import BIBENCH, check_protocol


def compare(
    one: Annotated[str, typer.Argument(metavar="A", help="An operator, as in: reactnet")],
    other: Annotated[str, typer.Argument(metavar="B", help="The operator that it is compared with.")],
    runs: RecordsOf = None,
    track: Annotated[str, typer.Option("--track", help="The track; see: bibench list tracks")] = "learning_task",
    metric: Annotated[str, typer.Option("--metric", help="Metric of the track.")] = "om",
    protocol: Protocol = BIBENCH,
    over: Annotated[str, typer.Option("--over", help="What the interval is over: auto, seeds or tasks.")] = "auto",
    level: Annotated[float, typer.Option("--level", help="Confidence of the interval.")] = 0.95,
    correction: Annotated[
        str, typer.Option("--correction", help=f"For the number of tasks: {', '.join(CORRECTIONS)}.")
    ] = CORRECTION,
    samples: Annotated[int, typer.Option("--samples", help="Samples of the bootstrap.")] = SAMPLES,
    random_seed: Annotated[int, typer.Option("--random-seed", min=0, help="Seed of the bootstrap.")] = 0,
    tasks: Tasks = None,
    models: Models = None,
    seeds: Seeds = None,
    recipe: RecipeName = None,
    load: Load = None,
    format: Annotated[str, typer.Option("--format", help=f"table, {', '.join(FORMATS)}")] = "table",
) -> None:
    """Tell whether operator A is better than B: paired differences on common cells, by task and overall."""
    check_format(format, FORMATS)
    check_protocol(protocol)
    check_correction(correction)
    load_files(load)
    TRACKS[track]
    places = records_of(runs)
    records = some(read_runs(places), places)
    first, second = (found_name(name, records) for name in (one, other))
    wanted = filters(tasks, models, None, seeds, recipe)
    records = marked(select(records, wanted), plan_of(places, None, wanted, None))
    how = Inference(over, samples, random_seed, level, correction)
    rows = versus(records, first, second, track, metric=metric, protocol=protocol, how=how)
    answers = [claims.answer(row) for row in rows if not row.task]
    if format == "json":
        print_json({"answers": answers, "rows": [row.to_dict() for row in rows]})
    elif format in DATA:
        sys.stderr.write("".join(f"{text}\n" for text in answers))
        sys.stdout.write(render([row.to_dict() for row in rows], format))
    else:
        _show(rows, format)


def _show(rows: Sequence[Versus], format: str) -> None:
    """The answer of each recipe, then its table."""
    out = console()
    for place in dict.fromkeys((row.recipe, row.source) for row in rows):
        own = [row for row in rows if (row.recipe, row.source) == place]
        text, shown = claims.answer(own[-1]), _table(own)
        if format == "table":
            out.print(f"{text}\n")
            right = shown.columns[1:-1]
            out.print(table(shown.title, shown.columns, shown.rows, numeric=right))
            for note, places in _notes(own).items():
                out.print(f"{note} ({listed(places)})", markup=False)
        else:
            sys.stdout.write(paragraph(text, format) + render_tables([shown], format))


def _notes(rows: Sequence[Versus]) -> dict[str, list[str]]:
    """Why rows have no interval, with the rows of each reason."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            found.setdefault(row.note, []).append(row.task or "overall")
    return found


def _table(rows: Sequence[Versus]) -> Table:
    last = rows[-1]
    digits = claims.places(last)
    title = f"{TRACKS[last.track].title} track, {last.metric}, recipe {last.recipe}"
    title += f" of {last.source}" if last.source else ""
    title += f", protocol {last.protocol}, {TRACKS[last.track].unit}, on the cells that both have; "
    title += f"{100 * last.level:g} % intervals over {last.over}"
    compared = max((row.comparisons for row in rows[:-1]), default=1)
    if compared > 1:
        title += f"; p of tasks {CORRECTIONS[last.correction].said} for {compared} comparisons"
    said = [f"{claims.signed(row.difference, digits, row.ratio)}" for row in rows]
    lines = [
        [
            row.task or "overall",
            f"{row.value:.{digits}f}",
            f"{row.against:.{digits}f}",
            difference,
            claims.ends(row, digits) or "-",
            row.cells,
            claims.from_to(*row.seeds),
            "-" if row.adjusted is None else f"{row.adjusted:.2g}",
            row.better or ("not told apart" if row.p is not None else "-"),
        ]
        for row, difference in zip(rows, said, strict=True)
    ]
    columns = ("task", last.operator, last.other, "times" if last.ratio else "difference", "interval", "cells")
    return Table(title, (*columns, "seeds", "p", "better"), lines)
