"""The first page: what was measured, the six tracks at a glance, and where to read on."""

from __future__ import annotations

from collections.abc import Iterator

from bibench.operators import FULL_PRECISION
from bibench.report.blocks import (
    Block,
    Cell,
    Column,
    Figure,
    Heading,
    Multiples,
    Table,
    Text,
    Tiles,
    listed,
    number,
    slug,
)
from bibench.report.figures import radar
from bibench.report.material import Material
from bibench.report.page import Document, page
from bibench.report.ranked import interval_text
from bibench.tracks import TRACKS


@page("overview", label="Overview", order=0, href="index.html")
def overview(material: Material) -> Iterator[Document]:
    """index.html."""
    lead = "How well neural networks work when weights and activations are one bit each, on six tracks."
    yield Document("index.html", "Binarization benchmark", lead, list(_blocks(material)))


def _blocks(material: Material) -> Iterator[Block]:
    yield Tiles(_counts(material))
    yield Text(covered(material))
    if material.comparators:
        yield Text(
            f"Beside them stand {len(material.comparators)} methods of other compression, which are on their own page "
            "and in none of the numbers here.",
            "note",
        )
    if material.embedded_only:
        yield Text(
            "All of it was measured on embedded stand-in data: the numbers compare operators with each other, "
            "not with published results.",
            "note",
        )
    yield Heading("The six tracks", "tracks")
    if line := material.evidence():
        yield Text(line, "note")
    yield Text(_takeaway(material))
    yield tracks_table(material)
    figures = _radars(material)
    if figures:
        yield Heading("Profile of each operator", "profiles")
        yield Text(
            "Each axis is the overall metric of a track in percent of the best operator's there. "
            "Tracks without measurements have no point; they are not counted as zero."
        )
        yield Multiples(figures)


def covered(material: Material) -> str:
    """The sentence on coverage that stands before any average."""
    if not material.test_scores:
        return "No training has a test score among these records."
    found = material.coverage
    text = f"{found.line}."
    if found.complete:
        return text
    if found.done == found.expected:  # of an earlier state of the code or of the settings
        return f"Out of date: {text} To train these cells again: bibench run, with --rerun stale."
    return f"Incomplete: {text} Averages over incomplete cells say so."


def _counts(material: Material) -> list[tuple[str, str]]:
    records = material.compared
    measured = len(best_by_track(material))
    counted = [
        (f"{len(records):,}", "records"),
        (f"{len({r.cell for r in records}):,}", "cells"),
        (str(len(material.operators)), "operators"),
        (str(len({r.task for r in records})), "tasks"),
        (str(len({r.model for r in records})), "models"),
        (str(len({r.seed for r in records})), "seeds"),
        (f"{measured} of {len(material.tracks)}", "tracks with scores"),
    ]
    return [(value, name.removesuffix("s") if value == "1" else name) for value, name in counted]


def best_by_track(material: Material) -> dict[str, str]:
    """The operator with the highest overall metric in each track, among those with the fewest gaps."""
    found = {}
    for name in material.tracks:
        rows = [r for r in material.overall(name).values() if r.value is not None]
        if rows:
            complete = max(r.cells for r in rows)
            found[name] = max((r for r in rows if r.cells == complete), key=lambda r: r.value or 0).operator
    return found


def _takeaway(material: Material) -> str:
    best = best_by_track(material)
    by_operator: dict[str, list[str]] = {}
    for name, operator in best.items():
        by_operator.setdefault(operator, []).append(material.track_title(name).lower())
    if not by_operator:
        return "No track has an overall score yet; the table says what each lacks."
    parts = [f"{material.title(o)} leads in {listed(names)}" for o, names in by_operator.items()]
    text = "; ".join(parts) + "."
    empty = [material.track_title(n).lower() for n in material.tracks if n not in best]
    return text + (f" There is no overall score in {listed(empty, 'or')}." if empty else "")


def tracks_table(material: Material) -> Table:
    """Operators × tracks: the overall metric, and what is missing from it."""
    best = best_by_track(material)
    rows = []
    for operator in material.operators:
        cells = [Cell(operator, material.title(operator), material.operator_href(operator))]
        for name in material.tracks:
            score = material.overall(name).get(operator)
            if score is None or score.value is None:
                note = (score.note if score else "") or "no measurements"
                cells.append(Cell(None, "–", f"tracks/{name}.html", note=note, tone="missing"))
                continue
            partial = score.cells < score.expected or bool(score.note)
            digits = TRACKS[name].digits
            ranked = next((row for row in material.ranks(name) if row.operator == operator), None)
            bounds = interval_text(ranked, digits)
            note = "; ".join(filter(None, (bounds and f"interval {bounds}", score.note)))
            cell = number(score.value, digits, score.std_error, href=f"tracks/{name}.html", note=note)
            tone = "best" if best.get(name) == operator else "weak" if partial else ""
            text = cell.shown + ("*" if partial else "")
            cells.append(Cell(cell.value, text, cell.href, cell.note, tone))
        rows.append(cells)
    columns = [
        Column(
            material.track_title(name),
            numeric=True,
            note=f"{TRACKS[name].equation}, {TRACKS[name].unit}" if name in TRACKS else "",
        )
        for name in material.tracks
    ]
    caption = "Overall metric of every track, in percent of full precision (complexity and hardware: times). "
    caption += "An asterisk marks averages over incomplete cells; point at one, or follow it, to see what is missing."
    return Table("overview", caption, [Column("operator"), *columns], rows)


def _radars(material: Material) -> list[Figure]:
    """One radar per operator: eight polygons on one are unreadable."""
    tops = {
        name: max((r.value for r in material.overall(name).values() if r.value is not None), default=None)
        for name in material.tracks
    }
    labels = {name: material.track_title(name) for name in material.tracks}
    figures = []
    for operator in material.operators:
        values: dict[str, float | None] = {}
        for name in material.tracks:
            score, top = material.overall(name).get(operator), tops[name]
            values[name] = 100 * score.value / top if score and score.value is not None and top else None
        known = {name: value for name, value in values.items() if value is not None}
        if operator == FULL_PRECISION or not known:
            continue
        data, layout = radar(material, operator, list(labels.values()), {labels[n]: v for n, v in values.items()})
        strong, weak = max(known, key=lambda n: known[n]), min(known, key=lambda n: known[n])
        takeaway = f"Strongest in {material.track_title(strong).lower()} ({known[strong]:.0f} % of the best)"
        takeaway += (
            f", weakest in {material.track_title(weak).lower()} ({known[weak]:.0f} %)." if weak != strong else "."
        )
        alt = f"Radar of {material.title(operator)}, percent of the best operator: " + "; ".join(
            f"{material.track_title(n)} {v:.0f}" if v is not None else f"{material.track_title(n)} not measured"
            for n, v in values.items()
        )
        figures.append(Figure(f"radar-{slug(operator)}", material.title(operator), takeaway, alt, data, layout, 300))
    return figures
