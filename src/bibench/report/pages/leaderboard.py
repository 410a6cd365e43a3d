"""The leaderboard: ranks with their intervals and ties, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Multiples, Table, Text, listed, number
from bibench.report.figures import axis, dots, dots_height, plain
from bibench.report.material import Material
from bibench.report.page import Document, page
from bibench.report.pages.overview import covered
from bibench.statistics import LeaveOneOut, Rank
from bibench.tracks import TRACKS

HREF = "leaderboard.html"


@page("leaderboard", label="Leaderboard", order=10, href=HREF)
def leaderboard(material: Material) -> Iterator[Document]:
    """leaderboard.html."""
    lead = "Operators that cannot be told apart share a rank: a difference counts when its interval excludes zero."
    yield Document(HREF, "Leaderboard", lead, list(_blocks(material)))


def _blocks(material: Material) -> Iterator[Block]:
    yield Text(covered(material))
    ranked = [(name, material.ranks(name)) for name in material.tracks]
    for name, rows in ranked:
        yield Heading(material.track_title(name), name)
        if not any(row.value is not None for row in rows):
            yield Text("Nothing to rank: no operator has an overall score in this track.", "note")
            continue
        places = _places(material, name, rows)
        yield Multiples([_figure(material, name, rows), *([places] if places else [])])
        yield _table(material, name, rows)
        yield from _left_out(material, name)


def _figure(material: Material, name: str, rows: Sequence[Rank]) -> Figure:
    data, layout = dots(material, [(r.operator, r.value, r.low, r.high) for r in rows], TRACKS[name].unit)
    takeaway = verdict(material, rows)
    bounded = any(r.low is not None for r in rows)
    level = f" Lines are {100 * rows[0].level:.0f} % intervals over {rows[0].over}." if bounded else ""
    alt = f"Dot plot of the overall score, {material.track_title(name)}: " + "; ".join(
        f"{material.title(r.operator)} {r.value:.1f}"
        + (f" (from {r.low:.1f} to {r.high:.1f})" if r.low is not None and r.high is not None else "")
        for r in rows
        if r.value is not None
    )
    title = f"{material.track_title(name)}, {TRACKS[name].equation}"
    return Figure(f"ranks-{name}", title, takeaway + level, alt, data, layout, dots_height(len(rows)))


def _places(material: Material, name: str, rows: Sequence[Rank]) -> Figure | None:
    """The ranks that the bootstrap gives each operator, or None without one."""
    known = [r for r in rows if r.best is not None and r.worst is not None and r.value is not None]
    if not known:
        return None
    order = [plain(material.title(r.operator)) for r in known]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "y": [label],
            "base": [(r.best or 0) - 0.4],
            "x": [(r.worst or 0) - (r.best or 0) + 0.8],
            "marker": {"color": material.colour(r.operator), "opacity": 0.75},
            "customdata": [f"{r.best} to {r.worst}"],
            "hovertemplate": "%{y}: rank %{customdata}<extra></extra>",
        }
        for label, r in zip(order, known, strict=True)
    ]
    sure = [material.title(r.operator) for r in known if r.best == r.worst]
    widest = max(known, key=lambda r: (r.worst or 0) - (r.best or 0))
    takeaway = f"{listed(sure)} {'has' if len(sure) == 1 else 'have'} a rank of their own; " if sure else ""
    takeaway += f"the rank of {material.title(widest.operator)} is least certain, {widest.best} to {widest.worst}."
    layout = {
        "xaxis": axis("rank", dtick=1, range=[0.4, len(known) + 0.6]),
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        "showlegend": False,
        "bargap": 0.45,
    }
    alt = "Bars of the range of ranks: " + "; ".join(
        f"{material.title(r.operator)} {r.best} to {r.worst}" for r in known
    )
    takeaway = takeaway[0].upper() + takeaway[1:]
    return Figure(f"places-{name}", "Rank intervals", takeaway, alt, data, layout, dots_height(len(known)))


def verdict(material: Material, rows: Sequence[Rank]) -> str:
    """Who leads, and whether that can be said."""
    known = [r for r in rows if r.value is not None]
    first = [r for r in known if r.rank == 1]
    names = [material.title(r.operator) for r in first]
    if not first:
        return "No rank can be given: nothing tells how much the scores vary."
    if len(first) == 1:
        second = known[1] if len(known) > 1 else None
        return f"{names[0]} leads" + (f", ahead of {material.title(second.operator)}" if second else "") + "."
    if len(first) == len(known):
        return f"All {len(known)} operators are tied: no difference stands out from the noise."
    return f"{listed(names)} share the first rank; the other {len(known) - len(first)} are behind."


def _table(material: Material, name: str, rows: Sequence[Rank]) -> Table:
    digits = TRACKS[name].digits
    lines = []
    for row in rows:
        span = f"{row.best}–{row.worst}" if row.best is not None else ""
        interval = (
            f"{row.low:.{digits}f} to {row.high:.{digits}f}" if row.low is not None and row.high is not None else ""
        )
        partial = row.cells < row.expected
        lines.append(
            [
                Cell(row.rank, tone="" if row.rank else "missing"),
                Cell(row.operator, material.title(row.operator), material.operator_href(row.operator)),
                number(row.value, digits, href=f"{material.operator_href(row.operator)}#numbers", note=row.note),
                Cell(interval or None),
                Cell(span or None),
                Cell(_tied(material, row, len(rows))),
                Cell(row.cells, f"{row.cells} of {row.expected}", tone="weak" if partial else ""),
                Cell(row.note or None),
            ]
        )
    recipe = rows[0].recipe
    columns = [
        *(Column("rank", numeric=True), Column("operator"), Column("overall", numeric=True, note=TRACKS[name].unit)),
        *(Column("interval"), Column("rank between"), Column("tied with"), Column("cells", numeric=True)),
        Column("incomplete"),
    ]
    return Table(f"ranks-{name}", f"{material.track_title(name)}, recipe {recipe}, {TRACKS[name].unit}", columns, lines)


def _tied(material: Material, row: Rank, count: int) -> str | None:
    if row.ties and len(row.ties) == count - 1:
        return "all others"
    return listed([material.title(o) for o in row.ties]) or None


def _left_out(material: Material, name: str) -> Iterator[Block]:
    recipe = material.main_recipe(name)
    rows = [r for r in material.left_out(name) if r.recipe == recipe]
    without = [r for r in rows if r.left_out]
    if not without:
        return
    leads = {min(r.ranks, key=lambda o: r.ranks[o]) for r in rows if r.ranks}
    moved = sorted({o for r in without for o in r.moved})
    if not moved:
        yield Text("Leaving out any one task leaves the ranking as it is.")
    elif len(leads) == 1:
        yield Text(f"The leader stays, whichever task is left out; {listed([material.title(o) for o in moved])} move.")
    else:
        yield Text(
            f"Which task is left out decides who leads: {listed([material.title(o) for o in sorted(leads)], 'or')}."
        )
    yield _left_out_table(material, name, rows)


def _left_out_table(material: Material, name: str, rows: Sequence[LeaveOneOut]) -> Table:
    operators = sorted(rows[0].ranks, key=lambda o: rows[0].ranks[o])
    lines = [
        [
            Cell(row.left_out or "(none)"),
            *(
                Cell(row.ranks.get(o), tone="weak" if o in row.moved else "" if o in row.ranks else "missing")
                for o in operators
            ),
            number(row.tau, 2),
        ]
        for row in rows
    ]
    columns = [Column("task left out"), *(Column(material.title(o), numeric=True) for o in operators)]
    columns.append(
        Column("Kendall τ", numeric=True, note="agreement with the ranking of all tasks; 1 is the same order")
    )
    return Table(f"left-out-{name}", "Rank of each operator without one task", columns, lines)
