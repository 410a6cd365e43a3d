"""Figure of a sensitivity study: the accuracy of every run, per operator, coloured by setting.

Drawn as plain SVG: it needs no library, opens anywhere, and says each run's setting when pointed at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from statistics import mean, quantiles

from bibench.foundation.errors import BiBenchError
from bibench.foundation.files import write_text
from bibench.operators import paper_order
from bibench.records.accuracies import setting_of
from bibench.records.record import Record

LEFT, TOP, COLUMN, HEIGHT, LEGEND, BOTTOM = 56, 40, 92, 300, 190, 48
COLOURS = ("#0b6e99", "#56b4e9", "#c2410c", "#f0a202", "#4d7c0f", "#9bc53d", "#7e22ce", "#d16ba5")


def write_distribution(path: Path, records: Sequence[Record]) -> None:
    """Write the figure as ``.svg``, or as a page (``.html``)."""
    svg = distribution_svg(records)
    if path.suffix == ".svg":
        write_text(path, svg)
    elif path.suffix == ".html":
        head = '<html lang="en"><meta charset="utf-8"><title>Accuracies by operator and setting</title>'
        write_text(path, f"<!doctype html>\n{head}\n<body>\n{svg}</body></html>\n")
    else:
        raise BiBenchError(f"--output {path}: expected a file name that ends in .svg or .html")


def distribution_svg(records: Sequence[Record]) -> str:
    """The figure, with a panel for each task × model × study; `BiBenchError` when no run belongs to a study."""
    panels: dict[tuple[str, str, str], list[Record]] = {}
    for r in records:
        if r.kind == "score" and r.split == "test" and r.study and r.value is not None:
            panels.setdefault((r.task, r.model, r.study), []).append(r)
    if not panels:
        raise BiBenchError("no runs of a sensitivity study to plot; run a suite such as sensitivity_quick first")
    operators = {r.operator for runs in panels.values() for r in runs}
    column = max(COLUMN, 7 * max(map(len, operators)) + 12)  # names of operators with options are long
    width = LEFT + LEGEND + column * len(operators)
    tall = TOP + HEIGHT + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {tall * len(panels)}" role="img" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{tall * len(panels)}" fill="white"/>',
    ]
    for number, ((task, model, study), runs) in enumerate(panels.items()):
        embedded = " (embedded data)" if runs[0].embedded else ""
        title = f"{runs[0].metric} of every run, percent: {task}{embedded}, {model}, {study}"
        parts += [f'<g transform="translate(0 {number * tall})">', *_panel(title, runs, column), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(title: str, runs: Sequence[Record], width: int) -> list[str]:
    operators = sorted({r.operator for r in runs}, key=paper_order)
    settings = sorted({setting_of(r) for r in runs})
    colours = {setting: COLOURS[i % len(COLOURS)] for i, setting in enumerate(settings)}
    values = [100 * (r.value or 0) for r in runs]
    low, high = _range(values)

    def y(value: float) -> float:
        return TOP + HEIGHT * (high - value) / (high - low)

    right = LEFT + width * len(operators)
    parts = [_text(LEFT, 20, title, "start", weight="bold")]
    for tick in _ticks(low, high):
        parts.append(f'<line x1="{LEFT}" y1="{y(tick):.1f}" x2="{right}" y2="{y(tick):.1f}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 8, y(tick) + 4, f"{tick:g}", "end"))
    for column, operator in enumerate(operators):
        chosen = [r for r in runs if r.operator == operator]
        middle = LEFT + width * (column + 0.5)
        parts += _box([100 * (r.value or 0) for r in chosen], middle, 0.8 * width, y)
        for run in chosen:
            shift = (settings.index(setting_of(run)) + 0.5) / len(settings) - 0.5
            said = f"{operator}, {setting_of(run)}, seed {run.seed}: {100 * (run.value or 0):.2f}"
            said += f" ({run.flags})" if run.flags else ""
            parts.append(
                f'<circle cx="{middle + shift * width * 0.7:.1f}" cy="{y(100 * (run.value or 0)):.1f}" r="3" '
                f'fill="{colours[setting_of(run)]}" fill-opacity="0.8"><title>{escape(said)}</title></circle>'
            )
        parts.append(_text(middle, TOP + HEIGHT + 20, operator, "middle"))
    for i, setting in enumerate(settings):
        parts.append(f'<circle cx="{right + 20}" cy="{TOP + 8 + 18 * i}" r="4" fill="{colours[setting]}"/>')
        parts.append(_text(right + 30, TOP + 12 + 18 * i, setting, "start"))
    return parts


def _box(values: Sequence[float], middle: float, width: float, y: Callable[[float], float]) -> list[str]:
    """Quartiles as a box, the mean as a line, behind the points."""
    low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    left, at = middle - width / 2, y(mean(values))
    return [
        f'<rect x="{left:.1f}" y="{y(high):.1f}" width="{width:.1f}" height="{max(y(low) - y(high), 1):.1f}" '
        'fill="#eee" stroke="#999"/>',
        f'<line x1="{left:.1f}" y1="{at:.1f}" x2="{left + width:.1f}" y2="{at:.1f}" stroke="#333" stroke-width="2"/>',
    ]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The values with a margin."""
    margin = max((max(values) - min(values)) * 0.05, 0.5)
    return min(values) - margin, max(values) + margin


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between, about six."""
    step = next(s for s in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if (high - low) / s <= 7)
    first = int(low // step) + 1
    return [step * n for n in range(first, int(high // step) + 1)]


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
