"""Learning task: the accuracies themselves, relative accuracies by task, and training curves."""

from __future__ import annotations

from collections.abc import Iterator

from bibench.foundation.wording import counted
from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.accuracies import Accuracy
from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Multiples, Table, Text, number, slug
from bibench.report.curves import curve_figures
from bibench.report.figures import dots, dots_height
from bibench.report.material import Material, unique
from bibench.report.section import section
from bibench.report.standings import Standing, standings
from bibench.statistics import claims


@section("learning_task")
def learning_task(material: Material) -> Iterator[Block]:
    """Accuracies, dot plots by task, curves."""
    rows = material.accuracies
    if not rows:
        return
    yield Heading("Accuracy by task and model", "accuracies")
    yield Text("Test split, percent: mean ± standard deviation over seeds. Every number leads to its runs.")
    for task in unique(a.task for a in rows):
        yield accuracy_table(material, [a for a in rows if a.task == task])
    yield Heading("How much of full precision is kept", "relative")
    found = standings(rows)
    places = unique(s.accuracy.task for s in found)
    yield Multiples([relative_figure(material, [s for s in found if s.accuracy.task == task]) for task in places])
    curves, left_out = curve_figures(material)
    yield Heading("Training curves", "curves")
    if curves:
        yield Multiples(curves)
        if left_out:
            total = len(curves) + left_out
            yield Text(f"The first {len(curves)} of {total} task × model × recipe are drawn.", "note")
    else:
        yield Text("The records came without run folders, or these hold no curve.csv, so there are no curves.", "note")


def accuracy_table(material: Material, rows: list[Accuracy]) -> Table:
    """Operators × models of one task."""
    task = rows[0].task
    columns = unique(f"{a.model}\0{a.recipe}" for a in rows)
    several = len({a.recipe for a in rows}) > 1
    by_place = {(f"{a.model}\0{a.recipe}", a.operator): a for a in rows}
    best = {
        column: max(
            (a.mean for (c, o), a in by_place.items() if c == column and o != FULL_PRECISION and a.mean is not None),
            default=None,
        )
        for column in columns
    }
    lines = [
        [
            Cell(operator, material.title(operator), material.operator_href(operator)),
            *(accuracy_cell(material, by_place.get((column, operator)), best[column]) for column in columns),
        ]
        for operator in sorted({a.operator for a in rows}, key=paper_order)
    ]
    names = [f"{model} · {recipe}" if several else model for model, _, recipe in (c.partition("\0") for c in columns)]
    embedded = "; embedded data, not comparable with published numbers" if rows[0].embedded else ""
    return Table(
        f"accuracy-{slug(task)}",
        f"{task}: {rows[0].metric}, percent{embedded}",
        [Column("operator"), *(Column(name, numeric=True) for name in names)],
        lines,
    )


def accuracy_cell(material: Material, a: Accuracy | None, best: float | None = None) -> Cell:
    """An accuracy that links to its runs and says what is missing."""
    if a is None:
        return Cell(None, tone="missing", note="never ran")
    href = material.href(a.task, a.model, a.recipe, a.operator)
    if a.mean is None:
        return Cell(None, "failed", href, note=f"{a.missing} failed", tone="bad")
    notes = [counted(a.seeds, "seed")]
    notes += [f"{a.missing} failed"] if a.missing else []
    notes += [a.flags] if a.flags else []
    tone = "weak" if "collapsed" in a.flags or a.missing else "best" if a.mean == best else ""
    return number(a.mean, 1, a.std, href=href, note="; ".join(notes), tone=tone)


def relative_figure(material: Material, found: list[Standing]) -> Figure:
    """Mean over the models of a task of accuracy relative to full precision."""
    task = found[0].accuracy.task
    by_operator: dict[str, list[float]] = {}
    for s in found:
        if s.relative is not None:
            by_operator.setdefault(s.accuracy.operator, []).append(s.relative)
    means = {operator: sum(v) / len(v) for operator, v in by_operator.items()}
    count = max(map(len, by_operator.values()), default=0)
    ends = {o: (min(v), max(v)) if count > 1 else (None, None) for o, v in by_operator.items()}
    rows = [(o, v, *ends[o]) for o, v in means.items()]
    data, layout = dots(material, rows, "percent of full precision")
    ranking = sorted(means, key=lambda o: -means[o])
    entries = [claims.Entry(material.title(o), v, len(by_operator[o]) == count) for o, v in means.items()]
    said = claims.extremes(entries, ("keeps", "keep"), "most", "least", lambda v: f"{v:.0f} %")
    takeaway = f"Of full precision on {task}: {said}"
    if not entries:
        takeaway = f"No operator can be related to full precision on {task}."
    bars = " The lines span the models." if count > 1 else ""
    alt = f"Dot plot of accuracy relative to full precision on {task}: " + "; ".join(
        f"{material.title(o)} {means[o]:.1f} percent" for o in ranking
    )
    return Figure(f"relative-{slug(task)}", task, takeaway + bars, alt, data, layout, dots_height(len(means)))
