"""Binarization beside other compression (Table 21): comparators, which are in no rank and no average of the tracks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bibench.comparators.table21 import TABLE_21, printed_accuracy
from bibench.operators import FULL_PRECISION
from bibench.records.accuracies import Accuracy
from bibench.records.record import Record
from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Multiples, Table, Text, number, slug
from bibench.report.figures import trade_off
from bibench.report.material import Material, unique
from bibench.report.page import Document, page
from bibench.report.pages.operators import APART
from bibench.report.pages.tracks import score_table
from bibench.report.standings import standings
from bibench.report.tradeoffs import basis_of, best_of, sized, takeaway_of
from bibench.tracks import TRACKS
from bibench.tracks.other_compression import NAME, order

HREF = "compression.html"
SAVED = ("storage", "compression", "speedup")
NETWORKS = ("resnet18", "resnet20")
"""Of which Table 21 prints accuracies on CIFAR-10."""


@page("compression", label="Other compression", order=45, href=HREF)
def other_compression(material: Material) -> Iterator[Document]:
    """compression.html; Table 21 stands there without records too."""
    lead = "Binarization beside quantization to more bits and the pruning of filters."
    yield Document(HREF, "Other compression", lead, [*_ours(material), *_printed(material)])


def _ours(material: Material) -> Iterator[Block]:
    if not material.comparators:
        yield Text("No comparator is among the records; train them with: bibench run compression_quick", "note")
        return
    yield Text(APART)
    yield Text(f"Comparators: {material.coverage_of_comparators.line}.")
    yield Heading("Accuracy and what is saved", "scores")
    yield _numbers(material)
    rows = TRACKS[NAME].score(material.records, material.protocol)
    for recipe in unique(r.recipe for r in rows):
        own = [r for r in rows if r.recipe == recipe]
        if any(r.value is not None for r in own):
            yield score_table(material, NAME, recipe, own)
    if figures := _fronts(material):
        yield Heading("Accuracy and size", "accuracy-size")
        yield Multiples(figures)


def _places(material: Material) -> set[tuple[str, str, str]]:
    """Where there is a comparator: task, model, recipe."""
    return {(a.task, a.model, a.recipe) for a in material.beside if a.operator != FULL_PRECISION}


def _all(material: Material) -> list[Accuracy]:
    """Accuracies of everything that was trained beside a comparator, operators first."""
    places, others = _places(material), [a for a in material.beside if a.operator != FULL_PRECISION]
    found = [a for a in (*material.accuracies, *others) if (a.task, a.model, a.recipe) in places]
    return sorted(found, key=lambda a: (a.task, a.model, a.recipe, order(a.operator)))


def _saved(material: Material) -> dict[tuple[str, str, str, str], float]:
    """By task, model, operator and metric: what the newest counts say."""
    counted: list[Record] = [r for r in material.records if r.kind == "complexity" and r.metric in SAVED]
    counted.sort(key=lambda r: r.started)
    return {(r.task, r.model, r.operator, r.metric): r.value for r in counted if r.value is not None}


def _numbers(material: Material) -> Table:
    found, saved = _all(material), _saved(material)
    kept = {(s.accuracy.task, s.accuracy.model, s.accuracy.recipe, s.accuracy.operator): s for s in standings(found)}
    lines = []
    for a in found:
        standing = kept.get((a.task, a.model, a.recipe, a.operator))
        size, compression, speedup = (saved.get((a.task, a.model, a.operator, m)) for m in SAVED)
        printed = printed_accuracy(a.task, a.model, a.operator)
        href = material.href(a.task, a.model, a.recipe, a.operator)
        kind = "full precision" if a.operator == FULL_PRECISION else "operator"
        lines.append(
            [
                Cell(a.operator, material.title(a.operator), material.operator_href(a.operator)),
                Cell("comparator" if a.operator in material.comparators else kind),
                *(Cell(a.task), Cell(a.model), Cell(a.recipe)),
                number(a.mean, 1, a.std, href=href, note=a.flags),
                number(standing.relative if standing else None, 1, href=href),
                number(size / 1e3 if size is not None else None, 1, href=href),
                *(number(compression, 2, href=href), number(speedup, 2, href=href), number(printed, 2)),
            ]
        )
    columns = [
        *(Column("method"), Column("kind"), Column("task"), Column("model"), Column("recipe")),
        *(Column("score", numeric=True), Column("% of full precision", numeric=True)),
        *(Column("storage, kB", numeric=True), Column("compression, ×", numeric=True)),
        *(Column("speed-up, ×", numeric=True, note="operations, counted"), Column("Table 21", numeric=True)),
    ]
    caption = "Test score in percent ± standard deviation over seeds, what is saved, and what the paper prints"
    return Table("other-compression", caption, columns, lines)


def _fronts(material: Material) -> list[Figure]:
    figures = []
    for task, points in sized(material, _all(material), material.records).items():
        data, layout = trade_off(material, points, "storage, MB", "test score, percent")
        takeaway = takeaway_of(points, "MB", "size", "compressed") + basis_of(points)
        alt = f"Scatter plot of test score against storage on {task}, operators and comparators. {takeaway}"
        figures.append(Figure(f"compression-{slug(task)}", task, takeaway, alt, data, layout, 460))
    return figures


def _printed(material: Material) -> Iterator[Block]:
    yield Heading("Table 21 as the paper prints it", "table-21")
    yield Text(
        "The two columns of costs are of ResNet-18 on ImageNet, whatever their headings in the paper say. "
        "Our accuracies stand beside where records of CIFAR-10 exist."
    )
    lines = []
    for row in TABLE_21:
        href = material.operator_href(row.operator)
        cells = [Cell(row.operator or row.method, row.method, href)]
        for model in NETWORKS:
            cells += [number(getattr(row, model), 2), _own(material, model, row.operator)]
        lines.append([*cells, number(row.flops, 3), number(row.parameters, 0)])
    columns = [Column("method")]
    for model in NETWORKS:
        columns += [Column(f"{model}, paper", numeric=True), Column(f"{model}, ours", numeric=True)]
    columns += [Column("FLOPs, G", numeric=True), Column("parameters, K", numeric=True)]
    yield Table("table-21", "Accuracy on CIFAR-10 in percent, operations and size", columns, lines)


def _own(material: Material, model: str, operator: str) -> Cell:
    """Ours by the recipe that reached most."""
    there: Sequence[Accuracy] = [*material.accuracies, *material.beside]
    own = [a for a in best_of(there) if (a.task, a.model, a.operator) == ("cifar10", model, operator)]
    if not own:
        return number(None)
    a = own[0]
    return number(a.mean, 2, a.std, href=material.href(a.task, a.model, a.recipe, a.operator))
