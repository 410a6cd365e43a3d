"""Our numbers beside others' (the paper's), with the difference."""

from __future__ import annotations

from collections.abc import Iterator

from bibench.operators import FULL_PRECISION
from bibench.records.accuracies import Accuracy, accuracies
from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Table, Text, number
from bibench.report.figures import axis, below, plain
from bibench.report.material import Material, model_name
from bibench.report.page import Document, page
from bibench.statistics import claims
from bibench.tracks import TRACKS

HREF = "comparison.html"


@page("comparison", label="Comparison", order=40, href=HREF)
def comparison(material: Material) -> Iterator[Document]:
    """comparison.html; says how to get one when there is nothing to compare with."""
    lead = f"These records beside {material.against_name}, where both have a number."
    if not material.against:
        yield Document(
            HREF,
            "Comparison",
            "These records beside others.",
            [
                Text(
                    "This report was made without other records; --against published compares with the paper's.", "note"
                )
            ],
        )
        return
    yield Document(HREF, "Comparison", lead, [*_overall(material), *_cells(material)])


def _overall(material: Material) -> Iterator[Block]:
    yield Heading("Overall metrics", "overall")
    if material.embedded_only:
        yield Text(
            "These records are of embedded stand-in data, the others are not: the order of operators may be "
            "compared, the differences mean little.",
            "warning",
        )
    lines = []
    for name in material.tracks:
        theirs = {
            (r.operator, r.metric): r
            for r in material.against_scores.get(name, [])
            if r.value is not None and not r.part
        }
        recipe = material.main_recipe(name)
        for own in material.scores[name]:
            other = theirs.get((own.operator, own.metric))
            if own.part or own.recipe != recipe or own.value is None or other is None or other.value is None:
                continue
            digits = TRACKS[name].digits
            partial = own.cells < own.expected
            lines.append(
                [
                    Cell(material.track_title(name), href=f"tracks/{name}.html"),
                    Cell(own.metric),
                    Cell(own.operator, material.title(own.operator), material.operator_href(own.operator)),
                    number(
                        own.value,
                        digits,
                        own.std_error,
                        href=f"tracks/{name}.html",
                        note=own.note,
                        tone="weak" if partial else "",
                    ),
                    number(other.value, digits, note=other.note),
                    _difference(own.value - other.value, digits),
                    Cell("; ".join(filter(None, (own.note, other.note))) or None),
                ]
            )
    if not lines:
        yield Text("No score of a track exists on both sides.", "note")
        return
    columns = [
        *(Column("track"), Column("metric"), Column("operator"), Column("ours", numeric=True)),
        *(Column(material.against_name, numeric=True), Column("difference", numeric=True), Column("notes")),
    ]
    yield Text(claims.averaged_alike(material.against_name, material.protocol))
    caption = f"Scores of tracks beside {material.against_name}, both by the protocol {material.protocol}"
    yield Table("comparison-scores", caption, columns, lines)


def _difference(value: float, digits: int) -> Cell:
    text = f"{value:+.{digits}f}".replace("-", "−")
    return Cell(value, text, tone="good" if value > 0 else "bad" if value < 0 else "")


def _cells(material: Material) -> Iterator[Block]:
    yield Heading("Cell by cell", "cells")
    theirs: dict[tuple[str, str, str], Accuracy] = {}
    for row in accuracies(r for r in material.against if not r.study):
        if row.mean is not None:
            theirs.setdefault((row.task, model_name(row.model), row.operator), row)
    pairs = [
        (own, other)
        for own in material.accuracies
        if own.mean is not None and (other := theirs.get((own.task, model_name(own.model), own.operator))) is not None
    ]
    if not pairs:
        tasks = ", ".join(sorted({a.task for a in material.accuracies})[:8])
        yield Text(f"No task × model × operator is in both: these records have {tasks or 'no accuracies'}.", "note")
        return
    yield _scatter(material, pairs)
    lines = [
        [
            *(Cell(own.task), Cell(own.model), Cell(own.recipe)),
            Cell(own.operator, material.title(own.operator), material.operator_href(own.operator)),
            number(own.mean, 2, own.std, href=material.href(own.task, own.model, own.recipe, own.operator)),
            number(other.mean, 2, other.std),
            _difference((own.mean or 0) - (other.mean or 0), 2),
            Cell("" if own.model == other.model else f"{other.model} there"),
        ]
        for own, other in pairs
    ]
    columns = [
        *(Column("task"), Column("model"), Column("recipe"), Column("operator"), Column("ours", numeric=True)),
        *(Column(material.against_name, numeric=True), Column("difference", numeric=True), Column("note")),
    ]
    yield Table("comparison-cells", "Test scores in percent, ± standard deviation over seeds", columns, lines)


def _scatter(material: Material, pairs: list[tuple[Accuracy, Accuracy]]) -> Figure:
    values = [v for own, other in pairs for v in (own.mean or 0, other.mean or 0)]
    low, high = min(values) - 2, max(values) + 2
    data: list[dict[str, object]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [low, high],
            "y": [low, high],
            "name": "equal",
            "line": {"color": "@muted", "dash": "dot", "width": 1.5},
            "hoverinfo": "skip",
        }
    ]
    for operator in dict.fromkeys(own.operator for own, _ in pairs):
        chosen = [(own, other) for own, other in pairs if own.operator == operator]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(material.title(operator)),
                "x": [other.mean for _, other in chosen],
                "y": [own.mean for own, _ in chosen],
                "text": [plain(f"{own.task}, {own.model}") for own, _ in chosen],
                "marker": {"color": material.colour(operator), "symbol": material.symbol(operator), "size": 9},
                "hovertemplate": "%{text}: ours %{y:.2f}, theirs %{x:.2f}<extra>%{fullData.name}</extra>",
            }
        )
    gaps = [(own.mean or 0) - (other.mean or 0) for own, other in pairs]
    binary = [g for g, (own, _) in zip(gaps, pairs, strict=True) if own.operator != FULL_PRECISION]
    takeaway = claims.apart(gaps, binary, material.against_name)
    layout = {"xaxis": axis(f"{material.against_name}, percent"), "yaxis": axis("ours, percent"), "legend": below()}
    alt = f"Scatter plot of our scores against those of {material.against_name}. {takeaway}"
    return Figure("comparison", "Ours and theirs", takeaway, alt, data, layout, 460)
