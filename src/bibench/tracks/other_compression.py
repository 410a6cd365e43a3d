"""Binarization beside other compression (Table 21): no track of the six, and nothing of it enters their scores.

Every operator and comparator of the same recipe, seeds and networks, with what it saves; a row of a comparator
says so in its note, and there is no overall metric, since these are no candidates for one rank. Without a
comparator among the records there is nothing to show. See docs/compression.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

from bibench.comparators.names import is_comparator, known_comparators
from bibench.comparators.table21 import printed_accuracy
from bibench.operators import paper_order
from bibench.records.accuracies import accuracies
from bibench.records.record import Record
from bibench.tracks.base import Ratio, Score, joined_notes, nested_mean, ratios, relative_scores, track

NAME = "other_compression"
SAVINGS = ("compression", "speedup")


@track(
    NAME,
    "Other compression",
    "Table 21",
    comparators=True,
    unit="accuracies in percent of full precision by network, savings in times full precision",
    digits=2,
)
def score(records: Sequence[Record], protocol: str) -> list[Score]:
    """Per operator and comparator: its accuracy relative to full precision by task and model, and its savings."""
    if not any(is_comparator(name) for name in {r.operator for r in records}):
        return []
    found = ratios(records)
    places: dict[tuple[str, str], list[Ratio]] = {}
    for r in found:
        places.setdefault((r.task, r.model), []).append(r)
    named = {f"{task} {model}": group for (task, model), group in places.items()}
    related = [row for row in relative_scores(NAME, found, named, "networks", nested_mean) if row.metric in named]
    rows = []
    for operator in sorted({r.operator for r in found}, key=order):
        kind = "comparator" if is_comparator(operator) else ""
        own = {row.metric: row for row in related if row.operator == operator}
        for (task, model), row in zip(places, (own[name] for name in named), strict=True):
            rows.append(replace(row, note=joined_notes(kind, row.note, _beside(records, task, model, operator))))
        rows += [_saving(records, operator, metric, len(places), kind) for metric in SAVINGS]
    return rows


def order(operator: str) -> tuple[int, int, str]:
    """Sort key: the operators in the paper's order, then the comparators as they are listed."""
    name = operator.partition("[")[0]
    return (1, known_comparators().index(name), operator) if is_comparator(name) else (0, *paper_order(operator))


def _beside(records: Sequence[Record], task: str, model: str, operator: str) -> str:
    printed = printed_accuracy(task, model, operator)
    if printed is None:
        return ""
    own = [r for r in records if (r.task, r.model, r.operator) == (task, model, operator)]
    means = [a.mean for a in accuracies(own) if a.mean is not None]
    ours = f"{means[0]:.2f}" if means else "none"
    return f"accuracy {ours}, printed {printed:.2f}"


def _saving(records: Sequence[Record], operator: str, metric: str, expected: int, kind: str) -> Score:
    own = [r for r in records if r.kind == "complexity" and (r.metric, r.operator) == (metric, operator)]
    latest = {(r.task, r.model): r for r in sorted(own, key=lambda r: r.started)}
    values = [r.value for r in latest.values() if r.value is not None]
    missing = "" if values else "not counted: bibench measure complexity"
    note = "; ".join(filter(None, (kind, missing)))
    return Score(NAME, metric, operator, mean(values) if values else None, None, len(values), expected, note)
