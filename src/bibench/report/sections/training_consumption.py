"""Training consumption: the distribution of accuracies over settings, and the time of a training step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import stdev

from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.accuracies import setting_of
from bibench.records.record import Record
from bibench.report.blocks import Block, Cell, Column, Figure, Heading, Multiples, Table, Text, number, slug
from bibench.report.figures import axis, dots_height, plain
from bibench.report.material import Material
from bibench.report.section import section
from bibench.statistics import claims


@section("training_consumption")
def training_consumption(material: Material) -> Iterator[Block]:
    """Strips of the study's accuracies; a table of measured steps."""
    studies: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for r in material.test_scores:
        if r.study and r.value is not None:
            studies[r.task, r.model, r.study].append(r)
    yield Heading("Sensitivity: the accuracy of every run of the study", "sensitivity")
    if studies:
        yield Multiples([_distribution(material, place, runs) for place, runs in studies.items()])
    else:
        yield Text("No run of a sensitivity study is among the records (bibench run sensitivity_quick).", "note")
    times = [r for r in material.of_kind("cost") if r.metric == "time_ratio"]
    yield Heading("Time of a training step", "time")
    if times:
        yield _times(material, times)
    else:
        yield Text("No training step was timed (bibench measure training-cost).", "note")


def _distribution(material: Material, place: tuple[str, str, str], runs: Sequence[Record]) -> Figure:
    operators = sorted({r.operator for r in runs}, key=paper_order)
    data, spreads = [], {}
    for operator in operators:
        own = [r for r in runs if r.operator == operator]
        values = [100 * r.value for r in own if r.value is not None]
        if len(values) > 1:
            spreads[operator] = stdev(values)
        data.append(
            {
                "type": "box",
                "name": plain(material.title(operator)),
                "x": [round(v, 3) for v in values],
                "boxpoints": "all",
                "jitter": 0.5,
                "pointpos": 0,
                "orientation": "h",
                "boxmean": True,
                "text": [plain(f"{setting_of(r)}, seed {r.seed}" + (f" ({r.flags})" if r.flags else "")) for r in own],
                "marker": {"color": material.colour(operator), "size": 5, "opacity": 0.65},
                "line": {"color": material.colour(operator), "width": 1.5},
                "fillcolor": "rgba(0,0,0,0)",
                "hovertemplate": "%{text}: %{x:.1f} %<extra></extra>",
            }
        )
    binary = [claims.Entry(material.title(o), s) for o, s in spreads.items() if o != FULL_PRECISION]
    takeaway = claims.extremes(binary, ("varies", "vary"), "most", "least", lambda v: f"{v:.1f} points")
    if binary:
        full = spreads.get(FULL_PRECISION)
        takeaway += " Points are standard deviations over settings and seeds"
        takeaway += f"; that of full precision is {full:.1f}." if full is not None else "."
    title = f"{place[0]}, {place[1]}"
    layout = {
        "xaxis": axis("accuracy of a run, percent"),
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        "showlegend": False,
    }
    alt = f"Box plot of the accuracies of {len(runs)} runs by operator on {title}. {takeaway}"
    return Figure(
        f"sensitivity-{slug(' '.join(place))}", title, takeaway, alt, data, layout, dots_height(len(operators)) + 60
    )


def _times(material: Material, times: Sequence[Record]) -> Table:
    columns = [
        *(Column("operator"), Column("task"), Column("model"), Column("batch size", numeric=True)),
        Column("threads", numeric=True),
        Column("time ratio", numeric=True, note="full precision's time over the operator's, percent; more is better"),
        Column("machine"),
    ]
    lines = [
        [
            Cell(r.operator, material.title(r.operator), material.operator_href(r.operator)),
            *(Cell(r.task), Cell(r.model), Cell(r.batch_size), Cell(r.threads)),
            number(100 * r.value if r.value is not None else None, 1, href=material.href_of(r), note=r.reason),
            Cell(r.accelerator or r.cpu),
        ]
        for r in sorted(times, key=lambda r: (r.task, r.model, paper_order(r.operator)))
    ]
    return Table("training-time", "Time of a training step relative to full precision, percent", columns, lines)
