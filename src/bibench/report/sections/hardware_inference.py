"""Hardware inference: accuracy against latency, by device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bibench.report.blocks import Block, Figure, Heading, Multiples, Text, slug
from bibench.report.figures import Point, trade_off
from bibench.report.material import Material
from bibench.report.section import section
from bibench.report.tradeoffs import best_of, takeaway_of

MAX_FIGURES = 24


@section("hardware_inference")
def hardware_inference(material: Material) -> Iterator[Block]:
    """A Pareto front per task, device, engine and number of threads."""
    latencies = [r for r in material.of_kind("latency") if r.metric == "latency_ms" and r.value]
    if not latencies:
        return
    yield Heading("Accuracy and latency", "accuracy-latency")
    merits = {(a.task, a.model, a.operator): a.mean for a in best_of(material.accuracies)}
    places: dict[tuple[str, str, str, Any], list[Point]] = {}
    for r in latencies:
        merit = merits.get((r.task, r.model, r.operator))
        if merit is not None and r.value is not None:
            place = (r.task, str(getattr(r, "device", "")), str(getattr(r, "engine", "")), r.threads)
            label = f"{material.title(r.operator)} on {r.model}"
            places.setdefault(place, []).append(Point(r.operator, label, r.value, merit))
    if not places:
        yield Text("Latencies were measured, but of no model whose accuracy is among the records.", "note")
        return
    figures = []
    for place, points in list(places.items())[:MAX_FIGURES]:
        task, device, engine, threads = place
        title = ", ".join(filter(None, (task, device, engine, f"{threads} threads" if threads else "")))
        data, layout = trade_off(material, points, "latency, ms", "test score, percent")
        takeaway = takeaway_of(points, "ms", "latency")
        alt = f"Scatter plot of test score against latency on {title}, with its Pareto front. {takeaway}"
        figures.append(Figure(f"latency-{slug(' '.join(map(str, place)))}", title, takeaway, alt, data, layout, 420))
    yield Multiples(figures)
    if len(places) > MAX_FIGURES:
        yield Text(f"The first {MAX_FIGURES} of {len(places)} task × device × engine are drawn.", "note")
