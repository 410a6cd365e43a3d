"""What was measured for a track, beside what could have been: every operator wherever any was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bibench.foundation.wording import counted, plural
from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.record import Record, distinct

NOUNS = {
    "score": "test score",
    "corruption": "accuracy on corrupted images",
    "cost": "ratio of training times",
    "complexity": "count of bytes and operations",
    "latency": "latency",
}
"""What one record of a kind is."""

PLURALS = {
    "corruption": "accuracies on corrupted images",
    "cost": "ratios of training times",
    "complexity": "counts of bytes and operations",
}
METRICS = {
    "cost": ("time_ratio",),
    "complexity": ("speedup", "compression", "speedup_paper", "compression_paper"),
    "latency": ("latency_ms",),
}
"""Of kinds with several metrics those that a track is about."""

_WHERE = (
    *("task", "model", "recipe", "seed", "metric", "corruption", "severity"),
    *("device", "engine", "threads", "batch_size", "cpu", "accelerator"),
)


@dataclass(frozen=True)
class Measured:
    """`done` of `expected` measurements of a kind have a value; `operators`: the same of each that lacks some."""

    kind: str
    done: int
    expected: int
    operators: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """``174 of 198 latencies``."""
        return f"{self.done:,} of {self.counted}"

    @property
    def counted(self) -> str:
        """``198 latencies``."""
        noun, many = NOUNS.get(self.kind, self.kind), PLURALS.get(self.kind)
        return f"{self.expected:,} {many}" if many and self.expected != 1 else counted(self.expected, noun)

    @property
    def noun(self) -> str:
        """The noun of many, as a heading."""
        return PLURALS.get(self.kind) or plural(NOUNS.get(self.kind, self.kind), 2)


def measured(records: Sequence[Record], kind: str) -> Measured:
    """Counts of a kind: expected is every operator × every place where any of them has a record of the metric.

    Full precision is expected of the metrics that it has anywhere (it has no speed-up), and where it alone was
    measured, there was nothing to relate to it.
    """
    used, _ = distinct(r for r in records if r.kind == kind and r.metric in METRICS.get(kind, (r.metric,)))
    used = [r for r in used if kind != "score" or r.split == "test"]
    operators = {r.operator for r in used}
    places: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    there: dict[tuple[str, str], int] = defaultdict(int)
    having = {(r.operator, r.metric) for r in used}
    for r in used:
        if r.operator != FULL_PRECISION or operators == {FULL_PRECISION}:
            places[r.metric].add(_where(r))
    for r in used:
        there[r.operator, r.metric] += r.value is not None and _where(r) in places[r.metric]
    found = {}
    for operator in sorted(operators, key=paper_order):
        metrics = [m for m in places if operator != FULL_PRECISION or (operator, m) in having]
        found[operator] = sum(there[operator, m] for m in metrics), sum(len(places[m]) for m in metrics)
    done, expected = (sum(pair[n] for pair in found.values()) for n in (0, 1))
    return Measured(kind, done, expected, {o: pair for o, pair in found.items() if pair[0] < pair[1]})


def _where(record: Record) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in _WHERE)
