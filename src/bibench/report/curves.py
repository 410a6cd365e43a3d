"""Training curves, from the ``curve.csv`` that every trained cell leaves in its folder."""

from __future__ import annotations

import csv
import warnings
from collections import defaultdict
from pathlib import Path
from statistics import mean

from bibench.foundation.errors import BiBenchError, DataError
from bibench.foundation.lines import read_lines
from bibench.foundation.numbers import parse_number
from bibench.operators import paper_order
from bibench.records.sealed import compare
from bibench.report.blocks import Figure, slug
from bibench.report.figures import axis, below, plain
from bibench.report.material import Material
from bibench.statistics import claims
from bibench.suite.store import CURVE

MAX_FIGURES, MAX_BYTES = 24, 4_000_000


def curve_figures(material: Material) -> tuple[list[Figure], int]:
    """Validation score by epoch, one figure per task × model × recipe, one line per operator (mean over seeds).

    And of how many more of them, beyond `MAX_FIGURES`, none was drawn.
    """
    places: dict[tuple[str, str, str], dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    left_out: set[tuple[str, str, str]] = set()
    if not material.runs:
        return [], 0
    for record in material.test_scores:
        place = record.task, record.model, record.recipe
        if record.study:
            continue
        if place not in places and len(places) == MAX_FIGURES:
            left_out.add(place)
            continue
        if (folder := material.folder_of(record.cell)) and (values := read_curve(folder / CURVE)):
            places[place][record.operator].append(values)
    several = len({recipe for _, _, recipe in places}) > 1
    return [_figure(material, place, curves, several) for place, curves in places.items()], len(left_out)


def read_curve(path: Path) -> list[float]:
    """Validation scores by epoch, in percent; none where the file is absent.

    None either, with a warning that names it, where it is not what a training wrote or the cell was finished with.
    """
    try:
        compare(path.parent, path.name)
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} has more than {MAX_BYTES:,} bytes, too many for a curve")
        rows = csv.DictReader(read_lines(path), strict=True)
        return [
            100 * parse_number(row["validation"], f"{path}, line {rows.line_num}: validation", fix="train again")
            for row in rows
            if row.get("validation")
        ]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, BiBenchError, csv.Error) as error:
        where = "" if isinstance(error, BiBenchError) else f"{path} is no curve of a training: "
        warnings.warn(f"{where}{error}; the report leaves this curve out", stacklevel=2)
        return []


def _figure(
    material: Material, place: tuple[str, str, str], curves: dict[str, list[list[float]]], several: bool
) -> Figure:
    task, model, recipe = place
    data, last = [], {}
    for operator in sorted(curves, key=paper_order):
        runs = curves[operator]
        length = max(map(len, runs))
        values = [mean(run[epoch] for run in runs if epoch < len(run)) for epoch in range(length)]
        last[operator] = values[-1]
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if length <= 12 else "lines",
                "x": list(range(1, length + 1)),
                "y": [round(v, 3) for v in values],
                "name": plain(material.title(operator)),
                "line": {"color": material.colour(operator), "width": 2},
                "marker": {"symbol": material.symbol(operator), "size": 6},
                "hovertemplate": "epoch %{x}: %{y:.1f}<extra>%{fullData.name}</extra>",
            }
        )
    ranking = sorted(last, key=lambda o: -last[o])
    entries = [claims.Entry(material.title(o), v) for o, v in last.items()]
    takeaway = claims.extremes(entries, ("ends", "end"), "highest", "lowest", lambda v: f"{v:.1f} %")
    title = f"{task}, {model}" + (f", {recipe}" if several else "")
    alt = f"Line plot of the validation score by epoch on {title}. Final values: " + "; ".join(
        f"{material.title(o)} {last[o]:.1f}" for o in ranking
    )
    layout = {"xaxis": axis("epoch"), "yaxis": axis("validation score, percent"), "legend": below()}
    return Figure(f"curve-{slug(' '.join(place))}", title, takeaway, alt, data, layout, 400)
