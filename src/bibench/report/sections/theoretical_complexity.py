"""Theoretical complexity: accuracy against size, and where the bytes and operations of a model are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bibench.foundation.choice import choice
from bibench.operators import FULL_PRECISION, OPERATORS
from bibench.report.blocks import Block, Figure, Heading, Multiples, Text, slug
from bibench.report.figures import axis, below, plain, trade_off
from bibench.report.material import Material
from bibench.report.section import section
from bibench.report.tradeoffs import basis_of, sized, takeaway_of

MAX_MODELS, MAX_LAYERS = 12, 60


@section("theoretical_complexity")
def theoretical_complexity(material: Material) -> Iterator[Block]:
    """Pareto fronts by task, then the layers of each model."""
    yield Heading("Accuracy and size", "accuracy-size")
    figures = _fronts(material)
    if figures:
        yield Multiples(figures)
    else:
        yield Text(
            "No model has both an accuracy and a size (bibench measure complexity counts without training).",
            "note",
        )
    layers = list(_layers(material))
    if layers:
        yield Heading("Where the bytes and operations are", "layers")
        yield Multiples(layers)
        if len(_models(material)) > MAX_MODELS:
            yield Text(
                f"The first {MAX_MODELS} models are drawn; for others: bibench complexity MODEL --layers.", "note"
            )


def _fronts(material: Material) -> list[Figure]:
    figures = []
    for task, points in sized(material, material.accuracies, material.compared).items():
        data, layout = trade_off(material, points, "storage, MB", "test score, percent")
        takeaway = takeaway_of(points, "MB", "size") + basis_of(points)
        alt = f"Scatter plot of test score against storage on {task}, with its Pareto front. {takeaway}"
        figures.append(Figure(f"size-{slug(task)}", task, takeaway, alt, data, layout, 420))
    return figures


def _models(material: Material) -> list[tuple[str, str]]:
    return list(dict.fromkeys((r.task, r.model) for r in material.of_kind("complexity")))


def _layers(material: Material) -> Iterator[Figure]:
    """Each model counted anew on the meta device, which takes no data and no weights."""
    from bibench.complexity import BIBENCH
    from bibench.foundation.errors import BiBenchError
    from bibench.measure.complexity import compare
    from bibench.suite.cell import Cell

    for task, model in _models(material)[:MAX_MODELS]:
        operator = _example(material, task, model)
        if operator is None:
            continue
        try:
            comparison = compare(Cell(choice(task), choice(model), choice(FULL_PRECISION), choice("paper"), 0))
            chosen = choice(operator)
            counted = comparison.under(chosen.name, **chosen.options)
        except (BiBenchError, ImportError):  # a task or model of others, which this installation does not know
            continue
        rows = [(r.name, r.precision, r.storage_bytes, counted.row_operations(r, BIBENCH)) for r in counted.rows]
        yield _layer_figure(material, task, model, operator, rows)


def _example(material: Material, task: str, model: str) -> str | None:
    """The first operator of the paper that was counted on the model."""
    known = {r.operator for r in material.of_kind("complexity") if (r.task, r.model) == (task, model)}
    return next((o for o in material.operators if o in known and o.partition("[")[0] in OPERATORS), None)


def _layer_figure(
    material: Material, task: str, model: str, operator: str, rows: Sequence[tuple[str, str, int, float]]
) -> Figure:
    total_bytes, total_operations = sum(r[2] for r in rows) or 1, sum(r[3] for r in rows) or 1
    weighty = sorted(rows, key=lambda r: -(r[2] / total_bytes + r[3] / total_operations))[:MAX_LAYERS]
    drawn = [r for r in rows if r in weighty and (r[2] or r[3])]
    data: list[dict[str, Any]] = []
    for place, (label, index, total) in enumerate((("storage", 2, total_bytes), ("operations", 3, total_operations))):
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": label,
                "y": [plain(f"{r[0]} ({r[1]})") for r in drawn],
                "x": [round(100 * float(r[index]) / total, 4) for r in drawn],
                "marker": {"color": "@1" if place == 0 else "@6"},
                "hovertemplate": "%{y}: %{x:.1f} % of " + label + "<extra></extra>",
            }
        )
    kept = [r for r in rows if r[1] != "W1A1"]
    share = 100 * sum(r[2] for r in kept) / total_bytes, 100 * sum(r[3] for r in kept) / total_operations
    takeaway = (
        f"Under {material.title(operator)}, what is not W1A1 holds {share[0]:.0f} % of the bytes "
        f"and does {share[1]:.0f} % of the operations."
    )
    layout = {
        "xaxis": axis("share of the model's total, percent"),
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category", "tickfont": {"size": 10}},
        "barmode": "group",
        "legend": below() | {"y": -60 / (140 + 22 * len(drawn)) - 0.04},
    }
    title = f"{task}, {model}"
    alt = f"Bar chart of storage and operations by layer of {title}. {takeaway}"
    return Figure(f"layers-{slug(task + ' ' + model)}", title, takeaway, alt, data, layout, 140 + 22 * len(drawn))
