"""What accuracies and costs say together."""

from __future__ import annotations

from collections.abc import Sequence

from bibench.operators import FULL_PRECISION
from bibench.report.figures import Point, front
from bibench.stats import Accuracy


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
    cheap, best = binary[0], binary[-1]
    text = f"{len(on_front)} of {len(points)} models lie on the front. "
    text += f"Cheapest there: {cheap.label}, {cheap.merit:.1f} % at {cheap.cost:.3g} {unit}"
    if best is not cheap:
        text += f"; best {what}: {best.label}, {best.merit:.1f} % at {best.cost:.3g} {unit}"
    full = [p for p in points if p.operator == FULL_PRECISION]
    if full:
        top = max(full, key=lambda p: p.merit)
        text += f". Full precision reaches {top.merit:.1f} % at {top.cost / best.cost:.1f} times that {cost}"
    return text + "."
