"""A page per track: its coverage, its scores, and what is special to it (`bibench.report.sections`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Links, Table, Text, number, slug
from bibench.report.material import Material, unique
from bibench.report.page import Document, page
from bibench.report.pages.overview import covered
from bibench.report.ranked import interval_text, scores_figure
from bibench.report.section import SECTIONS
from bibench.statistics import claims
from bibench.tracks import TRACKS, Score

EMPTY = {
    "corruption_robustness": "measure it with: bibench measure corruptions RUNS",
    "training_consumption": "measure it with: bibench measure training-cost, and bibench run sensitivity",
    "theoretical_complexity": "count it with: bibench measure complexity SUITE",
    "hardware_inference": "export trained cells and measure them with: bibench latency FILES -o RUNS",
}


@page("tracks", label="Tracks", order=20, href="tracks/index.html")
def tracks(material: Material) -> Iterator[Document]:
    """tracks/index.html and one page per track."""
    items = [(material.track_title(n), f"tracks/{n}.html", _summary(material, n)) for n in material.tracks]
    yield Document("tracks/index.html", "Tracks", "What is compared, one page each.", [Links(items)])
    for name in material.tracks:
        lead = (
            f"{TRACKS[name].equation}. {TRACKS[name].unit[0].upper()}{TRACKS[name].unit[1:]}." if name in TRACKS else ""
        )
        yield Document(f"tracks/{name}.html", material.track_title(name), lead, list(_blocks(material, name)))


def _summary(material: Material, name: str) -> str:
    rows = [r for r in material.overall(name).values() if r.value is not None]
    if not rows:
        return f"No overall score; {EMPTY.get(name, 'train cells and they will be scored')}."
    return claims.best(material.ranks(name), material.title, material.lacking(name))


def _blocks(material: Material, name: str) -> Iterator[Block]:
    rows = material.scores[name]
    if text := covered(material, name):
        yield Text(text)
    if not any(r.value is not None for r in rows):
        yield Text(f"Nothing was measured for this track; {EMPTY.get(name, 'no cell has a score')}.", "warning")
    else:
        if line := material.evidence(name):
            yield Text(line, "note")
        yield Heading("Scores", "scores")
        if any(r.value is not None for r in material.overall(name).values()):
            yield _overall_figure(material, name)
        for recipe in unique(r.recipe for r in rows):
            own = [r for r in rows if r.recipe == recipe and not r.part]
            if any(r.value is not None for r in own):
                yield score_table(material, name, recipe, own)
        if parts := [r for r in rows if r.part and r.value is not None]:
            yield Heading("In detail", "parts")
            yield parts_table(material, name, parts)
    if name in SECTIONS:
        yield from SECTIONS[name](material)


def _overall_figure(material: Material, name: str) -> Figure:
    rows, unit = material.ranks(name), TRACKS[name].unit
    takeaway = claims.best(rows, material.title, material.lacking(name))
    takeaway += f" {claims.span(rows, TRACKS[name].digits, unit)}"
    return scores_figure(material, f"overall-{name}", "Overall metric", unit, rows, takeaway)


def score_table(material: Material, name: str, recipe: str, rows: Sequence[Score]) -> Table:
    """Operators × metrics of a track under one recipe."""
    metrics = [m for m in unique(r.metric for r in rows) if any(r.value is not None for r in rows if r.metric == m)]
    by_key = {(r.operator, r.metric): r for r in rows}
    ranked = material.ranks(name, recipe) if name in material.scores else []  # other compression is not ranked
    bounds = {row.operator: interval_text(row, TRACKS[name].digits) for row in ranked}
    at = 1 + metrics.index(ranked[0].metric) if any(bounds.values()) else None
    lines = []
    for operator in unique(r.operator for r in rows):
        numbers = [_score(material, name, by_key.get((operator, metric))) for metric in metrics]
        if at is not None:
            numbers.insert(at, Cell(bounds.get(operator) or None))
        notes = unique(f"{r.metric}: {r.note}" for m in metrics if (r := by_key.get((operator, m))) and r.note)
        lines.append(
            [
                Cell(operator, material.title(operator), material.operator_href(operator)),
                *numbers,
                Cell("; ".join(notes) or None),
            ]
        )
    columns = [Column(m, numeric=True) for m in metrics]
    caption = f"{material.track_title(name)}, recipe {recipe}, {TRACKS[name].unit}; ± is the standard error over seeds"
    if at is not None:
        columns.insert(at, Column(f"interval of {ranked[0].metric}"))
        caption += f"; intervals are those of the leaderboard, {100 * ranked[0].level:g} % over {ranked[0].over}"
    columns = [Column("operator"), *columns, Column("incomplete")]
    return Table(f"scores-{name}-{slug(recipe)}", caption, columns, lines)


def parts_table(material: Material, name: str, rows: Sequence[Score]) -> Table:
    """Scores that are no summary, one per line: of a device, or corrected in some way."""
    lines = [
        [
            Cell(r.operator, material.title(r.operator), material.operator_href(r.operator)),
            *(Cell(r.part), Cell(r.metric), _score(material, name, r), Cell(r.recipe), Cell(r.note or None)),
        ]
        for r in rows
    ]
    columns = [Column("operator"), Column("part"), Column("metric"), Column("value", numeric=True), Column("recipe")]
    caption = f"{material.track_title(name)}: parts and corrections of the scores"
    return Table(f"parts-{name}", caption, [*columns, Column("incomplete")], lines)


def _score(material: Material, name: str, score: Score | None) -> Cell:
    if score is None:
        return Cell(None, tone="missing")
    own = material.href(score.metric, material.only_model(score.metric), score.recipe, score.operator)
    href = own or f"{material.operator_href(score.operator)}#numbers"
    partial = score.value is not None and score.cells < score.expected
    note = f"{score.cells} of {score.expected} cells" + (f"; {score.note}" if score.note else "")
    return number(
        score.value, TRACKS[name].digits, score.std_error, href=href, note=note, **({"tone": "weak"} if partial else {})
    )
