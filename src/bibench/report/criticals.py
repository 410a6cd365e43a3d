"""The critical-difference diagram (Demšar, 2006, figure 1), with all names on one side: readable for any number."""

from __future__ import annotations

from collections.abc import Iterator

from bibench.foundation.wording import listed
from bibench.report.blocks import Cell, Column, Figure, Table, number
from bibench.report.figures import Trace, axis, plain
from bibench.report.material import Material
from bibench.report.ranked import rank_step
from bibench.statistics import CriticalDifference, claims

STEP, ROW = 0.45, 24
"""Distance of bars in rows, height of a row in pixels."""


def critical_figure(material: Material, name: str, found: CriticalDifference) -> Figure | None:
    """Average ranks on an axis, bars joining those that are not told apart; None without a critical difference."""
    if found.difference is None:
        return None
    levels = stacked([_span(found, group) for group in found.groups])
    first = STEP * (1 + max(levels, default=0)) + 0.85
    count, right = len(found.operators), max(len(found.operators), 1 + found.difference) + 0.3
    rows = list(zip(found.operators, found.average_ranks, strict=True))
    data: list[Trace] = [_line([1, count], [0, 0], 1.5)]
    data += [_stem(material, operator, rank, first + i) for i, (operator, rank) in enumerate(rows)]
    data += [
        _line([low - 0.06, high + 0.06], [STEP * (1 + level)] * 2, 5)
        for (low, high), level in zip([_span(found, g) for g in found.groups], levels, strict=True)
    ]
    data.append(_line([1, 1 + found.difference], [-0.55, -0.55], 2, mode="lines+markers", marker=_ENDS))
    layout = {
        "xaxis": axis("", side="top", tickangle=0, tick0=1, dtick=rank_step(count), range=[0.7, right], zeroline=False),
        "yaxis": {
            "range": [first + count - 0.4, -1.7],
            "tickvals": [first + i for i in range(count)],
            "ticktext": [plain(material.title(operator)) for operator in found.operators],
            "automargin": True,
            "showgrid": False,
            "zeroline": False,
        },
        "showlegend": False,
        "margin": {"t": 28, "b": 12},
        "annotations": [
            {
                "x": 1,
                "y": -0.75,
                "text": f"critical difference {found.difference:.2f}",
                "showarrow": False,
                "xanchor": "left",
                "yanchor": "bottom",
            }
        ],
    }
    alt = f"Critical-difference diagram, {found.title}: " + "; ".join(f"{material.title(o)} {r:.2f}" for o, r in rows)
    alt += "".join(f"; not told apart: {listed([material.title(o) for o in group])}" for group in found.groups)
    height = round(70 + ROW * (first + count + 1))
    return Figure(
        f"critical-{name}",
        "Critical differences of average ranks",
        " ".join(_said(material, found)),
        alt,
        data,
        layout,
        height,
    )


def critical_table(material: Material, name: str, found: CriticalDifference) -> Table:
    """The same as a table, with letters in the place of bars."""
    lines = [
        [
            Cell(operator, material.title(operator), material.operator_href(operator)),
            number(rank, 2),
            Cell(found.letters.get(operator) or None),
        ]
        for operator, rank in zip(found.operators, found.average_ranks, strict=True)
    ]
    columns = [Column("operator"), Column("average rank", numeric=True), Column("letters", note=LETTERS)]
    return Table(f"critical-{name}", f"{material.track_title(name)}: {found.title}", columns, lines)


LETTERS = "operators are told apart if and only if they share no letter"


def stacked(spans: list[tuple[float, float]]) -> list[int]:
    """A level for each bar, the lowest on which it meets no earlier one."""
    ends: list[list[tuple[float, float]]] = []
    found = []
    for low, high in spans:
        free = (n for n, there in enumerate(ends) if all(high + 0.2 < a or b + 0.2 < low for a, b in there))
        level = next(free, len(ends))
        ends += [[]] if level == len(ends) else []
        ends[level].append((low, high))
        found.append(level)
    return found


def _said(material: Material, found: CriticalDifference) -> Iterator[str]:
    ranks = [(material.title(o), rank) for o, rank in zip(found.operators, found.average_ranks, strict=True)]
    yield claims.average_rank(ranks, len(found.blocks), found.unit)
    yield f"{found.test}."
    yield "Operators that a bar joins are not told apart." if found.groups else "All operators are told apart."
    if found.note:
        yield f"{found.note[0].upper()}{found.note[1:]}."


def _span(found: CriticalDifference, group: tuple[str, ...]) -> tuple[float, float]:
    ranks = [found.average_ranks[found.operators.index(operator)] for operator in (group[0], group[-1])]
    return ranks[0], ranks[1]


_ENDS = {"symbol": "line-ns-open", "size": 10, "color": "@text", "line": {"width": 2, "color": "@text"}}


def _line(x: list[float], y: list[float], width: float, **more: object) -> Trace:
    look = {"type": "scatter", "mode": "lines", "hoverinfo": "skip", "line": {"color": "@text", "width": width}}
    return {**look, "x": x, "y": y, **more}


def _stem(material: Material, operator: str, rank: float, row: float) -> Trace:
    """From the axis down to the operator's row, and along it to its name."""
    colour, label = material.colour(operator), plain(material.title(operator))
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [rank, rank, 0.7],
        "y": [0, row, row],
        "text": [f"{label}: average rank {rank:.2f}"] * 3,
        "line": {"color": colour, "width": 1.5},
        "marker": {"color": colour, "symbol": material.symbol(operator), "size": [0, 10, 0], "opacity": 1},
        "hovertemplate": "%{text}<extra></extra>",
    }
