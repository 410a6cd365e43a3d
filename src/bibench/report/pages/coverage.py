"""Coverage: which cells exist, failed, cannot work, are stale or never ran, and which tracks have measurements."""

from __future__ import annotations

from collections.abc import Iterator

from bibench.operators import paper_order
from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Table, Text
from bibench.report.figures import heat_map
from bibench.report.material import MEASURED, Material, unique
from bibench.report.page import Document, page
from bibench.report.pages.overview import covered
from bibench.statistics import Coverage, claims

HREF = "coverage.html"


@page("coverage", label="Coverage", order=50, href=HREF)
def cover(material: Material) -> Iterator[Document]:
    """coverage.html."""
    lead = "What the averages of this report rest on, and what they lack."
    yield Document(HREF, "Coverage", lead, list(_blocks(material)))


def _blocks(material: Material) -> Iterator[Block]:
    yield Text(covered(material))
    yield Heading("Tracks and their measurements", "tracks")
    yield _tracks(material)
    found = material.coverage
    if not found.rows:
        return
    yield Heading("Cells", "cells")
    yield Text(f"Expected: {found.basis}.")
    if stale := found.states.get("stale"):
        yield Text(
            f"Stale cells: {stale}. Their code or their baseline changed after they were trained. They count in "
            "averages; train them anew with: bibench run SUITE --rerun stale",
            "warning",
        )
    yield _map(material, found)
    yield _table(material, found, "coverage", "Cells")
    apart = material.coverage_of_comparators
    if apart.rows:
        yield Heading("Other compression", "comparators")
        yield Text(f"Comparators, which are in no average of the tracks: {apart.line}.")
        yield _table(material, apart, "coverage-comparators", "Cells of comparators")


def _tracks(material: Material) -> Table:
    lines = []
    for name in material.tracks:
        found = material.measured(MEASURED.get(name, "score"))
        scored = sum(r.value is not None for r in material.overall(name).values())
        tone = "missing" if not found.done else "weak" if found.done < found.expected else ""
        lines.append(
            [
                Cell(material.track_title(name), href=f"tracks/{name}.html"),
                Cell(found.noun),
                Cell(found.done, f"{found.done:,} of {found.expected:,}" if found.expected else "none", tone=tone),
                Cell(scored, f"{scored} of {len(material.operators)}", tone="" if scored else "missing"),
            ]
        )
    columns = [Column("track"), Column("measured"), Column("there", numeric=True)]
    return Table(
        "coverage-tracks", "Measurements of each track", [*columns, Column("operators scored", numeric=True)], lines
    )


def _map(material: Material, found: Coverage) -> Figure:
    operators = sorted({r.operator for r in found.rows}, key=paper_order)
    tasks = unique(r.task for r in found.rows)
    shares: list[list[float | None]] = []
    for operator in operators:
        rows = [[r for r in found.rows if (r.operator, r.task) == (operator, task)] for task in tasks]
        shares.append(
            [100 * sum(r.done for r in own) / max(sum(r.expected for r in own), 1) if own else None for own in rows]
        )
    data, layout = heat_map([material.title(o) for o in operators], tasks, shares, "%")
    data[0] |= {"zmin": 0, "zmax": 100}
    lacking = sum(share is None or share < 100 for row in shares for share in row)
    takeaway = claims.incomplete(lacking, len(operators) * len(tasks))
    alt = f"Heat map of the share of cells with a result, by operator and task. {takeaway}"
    return Figure("coverage", "Cells with a result", takeaway, alt, data, layout, 150 + 32 * max(len(operators), 3))


def _table(material: Material, found: Coverage, name: str, what: str) -> Table:
    states = list(found.states)
    lines = [
        [
            *(Cell(r.task), Cell(r.model), Cell(r.operator, material.title(r.operator)), Cell(r.recipe)),
            Cell(
                r.done,
                f"{r.done} of {r.expected}",
                material.href(r.task, r.model, r.recipe, r.operator),
                tone="" if r.done == r.expected else "weak",
            ),
            *(Cell(r.states.get(s, 0), str(r.states.get(s, 0) or "–")) for s in states if s != "done"),
            Cell("; ".join(r.reasons) or None),
        ]
        for r in found.rows
    ]
    columns = [
        *(Column("task"), Column("model"), Column("operator"), Column("recipe"), Column("with a result", numeric=True)),
        *(Column(s, numeric=True) for s in states if s != "done"),
        Column("reasons"),
    ]
    return Table(name, f"{what} by task × model × operator × recipe, counted over seeds", columns, lines)
