"""Ranks as pages show them: scores with their intervals, the intervals of the ranks, and what can be said of them."""

from __future__ import annotations

from collections.abc import Sequence

from bibench.foundation.wording import counted
from bibench.report.blocks import Figure
from bibench.report.figures import Trace, axis, dots, dots_height, plain
from bibench.report.material import Material
from bibench.statistics import Rank, claims
from bibench.statistics.ranking import compared


def interval_text(row: Rank | None, digits: int) -> str:
    """The interval of a score, or an empty string."""
    if row is None or row.low is None or row.high is None:
        return ""
    return f"{row.low:.{digits}f} to {row.high:.{digits}f}".replace("-", "−")


def entered(row: Rank) -> str:
    """``2 of 3 tasks``: what the average of a score is over, of what it should be."""
    noun = claims.PARTS.get(row.track, "part") if row.metric.startswith("om") else "cell"
    return f"{row.cells} of {counted(row.expected, noun)}"


def scores_figure(material: Material, id: str, title: str, unit: str, rows: Sequence[Rank], takeaway: str) -> Figure:
    """Scores and their intervals, the same wherever a ranking is shown."""
    data, layout = dots(material, [(r.operator, r.value, r.low, r.high) for r in rows], unit)
    alt = f"Dot plot of {title}: " + "; ".join(
        f"{material.title(r.operator)} {r.value:.1f}" + (f" (from {r.low:.1f} to {r.high:.1f})" if bounded(r) else "")
        for r in rows
        if r.value is not None
    )
    scored = sum(r.value is not None for r in rows)
    return Figure(id, title, takeaway + lines_said(rows), alt, data, layout, dots_height(scored))


def bounded(row: Rank) -> bool:
    """Whether its score has an interval."""
    return row.low is not None and row.high is not None


def lines_said(rows: Sequence[Rank]) -> str:
    """What the lines of `scores_figure` are."""
    if not any(map(bounded, rows)):
        return ""
    return f" Lines are {100 * rows[0].level:g} % intervals over {rows[0].over}."


def places_figure(material: Material, name: str, rows: Sequence[Rank]) -> Figure | None:
    """The rank of each operator and those that the comparisons leave, or None without two."""
    known = [r for r in rows if r.best is not None and r.worst is not None and r.rank is not None]
    if len(known) < 2:
        return None
    data = [trace for r in known for trace in _place(material, r)]
    layout = {
        "xaxis": axis("rank", tickangle=0, tick0=1, dtick=rank_step(len(known)), range=[0.4, len(known) + 0.6]),
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        "showlegend": False,
        "bargap": 0.45,
    }
    alt = "Bars of the range of ranks: " + "; ".join(
        f"{material.title(r.operator)} {r.rank}, between {r.best} and {r.worst}" for r in known
    )
    said = f"{claims.certain(known, material.title)} Bars are the ranks that remain possible"
    said += f": {text}." if (text := compared(rows)) else "."
    return Figure(f"places-{name}", "Rank intervals", said, alt, data, layout, dots_height(len(known)))


def rank_step(count: int) -> int:
    """The distance of labelled ranks on an axis of so many, as narrow as a phone's."""
    return next((step for step in (1, 2, 5, 10) if count <= 8 * step), 20)


def _place(material: Material, row: Rank) -> list[Trace]:
    label, best, worst = plain(material.title(row.operator)), row.best or 0, row.worst or 0
    colour = material.colour(row.operator)
    said = [f"rank {row.label}, between {best} and {worst}"]
    return [
        {
            "type": "bar",
            "orientation": "h",
            "y": [label],
            "base": [best - 0.4],
            "x": [worst - best + 0.8],
            "marker": {"color": colour, "opacity": 0.45},
            "customdata": said,
            "hovertemplate": "%{y}: %{customdata}<extra></extra>",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": [row.rank],
            "y": [label],
            "marker": {"color": colour, "symbol": material.symbol(row.operator), "size": 10},
            "customdata": said,
            "hovertemplate": "%{y}: %{customdata}<extra></extra>",
        },
    ]
