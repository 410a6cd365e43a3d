"""What accuracies and costs say together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bibench.foundation.wording import counted, listed, verb
from bibench.operators import FULL_PRECISION
from bibench.records.accuracies import Accuracy
from bibench.records.record import Record
from bibench.report.figures import Point, front
from bibench.report.material import Material


def best_of(rows: Sequence[Accuracy]) -> list[Accuracy]:
    """One accuracy per task × model × operator: of the recipe that reached most."""
    found: dict[tuple[str, str, str], Accuracy] = {}
    for row in rows:
        key = row.task, row.model, row.operator
        if row.mean is not None and (key not in found or row.mean > (found[key].mean or 0)):
            found[key] = row
    return list(found.values())


def takeaway_of(points: Sequence[Point], unit: str, cost: str, what: str = "binarized") -> str:
    """Which binarized (or otherwise compressed) models are worth their cost, in a sentence or two."""
    on_front = front(points)
    binary = [p for p in on_front if p.operator != FULL_PRECISION]
    if not binary:
        return f"No {what} model lies on the Pareto front."
    cheap, best = (_alike(binary, binary[n]) for n in (0, -1))
    text = f"{len(on_front)} of {counted(len(points), 'model')} {verb(len(on_front), 'lies', 'lie')} on the front. "
    if len(points) == 1:
        text = "There is one model: "
    elif best == cheap:
        text += f"The {f'only {what} one' if len(cheap) == 1 else f'{what} ones'} there: "
    else:
        text += "Cheapest there: "
    text += _at(cheap, unit)
    if best != cheap:
        text += f"; most accurate {what}: {_at(best, unit)}"
    full = [p for p in points if p.operator == FULL_PRECISION]
    if full:
        top = max(full, key=lambda p: p.merit)
        text += f". Full precision reaches {top.merit:.1f} % at {top.cost / best[0].cost:.1f} times that {cost}"
    return text + "."


def _alike(points: Sequence[Point], one: Point) -> list[Point]:
    """The points that are as good and as costly as one of them."""
    return [p for p in points if (p.cost, p.merit) == (one.cost, one.merit)]


def _at(points: Sequence[Point], unit: str) -> str:
    one = points[0]
    return f"{listed([p.label for p in points])}, {one.merit:.1f} % at {one.cost:.3g} {unit}"


def sized(material: Material, rows: Sequence[Accuracy], records: Iterable[Record]) -> dict[str, list[Point]]:
    """By task: test score against megabytes (10⁶ bytes) of the exported file, one point per engine that timed one.

    What no engine measured stands with the bytes counted from its architecture, and is marked.
    """
    files: dict[tuple[str, str, str], dict[str, float]] = {}
    counts: dict[tuple[str, str, str], float] = {}
    for r in sorted((r for r in records if r.metric == "storage" and (r.value or 0) > 0), key=lambda r: r.started):
        place = r.task, r.model, r.operator
        if r.kind == "latency":
            files.setdefault(place, {})[r.engine] = r.value or 0.0
        elif r.kind == "complexity":
            counts[place] = r.value or 0.0
    points: dict[str, list[Point]] = {}
    for a in best_of(rows):
        place, label = (a.task, a.model, a.operator), f"{material.title(a.operator)} on {a.model}"
        made = [
            Point(a.operator, f"{label}, file of {engine}", size / 1e6, a.mean or 0.0)
            for engine, size in files.get(place, {}).items()
        ]
        if not made and place in counts:
            made = [Point(a.operator, f"{label}, counted", counts[place] / 1e6, a.mean or 0.0, counted=True)]
        if made:
            points.setdefault(a.task, []).extend(made)
    return points


def basis_of(points: Sequence[Point]) -> str:
    """Whether sizes are those of files, in a sentence to follow the takeaway."""
    counted = sum(p.counted for p in points)
    if not counted:
        return " Sizes are those of exported files."
    if counted == len(points):
        return " Sizes are counted; no file was exported and measured."
    return (
        f" Sizes are those of exported files, but for {counted} of {len(points)} that are counted and drawn with a dot."
    )
