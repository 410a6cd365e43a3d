"""The leaderboard: ranks by the overall metric, how sure they are, and what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bibench.foundation.wording import listed
from bibench.report.blocks import Block, Cell, Column, Heading, Multiples, Table, Text, number
from bibench.report.criticals import LETTERS, critical_figure, critical_table
from bibench.report.material import Material
from bibench.report.page import Document, page
from bibench.report.pages.overview import covered
from bibench.report.ranked import entered, interval_text, places_figure, scores_figure
from bibench.statistics import LeaveOneOut, Rank, claims
from bibench.statistics.ranking import sureness
from bibench.tracks import TRACKS

HREF = "leaderboard.html"
METHOD = (
    "Ranks follow the overall metric. Beside each stand the ranks that remain possible once every two operators are "
    "compared, corrected for the number of comparisons; operators that share a letter are not told apart."
)


@page("leaderboard", label="Leaderboard", order=10, href=HREF)
def leaderboard(material: Material) -> Iterator[Document]:
    """leaderboard.html, whose first line says what little evidence there is, if it is little."""
    line = material.evidence()
    yield Document(HREF, "Leaderboard", line or METHOD, [*([Text(METHOD)] if line else []), *_blocks(material)])


def _blocks(material: Material) -> Iterator[Block]:
    ranked = [(name, material.ranks(name)) for name in material.tracks]
    for name, rows in ranked:
        yield Heading(material.track_title(name), name)
        if text := covered(material, name):
            yield Text(text)
        if not any(row.value is not None for row in rows):
            yield Text("Nothing to rank: no operator has an overall score in this track.", "note")
            continue
        title = f"{material.track_title(name)}, {TRACKS[name].equation}"
        said = claims.best(rows, material.title, material.lacking(name))
        scores = scores_figure(material, f"ranks-{name}", title, TRACKS[name].unit, rows, said)
        critical = material.critical(name)
        average = critical_figure(material, name, critical) if critical else None
        drawn = (scores, places_figure(material, name, rows), average)
        yield Multiples([figure for figure in drawn if figure is not None])
        yield _table(material, name, rows)
        if critical and average:
            yield critical_table(material, name, critical)
        elif critical and len(rows) > 1:
            yield Text(claims.without_test(critical.note), "note")
        yield from _left_out(material, name)


def _table(material: Material, name: str, rows: Sequence[Rank]) -> Table:
    digits = TRACKS[name].digits
    lines = []
    for row in rows:
        partial = row.cells < row.expected
        lines.append(
            [
                Cell(row.rank, row.label, tone="" if row.rank else "missing"),
                Cell(row.operator, material.title(row.operator), material.operator_href(row.operator)),
                number(row.value, digits, href=f"{material.operator_href(row.operator)}#numbers", note=row.note),
                Cell(interval_text(row, digits) or None),
                Cell(row.span or None),
                Cell(row.groups or None),
                Cell(_near(material, row, sum(r.rank is not None for r in rows))),
                Cell(row.cells, entered(row), tone="weak" if partial else ""),
                Cell(row.note or None),
            ]
        )
    columns = [
        *(Column("rank", numeric=True), Column("operator"), Column("overall", numeric=True, note=TRACKS[name].unit)),
        *(Column("interval"), Column("rank between"), Column("letters", note=LETTERS), Column("not told apart from")),
        *(Column("averaged over", numeric=True), Column("incomplete")),
    ]
    caption = f"{material.track_title(name)}, recipe {rows[0].recipe}, {TRACKS[name].unit}; {sureness(rows)}"
    return Table(f"ranks-{name}", caption, columns, lines)


def _near(material: Material, row: Rank, count: int) -> str | None:
    if row.ties and len(row.ties) == count - 1:
        return "all others"
    return listed([material.title(o) for o in row.ties]) or None


def _left_out(material: Material, name: str) -> Iterator[Block]:
    recipe = material.main_recipe(name)
    rows = [r for r in material.left_out(name) if r.recipe == recipe]
    without = [r for r in rows if r.left_out]
    if not without:
        return
    if len(rows[0].ranks) > 1 and not material.lacking(name):
        firsts = [frozenset(o for o, rank in r.ranks.items() if rank == 1) for r in rows if r.ranks]
        yield Text(claims.left_out(firsts, sorted({o for r in without for o in r.moved}), material.title))
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
