"""Plots that several pages draw. Traces are plain dictionaries of Plotly; colours are tokens of `palette`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from bibench.report.blocks import Figure
from bibench.report.material import Material
from bibench.report.palette import SEQUENTIAL

Trace = dict[str, Any]

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
CLEAR = "rgba(0,0,0,0)"
LINES = {"gridcolor": "@line", "linecolor": "@line", "zerolinecolor": "@line", "automargin": True}
BASE = {
    "font": {"family": FONT, "size": 12, "color": "@text"},
    "paper_bgcolor": CLEAR,
    "plot_bgcolor": CLEAR,
    "margin": {"t": 16, "r": 16, "b": 48, "l": 56},
    "hoverlabel": {"bgcolor": "@surface", "bordercolor": "@line", "font": {"color": "@text"}},
    "modebar": {"bgcolor": CLEAR, "color": "@muted", "activecolor": "@accent"},
    "xaxis": LINES,
    "yaxis": LINES,
    "polar": {
        "bgcolor": CLEAR,
        "radialaxis": {"gridcolor": "@line", "linecolor": "@line", "tickcolor": "@line"},
        "angularaxis": {"gridcolor": "@line", "linecolor": "@muted", "tickcolor": "@line"},
    },
}


def spec(figure: Figure) -> dict[str, Any]:
    """The whole figure for Plotly, with colours as tokens."""
    return {"data": list(figure.data), "layout": merged(BASE, figure.layout) | {"height": figure.height}}


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` says, at every depth."""
    found = dict(base)
    for key, value in over.items():
        old = found.get(key)
        found[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


def plain(text: str) -> str:
    """Text that Plotly shows as it is: it reads some HTML in labels."""
    return escape(text, quote=False)


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title and unit."""
    return {"title": {"text": title}, **more}


def dots(
    material: Material, values: Sequence[tuple[str, float | None, float | None, float | None]], title: str, **more: Any
) -> tuple[list[Trace], dict[str, Any]]:
    """One row per operator, best at the top: (operator, value, low, high), the bounds drawn as a line."""
    existing = sorted((v for v in values if v[1] is not None), key=lambda v: v[1] or 0)
    traces = []
    for operator, value, low, high in existing:
        assert value is not None
        trace: Trace = {
            "type": "scatter",
            "mode": "markers",
            "x": [value],
            "y": [plain(material.title(operator))],
            "name": plain(material.title(operator)),
            "marker": {"color": material.colour(operator), "symbol": material.symbol(operator), "size": 11},
            "hovertemplate": "%{y}: %{x:.2f}<extra></extra>",
        }
        if low is not None and high is not None:
            trace["error_x"] = {
                "type": "data",
                "array": [high - value],
                "arrayminus": [value - low],
                "symmetric": False,
                "color": material.colour(operator),
                "thickness": 2,
                "width": 5,
            }
        traces.append(trace)
    layout = {
        "xaxis": axis(title, **more),
        "yaxis": {"type": "category", "automargin": True, "showgrid": True},
        "showlegend": False,
        "margin": {"t": 10},
    }
    return traces, layout


def dots_height(count: int) -> int:
    """Height of `dots` for so many operators."""
    return 110 + 30 * max(count, 2)


@dataclass(frozen=True)
class Point:
    """A trained model in a trade-off: what it costs (less is better) and what it reaches (more is better).

    A cost that was `counted` where others of its kind were measured is drawn hollow with a dot.
    """

    operator: str
    label: str
    cost: float
    merit: float
    counted: bool = False


def front(points: Sequence[Point]) -> list[Point]:
    """The Pareto front: points that no other beats in both, from cheap to dear; of equal ones all."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.merit)):
        if not found or point.merit > found[-1].merit or (point.cost, point.merit) == (found[-1].cost, found[-1].merit):
            found.append(point)
    return found


def trade_off(material: Material, points: Sequence[Point], cost: str, merit: str) -> tuple[list[Trace], dict[str, Any]]:
    """A scatter plot with its Pareto front; cost on a logarithmic axis."""
    best, mixed = front(points), len({p.counted for p in points}) > 1
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Pareto front",
            "hoverinfo": "skip",
            "x": [p.cost for p in best],
            "y": [p.merit for p in best],
            "line": {"color": "@muted", "shape": "hv", "dash": "dot", "width": 2},
        }
    ]
    for operator in dict.fromkeys(p.operator for p in points):
        own, symbol = [p for p in points if p.operator == operator], material.symbol(operator)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": plain(material.title(operator)),
                "x": [p.cost for p in own],
                "y": [p.merit for p in own],
                "text": [plain(p.label) for p in own],
                "hovertemplate": "%{text}<br>%{x:.4g}, %{y:.2f}<extra>%{fullData.name}</extra>",
                "marker": {
                    "color": material.colour(operator),
                    "symbol": [dotted(symbol) if mixed and p.counted else symbol for p in own],
                    "size": 10,
                },
            }
        )
    return traces, {
        "xaxis": axis(cost, type="log", tickangle=0, **_ticks([p.cost for p in points])),
        "yaxis": axis(merit),
        "legend": below(),
    }


