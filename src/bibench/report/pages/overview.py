"""The first page: what was measured, the six tracks at a glance, and where to read on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
    number,
    slug,
)
from bibench.report.figures import radar
from bibench.report.material import MEASURED, Material
from bibench.report.page import Document, page
from bibench.report.ranked import interval_text
from bibench.statistics import claims
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
            "Each axis is the overall metric of a track in percent of the highest there. "
            "Tracks that several operators have no score of have no point; they are not counted as zero."
        )
        yield Multiples(figures)


def covered(material: Material, *names: str) -> str:
    """What stands before the averages of some tracks (or of all): the trainings and measurements behind them."""
    parts = [claims.trained(material.coverage)]
    if names:
        trained = {what: material.trained(what == claims.STUDY) for what in _trained(names)}
        parts = [claims.trained(one, what) for what, one in trained.items() if one.expected]
    kinds = dict.fromkeys(MEASURED[name] for name in names or MEASURED if name in MEASURED)
    found = [material.measured(kind) for kind in kinds if kind != "score"]
    return " ".join(filter(None, [*parts, claims.all_measured(found, material.title)]))


def _trained(names: Sequence[str]) -> list[str]:
    """Which trainings the averages of some tracks contain."""
    plain = any(MEASURED.get(name, "score") == "score" for name in names)
    study = "training_consumption" in names
    return [what for what, there in ((claims.TRAINING, plain), (claims.STUDY, study)) if there]


def _counts(material: Material) -> list[tuple[str, str]]:
    records = material.compared
    measured = sum(any(r.value is not None for r in material.overall(name).values()) for name in material.tracks)
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


def best_by_track(material: Material) -> dict[str, set[str]]:
    """The operators with the highest overall metric in each track where several have one over the same cells."""
    return {
        name: {row.operator for row in rows if row.rank == 1}
        for name in material.tracks
        if claims.kind(rows := material.ranks(name), material.lacking(name)) in ("sure", "shared", "near", "open")
    }


def _takeaway(material: Material) -> str:
    found = [(material.track_title(n), material.ranks(n), material.lacking(n)) for n in material.tracks]
    return claims.glance(found, material.title)


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
            tone = "best" if operator in best.get(name, ()) else "weak" if partial else ""
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
    scored = {n: [r.value for r in material.overall(n).values() if r.value is not None] for n in material.tracks}
    tops = {name: max(values) if len(values) > 1 else None for name, values in scored.items()}
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
        takeaway = _profile(material, known)
        alt = f"Radar of {material.title(operator)}, percent of the highest score: " + "; ".join(
            f"{material.track_title(n)} {v:.0f}" if v is not None else f"{material.track_title(n)} not compared"
            for n, v in values.items()
        )
        figures.append(Figure(f"radar-{slug(operator)}", material.title(operator), takeaway, alt, data, layout, 300))
    return figures


def _profile(material: Material, known: Mapping[str, float]) -> str:
    """Where one operator has most and least of the highest score, of tracks whose scores can be compared."""
    best = best_by_track(material)
    shown = [claims.Entry(material.track_title(name), value) for name, value in known.items() if name in best]
    if not shown:
        return "No track has a score over the same cells of another operator."
    what = "closest to the highest score", "furthest from it"
    return claims.extremes(shown, ("is", "are"), *what, lambda v: f"{v:.0f} %")
