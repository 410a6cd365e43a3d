"""Hardware inference: accuracy against latency, by device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bibench.operators import paper_order
from bibench.records.record import Record
from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Multiples, Table, Text, number, slug
from bibench.report.figures import Point, trade_off
from bibench.report.material import Material
from bibench.report.section import section
from bibench.report.tradeoffs import best_of, takeaway_of
from bibench.tracks.base import is_ratio

MAX_FIGURES, MAX_ROWS = 24, 2000


@section("hardware_inference")
def hardware_inference(material: Material) -> Iterator[Block]:
    """Every latency with its quartiles; a Pareto front per task, device, engine, number of threads and batch size."""
    latencies = [r for r in material.of_kind("latency") if r.metric == "latency_ms" and r.value]
    if not latencies:
        return
    yield Heading("Latencies", "latencies")
    yield _latencies(material, latencies)
    if (table := _speedups(material)) is not None:
        yield Heading("Theory and reality", "theory")
        yield table
    yield Heading("Accuracy and latency", "accuracy-latency")
    merits = {(a.task, a.model, a.operator): a.mean for a in best_of(material.accuracies)}
    places: dict[tuple[Any, ...], list[Point]] = {}
    for r in latencies:
        merit = merits.get((r.task, r.model, r.operator))
        if merit is not None and r.value is not None and is_ratio(r.value):
            place = (r.task, r.device, r.engine, r.threads, r.batch_size)
            label = f"{material.title(r.operator)} on {r.model}"
            places.setdefault(place, []).append(Point(r.operator, label, r.value, merit))
    if not places:
        yield Text("Latencies were measured, but of no model whose accuracy is among the records.", "note")
        return
    figures = []
    for place, points in list(places.items())[:MAX_FIGURES]:
        task, device, engine, threads, batch = place
        parts = (task, device, engine, _threads(threads), f"batch {batch}" if batch not in (None, 1) else "")
        title = ", ".join(filter(None, parts))
        data, layout = trade_off(material, points, "latency, ms", "test score, percent")
        takeaway = takeaway_of(points, "ms", "latency")
        alt = f"Scatter plot of test score against latency on {title}, with its Pareto front. {takeaway}"
        figures.append(Figure(f"latency-{slug(' '.join(map(str, place)))}", title, takeaway, alt, data, layout, 420))
    yield Multiples(figures)
    if len(places) > MAX_FIGURES:
        yield Text(
            f"The first {MAX_FIGURES} of {len(places)} task × device × engine × threads × batch are drawn.", "note"
        )


def _threads(count: int | None) -> str:
    return f"{count} thread{'' if count == 1 else 's'}" if count else ""


def _remarks(r: Record) -> str:
    impossible = "" if is_ratio(r.value) else "no latency can be that: not drawn, in no score"
    return ", ".join(filter(None, (*r.flags.split(","), impossible)))


def _latencies(material: Material, latencies: Sequence[Record]) -> Table:
    """What was measured, with what the measurement says of itself (a busy machine, a drift)."""
    ordered = sorted(latencies, key=lambda r: (r.task, r.model, r.device, r.engine, paper_order(r.operator)))
    lines = [
        [
            Cell(r.operator, material.title(r.operator), material.operator_href(r.operator)),
            *(Cell(r.task), Cell(r.model), Cell(r.device), Cell(r.engine or None), Cell(r.threads), Cell(r.batch_size)),
            number(r.value, 3, href=material.href_of(r), tone="weak" if _remarks(r) else ""),
            *(number(r.low, 3), number(r.high, 3), Cell(_remarks(r) or None)),
        ]
        for r in ordered[:MAX_ROWS]
    ]
    columns = [
        *(Column("operator"), Column("task"), Column("model"), Column("device"), Column("engine")),
        *(Column("threads", numeric=True), Column("batch", numeric=True), Column("median, ms", numeric=True)),
        *(Column("lower quartile", numeric=True), Column("upper quartile", numeric=True), Column("flags")),
    ]
    caption = "Latency as measured" + (f", the first {MAX_ROWS} of {len(ordered)}" if len(ordered) > MAX_ROWS else "")
    return Table("latencies", caption, columns, lines)


def _speedups(material: Material) -> Table | None:
    """How many times faster than full precision each file was, beside what its multiply-accumulates promise."""
    records = [r for r in material.of_kind("latency") if r.value is not None and is_ratio(r.value)]
    theory = {_file(r): r for r in records if r.metric == "theoretical_speedup"}
    ordered = sorted((r for r in records if r.metric == "speedup"), key=lambda r: (*_file(r), r.threads or 0))
    if not ordered:
        return None
    lines = []
    for r in ordered[:MAX_ROWS]:
        promised = theory.get(_file(r))
        share = None if promised is None or r.value is None or not promised.value else 100 * r.value / promised.value
        lines.append(
            [
                Cell(r.operator, material.title(r.operator), material.operator_href(r.operator)),
                *(Cell(v) for v in (r.task, r.model, r.device, r.engine or None, r.threads, r.batch_size)),
                *(number(r.value, 2, href=material.href_of(r)), number(r.low, 2), number(r.high, 2)),
                *(number(promised.value if promised else None, 2), number(share, 0)),
            ]
        )
    columns = [
        *(Column("operator"), Column("task"), Column("model"), Column("device"), Column("engine")),
        *(Column("threads", numeric=True), Column("batch", numeric=True), Column("measured", numeric=True)),
        *(Column("lower quartile", numeric=True), Column("upper quartile", numeric=True)),
        *(Column("in theory", numeric=True), Column("share, percent", numeric=True)),
    ]
    caption = (
        "Times faster than full precision on the same device: measured in turns, and in theory, by "
        "multiply-accumulates alone, 64 as one in the layers that the engine runs at 1 bit with a gain"
    )
    return Table("speedups", caption, columns, lines)


def _file(r: Record) -> tuple[str, ...]:
    return r.task, r.model, r.device, r.engine, r.operator
