"""Corruption robustness: a heat map of corruptions, and curves over severities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

from bibench.operators import FULL_PRECISION, paper_order
from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Multiples, Table, Text, number, slug
from bibench.report.figures import axis, below, dots_height, heat_map, plain
from bibench.report.material import Material, unique
from bibench.report.section import section
from bibench.statistics import claims
from bibench.tracks.corruption_robustness import CLEAN, CorruptedAccuracy, by_corruption, by_severity

MAX_PLACES = 24

Place = tuple[str, str, str]


@section("corruption_robustness")
def corruption_robustness(material: Material) -> Iterator[Block]:
    """For each task × model what each corruption and each severity leaves."""
    records = material.of_kind("corruption")
    corruptions, severities = by_corruption(records), by_severity(records)
    places = list(dict.fromkeys((r.task, r.model, r.recipe) for r in corruptions))
    if not places:
        return
    if len(places) > MAX_PLACES:
        yield Text(f"{len(places)} task × model were measured; the first {MAX_PLACES} are drawn.", "note")
    yield Heading("What each corruption leaves of the accuracy", "heat-maps")
    for place in places[:MAX_PLACES]:
        rows = [r for r in corruptions if (r.task, r.model, r.recipe) == place]
        yield _heat_map(material, place, rows)
        yield _table(material, place, rows)
    yield Heading("By severity", "severities")
    yield Multiples(
        [
            _curve(material, place, [r for r in severities if (r.task, r.model, r.recipe) == place])
            for place in places[:MAX_PLACES]
        ]
    )


def _heat_map(material: Material, place: Place, rows: Sequence[CorruptedAccuracy]) -> Figure:
    operators = sorted({r.operator for r in rows}, key=paper_order)
    conditions = unique(r.condition for r in rows)
    by_key = {(r.operator, r.condition): r.accuracy for r in rows}
    values = [[by_key.get((o, c)) for c in conditions] for o in operators]
    names = [c.replace("_", " ") if c != CLEAN else "clean" for c in conditions]
    data, layout = heat_map([material.title(o) for o in operators], names, values, "%")
    costs = {
        c: mean(
            [by_key[o, CLEAN] - by_key[o, c] for o in operators if (o, c) in by_key and (o, CLEAN) in by_key] or [0]
        )
        for c in conditions
        if c != CLEAN
    }
    entries = [claims.Entry(c.replace("_", " "), v) for c, v in costs.items()]
    takeaway = claims.extremes(entries, ("costs", "cost"), "most", "least", lambda v: f"{v:.0f} points")
    takeaway += " Points are means over operators." if takeaway else ""
    alt = f"Heat map of accuracy by operator and corruption on {place[0]}, {place[1]}. {takeaway}".rstrip()
    title = f"{place[0]}, {place[1]}"
    return Figure(
        f"corruptions-{slug(' '.join(place))}", title, takeaway, alt, data, layout, dots_height(len(values)) + 60
    )


def _table(material: Material, place: Place, rows: Sequence[CorruptedAccuracy]) -> Table:
    operators = sorted({r.operator for r in rows}, key=paper_order)
    by_key = {(r.operator, r.condition): r for r in rows}
    lines = []
    for condition in unique(r.condition for r in rows):
        cells = [by_key.get((o, condition)) for o in operators]
        numbers = [
            number(r.accuracy, 1, href=material.href(*place, o)) if r else Cell(None, tone="missing")
            for r, o in zip(cells, operators, strict=True)
        ]
        lines.append([Cell(condition.replace("_", " ") if condition != CLEAN else "clean"), *numbers])
    return Table(
        f"corruptions-{slug(' '.join(place))}",
        f"{place[0]}, {place[1]}, {place[2]}: accuracy in percent, means over severities and seeds",
        [Column("corruption"), *(Column(material.title(o), numeric=True) for o in operators)],
        lines,
    )


def _curve(material: Material, place: Place, rows: Sequence[CorruptedAccuracy]) -> Figure:
    data, lost = [], {}
    for operator in sorted({r.operator for r in rows}, key=paper_order):
        own = sorted((r for r in rows if r.operator == operator), key=lambda r: int(r.condition))
        if len(own) > 1 and operator != FULL_PRECISION:
            lost[operator] = own[0].accuracy - own[-1].accuracy
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": plain(material.title(operator)),
                "x": [int(r.condition) for r in own],
                "y": [round(r.accuracy, 3) for r in own],
                "line": {"color": material.colour(operator), "width": 2},
                "marker": {"symbol": material.symbol(operator), "size": 7},
                "hovertemplate": "severity %{x}: %{y:.1f} %<extra>%{fullData.name}</extra>",
            }
        )
    entries = [claims.Entry(material.title(o), v) for o, v in lost.items()]
    takeaway = claims.extremes(entries, ("loses", "lose"), "most", "least", lambda v: f"{v:.0f} points")
    takeaway += " Points are lost from clean images to the highest severity." if takeaway else ""
    title = f"{place[0]}, {place[1]}"
    layout = {"xaxis": axis("severity (0: clean)", dtick=1), "yaxis": axis("accuracy, percent"), "legend": below()}
    alt = f"Line plot of accuracy by severity of corruption on {title}. {takeaway}"
    return Figure(f"severities-{slug(' '.join(place))}", title, takeaway, alt, data, layout, 400)
