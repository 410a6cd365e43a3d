"""Theoretical complexity: compression and speed-up of the models (Section 3.2, Eq. 7-8).

OM_comp = √(½ (E²(r_c) + E²(r_s))), with r_c the compression and r_s the speed-up of each model, both as
ratios: 10 means a tenth of the size, or of the operations, of full precision. The ratios come from
`bibench measure complexity`, which needs no training; see docs/theoretical_complexity.md. The protocol ``paper``
takes what is counted by the paper's convention and plain means over models, ``bibench`` ours and geometric ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.record import Record
from bibench.tracks.base import BIBENCH, MEANS, PAPER, Score, by_study, is_ratio, joined_notes, quadratic_mean, track

NAME = "theoretical_complexity"
METRICS = ("speedup", "compression")
ENDINGS = {BIBENCH: "", PAPER: "_paper"}
"""Which of the counted ratios a protocol takes, by the ending of their names; ``measure complexity`` counts all."""


@track(NAME, "Theoretical complexity", "Eq. 8", parts=by_study, unit="times full precision", digits=2)
def score(records: Sequence[Record], protocol: str) -> list[Score]:
    """Per operator the mean over task × model of speed-up and compression, and their quadratic mean."""
    counted = [r for r in records if r.kind == "complexity" and r.metric.removesuffix("_paper") in METRICS]
    places = {(r.task, r.model) for r in counted}
    rows = []
    for operator in sorted({r.operator for r in counted} - {FULL_PRECISION}, key=paper_order):
        own = [r for r in counted if r.operator == operator]
        halves = [_half(own, operator, metric, protocol, len(places)) for metric in METRICS]
        values = [half.value for half in halves]
        known = sum(value is not None for value in values)
        overall = quadratic_mean(values) if known == len(METRICS) else None
        note = joined_notes(*(half.note for half in halves))
        rows += [*halves, Score(NAME, "om", operator, overall, None, known, len(METRICS), note)]
    return rows


def _half(own: Sequence[Record], operator: str, metric: str, protocol: str, expected: int) -> Score:
    suffix = ENDINGS[protocol]
    # A model that cannot be counted has its reason under the plain name, whatever the convention.
    chosen = [r for r in own if r.metric == metric + suffix or (r.metric == metric and r.value is None)]
    values = [r.value for r in chosen if r.value is not None and is_ratio(r.value)]
    notes = [f"{r.task} {r.model}: {r.status}: {r.reason}" for r in chosen if r.value is None]
    notes += [
        f"{r.task} {r.model}: a ratio of {r.value}" for r in chosen if r.value is not None and not is_ratio(r.value)
    ]
    if not chosen:
        counted = any(r.metric.startswith(metric) for r in own)
        other = " by this protocol's convention" if counted else ""
        notes.append(f"not counted{other} (bibench measure complexity SUITE)")
    if chosen and len(values) < expected:
        notes.insert(0, f"{len(values)} of {expected} task × model")
    value = MEANS[protocol](values) if values else None
    return Score(NAME, metric, operator, value, None, len(values), expected, "; ".join(notes))
