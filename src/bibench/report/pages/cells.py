"""Every cell with all its records, many to a page, so that a hundred thousand records stay a few dozen files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from bibench.records.record import Record
from bibench.report.blocks import Block, Cell, Column, Heading, Links, Runs, Table, Text
from bibench.report.material import Group, Material, cells_page
from bibench.report.page import Document, page

HREF = "cells/index.html"


@dataclass(frozen=True)
class Run:
    """One cell: what it was, in a line, where its numbers come from, and its records."""

    name: str
    title: str
    facts: Sequence[tuple[str, str]]
    records: Sequence[Record]


@page("cells", label="Cells", order=70, href=HREF)
def cells(material: Material) -> Iterator[Document]:
    """cells/index.html and the numbered pages."""
    pages = {number: list(groups) for number, groups in groupby(material.groups.values(), key=lambda g: g.page)}
    items = [
        (f"{_name(groups[0])} … {_name(groups[-1])}", cells_page(number), f"{sum(g.size for g in groups):,} records")
        for number, groups in pages.items()
    ]
    lead = "Every number of this report, with where it comes from."
    yield Document(HREF, "Cells", lead, [Links(items)])
    for number, groups in pages.items():
        lead = f"Page {number + 1} of {len(pages)}: {_name(groups[0])} to {_name(groups[-1])}."
        yield Document(cells_page(number), "Cells", lead, _blocks(material, number, groups))


def _name(group: Group) -> str:
    task, model, recipe, operator = group.key
    return f"{task} · {model} · {recipe} · {operator}"


def _blocks(material: Material, number: int, groups: Sequence[Group]) -> Iterator[Block]:
    yield Text("Open a cell to see its records. Every cell is a folder of the run, of the name that it has here.")
    place = None
    for group in groups:
        if group.key[:3] != place:
            place = group.key[:3]
            yield Heading(" · ".join(place), f"p{group.number}")
        runs = [_run(cell, records) for cell, records in group.cells.items()]
        yield Runs(material.title(group.key[3]), f"g{group.number}", runs)
    yield records_table(f"cells-{number:04d}", [r for g in groups for records in g.cells.values() for r in records])


def _run(cell: str, records: Sequence[Record]) -> Run:
    first = records[0]
    title = f"seed {first.seed}"
    score = next((r for r in records if r.kind == "score" and r.split == "test"), None)
    if score is not None:
        title += f": {score.metric} {100 * score.value:.2f} %" if score.value is not None else f": {score.status}"
        title += f" ({score.flags})" if score.flags else ""
    kinds = ", ".join(dict.fromkeys(r.kind for r in records))
    return Run(cell, f"{title} · {len(records)} records ({kinds})", _facts(first), records)


FACTS = (
    *("division", "study", "initial_weights", "data_order", "data", "code", "started", "bibench", "torch"),
    *("git_commit", "platform", "cpu", "accelerator", "threads", "precision"),
)


def _facts(record: Record) -> list[tuple[str, str]]:
    values = [(name.replace("_", " "), getattr(record, name)) for name in FACTS]
    return [(name, str(value)) for name, value in values if value not in ("", None)]


def records_table(name: str, records: Sequence[Record]) -> Table:
    """All records of a page, for its exports; on the page they stand with their cells."""
    fields = (
        *("cell", "kind", "metric", "split", "corruption", "severity", "value", "unit", "low", "high", "status"),
        *("reason", "flags"),
    )
    filled = [f for f in fields if any(getattr(r, f) not in (None, "") for r in records)]
    lines = [[Cell(getattr(r, field)) for field in filled] for r in records]
    return Table(name, "The records of this page", [Column(f) for f in filled], lines, kind="exported")
