"""Theoretical complexity: compression and speed-up of the models (Section 3.2, Eq. 7-8).

OM_comp = √(½ (E²(r_c) + E²(r_s))), with r_c the compression and r_s the speed-up of each model, both as
ratios: 10 means a tenth of the size, or of the operations, of full precision. The ratios come from
`bibench measure complexity`, which needs no training; see docs/theoretical_complexity.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from bibench.operators import FULL_PRECISION, paper_order
from bibench.records import Record
from bibench.tracks.base import Score, by_study, quadratic_mean, track

NAME = "theoretical_complexity"
METRICS = ("speedup", "compression")


@track(NAME, "Theoretical complexity", "Eq. 8", parts=by_study, unit="times full precision", digits=2)
def score(records: Sequence[Record]) -> list[Score]:
    """Per operator the mean over task × model of speed-up and compression, and their quadratic mean."""
    ratios = _latest(records)
    places = {(task, model) for task, model, _, _ in ratios}
    rows = []
    for operator in sorted({key[2] for key in ratios} - {FULL_PRECISION}, key=paper_order):
        halves = [_half(ratios, operator, metric, len(places)) for metric in METRICS]
        rows += halves
        values = [half.value for half in halves]
        known = sum(value is not None for value in values)
        overall = quadratic_mean(values) if known == len(METRICS) else None
        note = "; ".join(dict.fromkeys(half.note for half in halves if half.note))
        rows.append(Score(NAME, "om", operator, overall, None, known, len(METRICS), note))
    return rows


def _latest(records: Sequence[Record]) -> dict[tuple[str, str, str, str], Record]:
    """The newest record of each task, model, operator and ratio."""
    found: dict[tuple[str, str, str, str], Record] = {}
    for record in sorted(records, key=lambda r: r.started):
        if record.kind == "complexity" and record.metric in METRICS:
            found[record.task, record.model, record.operator, record.metric] = record
    return found


def _half(ratios: dict[tuple[str, str, str, str], Record], operator: str, metric: str, expected: int) -> Score:
    own = [r for (_, _, o, m), r in ratios.items() if (o, m) == (operator, metric)]
    values = [r.value for r in own if r.value is not None]
    notes = [f"{r.task} {r.model}: {r.status}: {r.reason}" for r in own if r.value is None]
    if len(values) < expected:
        notes.insert(0, f"{len(values)} of {expected} task × model")
    value = mean(values) if values else None
    return Score(NAME, metric, operator, value, None, len(values), expected, "; ".join(notes))
