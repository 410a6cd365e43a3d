"""Provenance: environments, states of git, seeds, fingerprints of code and data, open rows, and fairness."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from bibench.operators import FULL_PRECISION
from bibench.records.record import Record
from bibench.report.blocks import Block, Cell, Column, Heading, Table, Text
from bibench.report.material import Material
from bibench.report.page import Document, page

HREF = "provenance.html"
SOFTWARE = ("bibench", "python", "torch", "torchvision", "numpy", "lightning_fabric", "torchmetrics", "git_commit")
MACHINE = ("platform", "cpu", "cpu_count", "accelerator", "kernels", "threads", "precision")
MAX_ROWS = 1000


@page("provenance", label="Provenance", order=60, href=HREF)
def provenance(material: Material) -> Iterator[Document]:
    """provenance.html."""
    lead = "Which code, on which machine, with which seeds and data: what it takes to get these numbers again."
    yield Document(HREF, "Provenance", lead, list(_blocks(material)))


def _blocks(material: Material) -> Iterator[Block]:
    records = material.records
    yield Heading("Fairness", "fairness")
    yield from _fairness(material)
    yield Heading("Open division", "open")
    yield from _open(material)
    yield Heading("Software", "software")
    dirty = len({r.cell for r in records if r.git_dirty})
    if dirty:
        yield Text(f"{dirty} cells were made from a checkout with uncommitted changes.", "warning")
    yield _counted("provenance-software", "Software of the records", (*SOFTWARE, "git_dirty"), records)
    yield Heading("Machines", "machines")
    yield _counted("provenance-machines", "Machines of the records", MACHINE, records)
    yield Heading("Seeds", "seeds")
    yield _seeds(records)
    yield Heading("Fingerprints of code and data", "code")
    yield Text(
        "Records with different fingerprints of the same thing were made by different code, or on different data."
    )
    yield from _code(records)
    yield _counted("provenance-data", "Data as read", ("task", "data"), records)


def _fairness(material: Material) -> Iterator[Block]:
    """What is compared must share initial weights and the order of data, comparators too (the baseline has its own)."""
    groups: dict[tuple[str, str, str, int], list[Record]] = defaultdict(list)
    for r in material.records:
        if r.kind == "score" and r.split == "test" and r.operator != FULL_PRECISION:
            groups[r.task, r.model, r.recipe, r.seed].append(r)
    lines, checked = [], 0
    for (task, model, recipe, seed), group in groups.items():
        known = [r for r in group if r.initial_weights or r.data_order]
        if len({r.operator for r in known}) < 2:
            continue
        checked += 1
        for field in ("initial_weights", "data_order"):
            values = Counter(v for r in known if (v := getattr(r, field)))
            if len(values) > 1:
                usual = values.most_common(1)[0][0]
                others = sorted({material.title(r.operator) for r in known if getattr(r, field) not in ("", usual)})
                lines.append(
                    [
                        *(Cell(task, href=material.href_of(group[0])), Cell(model), Cell(recipe), Cell(seed)),
                        *(Cell(field.replace("_", " ")), Cell(", ".join(others))),
                    ]
                )
    if not checked:
        yield Text(
            "Nothing to check: no two operators or comparators of a comparison carry fingerprints of their start.",
            "note",
        )
        return
    if not lines:
        yield Text(
            f"In all {checked} comparisons (task × model × recipe × seed) operators and comparators started from the "
            "same weights and saw the same data in the same order."
        )
        return
    yield Text(f"{len(lines)} differences in {checked} comparisons: those did not start alike.", "warning")
    columns = [Column("task"), Column("model"), Column("recipe"), Column("seed", numeric=True), Column("what differs")]
    yield Table(
        "provenance-fairness", "Comparisons that are not fair", [*columns, Column("operators")], lines[:MAX_ROWS]
    )


def _open(material: Material) -> Iterator[Block]:
    rows = {(r.task, r.model, r.operator, r.recipe): r for r in material.records if r.division == "open"}
    if not rows:
        yield Text("None: every cell was trained by a recipe that the benchmark prescribes.")
        return
    yield Text(f"{len(rows)} rows were trained by a changed recipe. They are not comparable with prescribed ones.")
    lines = [
        [*(Cell(v, href=material.href_of(r) if i == 0 else "") for i, v in enumerate(key))]
        for key, r in list(rows.items())[:MAX_ROWS]
    ]
    columns = [Column("task"), Column("model"), Column("operator"), Column("recipe")]
    yield Table("provenance-open", "Open division", columns, lines)


def _counted(name: str, caption: str, fields: Sequence[str], records: Sequence[Record]) -> Table:
    """Each combination of some fields with the number of cells that have it."""
    cells: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for r in records:
        key = tuple("" if (v := getattr(r, field)) is None else str(v) for field in fields)
        cells[key].add(r.cell)
    lines = [
        [*(Cell(value or None) for value in key), Cell(len(found))]
        for key, found in sorted(cells.items(), key=lambda item: -len(item[1]))[:MAX_ROWS]
    ]
    columns = [Column(field.replace("_", " ")) for field in fields]
    return Table(name, caption, [*columns, Column("cells", numeric=True)], lines)


def _seeds(records: Sequence[Record]) -> Table:
    seeds: dict[str, Counter[int]] = defaultdict(Counter)
    for r in {(r.cell, r.seed): r for r in records}.values():
        seeds[r.task][r.seed] += 1
    lines = [
        [Cell(task), Cell(", ".join(map(str, sorted(found)))), Cell(sum(found.values()))]
        for task, found in sorted(seeds.items())
    ]
    return Table(
        "provenance-seeds", "Seeds by task", [Column("task"), Column("seeds"), Column("cells", numeric=True)], lines
    )


PARTS = ("training", "task", "model", "operator", "conversion")


def _code(records: Sequence[Record]) -> Iterator[Block]:
    """`Record.code` has a digest for each of `PARTS`, joined by hyphens; a row per part, thing and digest."""
    cells: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for r in records:
        digests = r.code.split("-") if r.code else []
        for part, digest in zip(PARTS, digests, strict=False):
            thing = str(getattr(r, part, "")).partition("[")[0]
            cells[part, thing, digest].add(r.cell)
    lines = [[*(Cell(v or None) for v in key), Cell(len(found))] for key, found in sorted(cells.items())]
    columns = [Column("part"), Column("of"), Column("fingerprint"), Column("cells", numeric=True)]
    yield Table("provenance-code", "Code of the cells", columns, lines[:MAX_ROWS])
