"""A page per operator: what it computes, where it wins and fails, and its weak cells."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from functools import cache

from bibench.foundation.errors import BiBenchError
from bibench.foundation.wording import counted
from bibench.operators import FULL_PRECISION, Operator
from bibench.records.record import Record
from bibench.report.blocks import (
    Block,
    Cell,
    Column,
    Facts,
    Figure,
    Heading,
    Links,
    Table,
    Text,
    number,
    slug,
)
from bibench.report.figures import axis, plain
from bibench.report.formulas import formula
from bibench.report.material import Material, method_of
from bibench.report.page import Document, page
from bibench.report.ranked import interval_text
from bibench.report.standings import WEAK, Standing, standings, weak_cells
from bibench.report.surrogates import surrogate_figure
from bibench.statistics import claims
from bibench.tracks import TRACKS

MAX_BARS, MAX_WEAK = 40, 500
APART = (
    "Other compression, beside which binarization is compared. It is no operator: no rank, average or overall metric "
    "of the tracks contains it."
)


@page("operators", label="Operators", order=30, href="operators/index.html")
def operators(material: Material) -> Iterator[Document]:
    """operators/index.html and one page per operator, full precision included."""
    found = standings(material.accuracies)
    names = [FULL_PRECISION, *material.operators]
    items = [(material.title(o), material.operator_href(o), _summary(material, o, found)) for o in names]
    blocks: list[Block] = [Links(items)]
    if material.comparators:
        others = [(material.title(o), material.operator_href(o), "") for o in material.comparators]
        blocks += [Heading("Other compression", "comparators"), Text(APART), Links(others)]
    yield Document("operators/index.html", "Operators", "How each binarizes, and where it wins and fails.", blocks)
    weak = weak_cells(material.test_scores)
    for name in names:
        own = [s for s in found if s.accuracy.operator == name]
        faults = [(r, why) for r, why in weak if r.operator == name]
        blocks = [*_definition(name), *_scores(material, name), *_standing(material, name, own)]
        blocks += _weak(material, faults) if name != FULL_PRECISION else []
        yield Document(material.operator_href(name), material.title(name), _paper(name), blocks)
    yield from _comparators(material)


def _comparators(material: Material) -> Iterator[Document]:
    """Pages without ranks: what each computes, its accuracies, and its weak cells."""
    found = [replace(s, rank=None) for s in standings(material.beside)]
    scored = [r for r in material.records if r.kind == "score" and r.split == "test"]
    weak = weak_cells([r for r in scored if r.operator in (FULL_PRECISION, *material.comparators)])
    for name in material.comparators:
        own = [s for s in found if s.accuracy.operator == name]
        blocks = [Text(APART, "note"), *_definition(name), *_standing(material, name, own)]
        blocks += _weak(material, [(r, why) for r, why in weak if r.operator == name])
        yield Document(material.operator_href(name), material.title(name), _paper(name), blocks)


def _summary(material: Material, operator: str, found: Sequence[Standing]) -> str:
    if operator == FULL_PRECISION:
        return "The baseline that all others are compared with."
    own = [s for s in found if s.accuracy.operator == operator]
    shares = [s.relative for s in own if s.relative is not None]
    places = len({(s.accuracy.task, s.accuracy.model, s.accuracy.recipe) for s in found})
    said = [text for text in (_wins(own), claims.kept(shares, places)) if text]
    return f"{'; '.join(said)}." if own else "No accuracy was measured."


def _wins(own: Sequence[Standing]) -> str:
    return claims.wins([(s.rank, s.shared) for s in own if s.of > 1])


def _paper(operator: str) -> str:
    known = method_of(operator)
    return known.paper if known is not None else "An operator that this installation does not know."


@cache
def _definition(operator: str) -> list[Block]:
    """Formula, description, techniques and surrogate, from the class of the operator or comparator."""
    cls = method_of(operator)
    if cls is None:
        return [Text("Load the file that defines it (--load) to see its formula.", "note")]
    blocks: list[Block] = [Heading("What it computes", "definition")]
    if cls.formula:
        blocks.append(formula(cls.formula))
    about = (inspect.getdoc(cls) or "").partition("Args:")[0].replace("``", "").strip()
    blocks += [Text(" ".join(paragraph.split())) for paragraph in about.split("\n\n") if paragraph.strip()]
    if cls.full_precision or not issubclass(cls, Operator):
        return blocks
    techniques = [(f.name.replace("_", " "), getattr(cls.techniques, f.name)) for f in fields(cls.techniques)]
    blocks.append(Facts(techniques))
    if cls.comparator:  # a quantizer has no surrogate of a sign
        return blocks
    try:
        figure = surrogate_figure(operator)
    except (BiBenchError, NotImplementedError) as error:  # options or an estimator of a stranger
        return [*blocks, Text(f"Its surrogate gradient cannot be drawn: {error}", "note")]
    return [*blocks, *([figure] if figure else [])]


def _scores(material: Material, operator: str) -> Iterator[Block]:
    if operator == FULL_PRECISION:
        return
    rows = []
    for name in material.tracks:
        score, ranked = material.overall(name).get(operator), material.ranks(name)
        own = next((row for row in ranked if row.operator == operator), None)
        of, digits = sum(row.rank is not None for row in ranked), TRACKS[name].digits if name in TRACKS else 1
        href = f"tracks/{name}.html"
        rows.append(
            [
                Cell(material.track_title(name), href=href),
                number(score.value if score else None, digits, score.std_error if score else None, href=href),
                Cell(interval_text(own, digits) or None),
                Cell(TRACKS[name].unit if name in TRACKS else None),
                Cell(f"{own.label} of {of}" if own and own.rank is not None else None),
                Cell(own.span or None if own else None),
                Cell((score.note if score else "not measured") or None),
            ]
        )
    columns = [
        *(Column("track"), Column("overall", numeric=True), Column("interval"), Column("unit"), Column("rank")),
        Column("rank between"),
    ]
    yield Heading("Tracks", "tracks")
    yield Table(
        f"operator-{slug(operator)}-tracks", "Overall metric of every track", [*columns, Column("incomplete")], rows
    )


def _standing(material: Material, operator: str, own: Sequence[Standing]) -> Iterator[Block]:
    ranked = operator in material.operators
    there = material.beside if operator in material.comparators else material.accuracies
    rows = [a for a in there if a.operator == operator]
    yield Heading("Where it wins and fails" if ranked else "Accuracies", "numbers")
    if not rows:
        yield Text("No accuracy of it was measured.", "note")
        return
    related = sorted((s for s in own if s.relative is not None), key=lambda s: -(s.relative or 0))
    if len(related) > 1:
        yield _bars(material, operator, related)
    by_place = {(s.accuracy.task, s.accuracy.model, s.accuracy.recipe): s for s in own}
    lines = []
    for a in rows:
        s = by_place.get((a.task, a.model, a.recipe))
        href = material.href(a.task, a.model, a.recipe, operator)
        rank = (
            Cell(s.rank, f"{s.rank} of {s.of}", tone="best" if s.rank == 1 and s.of > 1 else "")
            if s and s.rank
            else Cell(None)
        )
        lines.append(
            [
                *(Cell(a.task), Cell(a.model), Cell(a.recipe)),
                number(a.mean, 1, a.std, href=href, note=a.flags or (f"{a.missing} failed" if a.missing else "")),
                number(
                    s.relative if s else None,
                    1,
                    href=href,
                    tone="weak" if s and s.relative is not None and s.relative < WEAK else "",
                ),
                *([rank] if ranked else []),
                *(Cell(a.seeds), Cell(a.flags or None)),
            ]
        )
    columns = [
        *(Column("task"), Column("model"), Column("recipe"), Column("score", numeric=True)),
        Column("% of full precision", numeric=True),
        *([Column("rank", numeric=True)] if ranked else []),
        *(Column("seeds", numeric=True), Column("flags")),
    ]
    caption = "Every task × model: test score in percent ± standard deviation over seeds"
    yield Table(f"operator-{slug(operator)}-numbers", caption, columns, lines)


def _bars(material: Material, operator: str, related: Sequence[Standing]) -> Figure:
    drawn = related if len(related) <= MAX_BARS else [*related[: MAX_BARS // 2], *related[-MAX_BARS // 2 :]]
    several = len({s.accuracy.recipe for s in related}) > 1
    labels = [
        "<br>".join(map(plain, (s.accuracy.task, s.accuracy.model, *([s.accuracy.recipe] if several else []))))
        for s in drawn
    ]
    values = [round(s.relative or 0, 3) for s in drawn]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "x": values,
            "y": labels,
            "marker": {"color": material.colour(operator)},
            "hovertemplate": "%{y}: %{x:.1f} %<extra></extra>",
        },
    ]
    entries = [claims.Entry(f"{s.accuracy.task} with {s.accuracy.model}", s.relative or 0) for s in related]
    what = "the largest share of full precision's score", "the smallest"
    takeaway = claims.extremes(entries, ("has", "have"), *what, lambda v: f"{v:.0f} %")
    if any(s.rank is not None for s in related):
        takeaway += f" {_wins(related)}."
    layout = {
        "xaxis": axis("percent of full precision"),
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category", "tickfont": {"size": 10}},
        "showlegend": False,
        "shapes": [
            {
                "type": "line",
                "x0": 100,
                "x1": 100,
                "yref": "paper",
                "y0": 0,
                "y1": 1,
                "line": {"color": "@muted", "dash": "dot"},
            }
        ],
    }
    alt = f"Bar chart of accuracy relative to full precision by task and model. {takeaway}"
    title = "Accuracy kept" + ("" if drawn is related else f", the best and worst {MAX_BARS // 2}")
    return Figure(
        f"kept-{slug(operator)}", title, takeaway, alt, data, layout, 130 + (50 if several else 38) * len(drawn)
    )


def _weak(material: Material, faults: Sequence[tuple[Record, str]]) -> Iterator[Block]:
    yield Heading("Weak cells", "weak")
    if not faults:
        yield Text(f"None failed, collapsed, diverged or fell below {WEAK:.0f} % of full precision.")
        return
    weak = counted(len(faults), "cell")
    yield Text(f"{weak} failed, collapsed, diverged or fell below {WEAK:.0f} % of full precision.")
    lines = []
    for record, why in faults[:MAX_WEAK]:
        lines.append(
            [
                *(Cell(record.task, href=material.href_of(record)), Cell(record.model), Cell(record.recipe)),
                *(Cell(record.seed), number(100 * record.value if record.value is not None else None, 1), Cell(why)),
            ]
        )
    columns = [
        *(Column("task"), Column("model"), Column("recipe"), Column("seed", numeric=True)),
        *(Column("score", numeric=True), Column("why")),
    ]
    caption = "Weak cells" + (f", the first {MAX_WEAK} of {len(faults)}" if len(faults) > MAX_WEAK else "")
    record = faults[0][0]
    yield Table(f"operator-{slug(record.operator)}-weak", caption, columns, lines)