def dotted(symbol: str) -> str:
    """A symbol hollow with a dot in it."""
    return symbol.removesuffix("-open") + "-open-dot"


def _ticks(costs: Sequence[float]) -> dict[str, Any]:
    """1, 2, 5, 10, ... on a logarithmic axis of one to three decades; every digit on a shorter one."""
    decades = math.log10(max(costs) / min(costs))
    return {"dtick": "D2", "minorloglabels": "complete"} if 0.7 < decades < 3 else {"minorloglabels": "complete"}


def below() -> dict[str, Any]:
    """A legend under the plot, where it takes no width of a phone."""
    return {"orientation": "h", "yanchor": "top", "y": -0.24, "x": 0}


def heat_map(
    rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float | None]], unit: str
) -> tuple[list[Trace], dict[str, Any]]:
    """Values by row and column, printed in the fields too."""
    traces: list[Trace] = [
        {
            "type": "heatmap",
            "x": list(map(plain, columns)),
            "y": list(map(plain, rows)),
            "z": [list(row) for row in values],
            "colorscale": [list(step) for step in SEQUENTIAL],
            "xgap": 1,
            "ygap": 1,
            "colorbar": {"title": {"text": unit, "side": "right"}, "thickness": 12, "outlinewidth": 0},
            "hovertemplate": "%{y}, %{x}: %{z:.1f} " + plain(unit) + "<extra></extra>",
            "hoverongaps": False,
        }
    ]
    if len(rows) * len(columns) <= 240:
        traces[0] |= {"texttemplate": "%{z:.0f}", "textfont": {"size": 10}}
    layout = {
        "yaxis": {"autorange": "reversed", "automargin": True, "showgrid": False, "type": "category"},
        "xaxis": {"tickangle": -45, "automargin": True, "showgrid": False, "type": "category"},
    }
    return traces, layout


def radar(
    material: Material, operator: str, axes: Sequence[str], values: Mapping[str, float | None]
) -> tuple[list[Trace], dict[str, Any]]:
    """One operator on all axes from 0 to 100; an axis without a value is a gap, not a zero."""
    known = [values.get(name) for name in axes]
    closed = [*known, known[0]]
    labels = [plain(name).replace(" ", "<br>", 1) for name in axes]
    trace: Trace = {
        "type": "scatterpolar",
        "mode": "lines+markers",
        "r": closed,
        "theta": [*labels, labels[0]],
        "connectgaps": False,
        "name": plain(material.title(operator)),
        "line": {"color": material.colour(operator), "width": 2},
        "marker": {"symbol": material.symbol(operator), "size": 8},
        "hovertemplate": "%{theta}: %{r:.0f} % of the best<extra></extra>",
    }
    if None not in known:
        trace["fill"] = "toself"
        trace["opacity"] = 0.85
    polar = {
        "radialaxis": {"range": [0, 105], "tickvals": [50, 100], "tickfont": {"size": 9}, "angle": 0, "tickangle": 0},
        "angularaxis": {"categoryarray": labels, "tickfont": {"size": 10}, "direction": "clockwise", "rotation": 90},
    }
    return [trace], {"polar": polar, "showlegend": False, "margin": {"t": 34, "b": 34, "l": 60, "r": 60}}
