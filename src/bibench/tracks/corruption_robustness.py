"""Corruption robustness: how much of the accuracy corrupted images cost (Section 3.1, Eq. 4, 5 and 40).

The gap G is the accuracy on the test images less that on corrupted ones (Eq. 4). Of an operator, in
percent of full precision of the same task, model and seed:

<task>          how the gaps compare (Eq. 5), over corruptions × severities: ΣG / ΣG_bi under the protocol
                ``bibench``, the mean of G / G_bi under ``paper``
om              √(mean over tasks of squares)
robust          ΣG / ΣG_bi under either protocol: where single gaps are near zero, their ratios decide the
                mean, but not this
mce             mean over corruptions of Σ_s E_bi / Σ_s E, errors E = 1 - accuracy (Eq. 40); less is better
relative_mce    the same of gaps: mean over corruptions of Σ_s G_bi / Σ_s G; less is better

Equation 40 divides by the errors of AlexNet, which no run has; the reference is full precision instead.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev
from typing import Any

from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.accuracies import is_score
from bibench.records.record import Record, distinct, is_collapsed
from bibench.tracks.base import BIBENCH, PAPER, Score, joined_notes, quadratic_mean, track

NAME, KIND, CLEAN = "corruption_robustness", "corruption", "none"

Condition = tuple[str, int]
Accuracies = dict[Condition, float]
Place = tuple[str, str, str, int]


@track(NAME, "Corruption robustness", "Eq. 5")
def score(records: Sequence[Record], protocol: str) -> list[Score]:
    """Per operator the gap ratio for each task and overall, the ratio of sums, mCE and relative mCE."""
    cells = _cells(records)
    gap_ratio = GAP_RATIOS[protocol]
    rows = []
    operators = sorted({operator for _, operator in cells} - {FULL_PRECISION}, key=paper_order)
    expected = {place for place, name in cells if name != FULL_PRECISION}
    tasks = [task for task in dict.fromkeys(place[0] for place, _ in cells) if any(p[0] == task for p in expected)]
    collapsed = {_place(r): is_collapsed(r) for r in records if r.kind == KIND and r.corruption == CLEAN}
    for operator in operators:
        mine = [place for place, name in cells if name == operator]
        per_task = [_average(cells, operator, task, gap_ratio, mine, expected, task) for task in tasks]
        values = [row.value for row in per_task]
        known = sum(value is not None for value in values)
        note = "" if known == len(tasks) else f"{known} of {len(tasks)} tasks"
        own = [*per_task, Score(NAME, "om", operator, quadratic_mean(values), None, known, len(tasks), note)]
        for metric, compute in (("robust", ratio_of_sums), ("mce", mce), ("relative_mce", relative_mce)):
            own.append(_average(cells, operator, "", compute, mine, expected, metric))
        rows += [_flagged(row, [p for p in mine if collapsed.get((p, operator))], tasks) for row in own]
    return rows


def _flagged(row: Score, collapsed: Sequence[Place], tasks: Sequence[str]) -> Score:
    """The row with those of its networks that are at chance on clean images: these have nothing to lose."""
    count = sum(row.metric not in tasks or place[0] == row.metric for place in collapsed)
    return replace(row, collapsed=count, note=joined_notes(row.note, f"{count} collapsed" if count else ""))


def paper_ratio(full: Accuracies, own: Accuracies) -> tuple[float | None, str]:
    """Mean over conditions of full precision's gap / the operator's (Eq. 5); a gap of 0 has no ratio."""
    ratios, zero = [], 0
    for condition in _shared(full, own):
        gap = own[CLEAN, 0] - own[condition]
        if gap == 0:
            zero += 1
        else:
            ratios.append((full[CLEAN, 0] - full[condition]) / gap)
    note = f"{zero} conditions without a gap left out" if zero else ""
    return (fmean(ratios) if ratios else None), note


def ratio_of_sums(full: Accuracies, own: Accuracies) -> tuple[float | None, str]:
    """Sum of full precision's gaps over that of the operator's."""
    shared = _shared(full, own)
    gap = math.fsum(own[CLEAN, 0] - own[c] for c in shared)
    if gap <= 0:
        return None, "corruption costs the operator nothing"
    return math.fsum(full[CLEAN, 0] - full[c] for c in shared) / gap, ""


GAP_RATIOS = {PAPER: paper_ratio, BIBENCH: ratio_of_sums}
"""How the gaps of the conditions become one number, by protocol."""


def mce(full: Accuracies, own: Accuracies) -> tuple[float | None, str]:
    """Mean over corruptions of the operator's errors over full precision's, each summed over severities (Eq. 40)."""
    return _mean_over_corruptions(full, own, lambda found, condition: 1 - found[condition])


def relative_mce(full: Accuracies, own: Accuracies) -> tuple[float | None, str]:
    """The same of the gaps: what corruption adds to the error."""
    return _mean_over_corruptions(full, own, lambda found, condition: found[CLEAN, 0] - found[condition])


def _mean_over_corruptions(
    full: Accuracies, own: Accuracies, damage: Callable[[Accuracies, Condition], float]
) -> tuple[float | None, str]:
    by_corruption: dict[str, list[Condition]] = defaultdict(list)
    for condition in _shared(full, own):
        by_corruption[condition[0]].append(condition)
    ratios, left_out = [], []
    for corruption, conditions in by_corruption.items():
        reference = math.fsum(damage(full, c) for c in conditions)
        if reference <= 0:
            left_out.append(corruption)
        else:
            ratios.append(math.fsum(damage(own, c) for c in conditions) / reference)
    note = f"{', '.join(left_out)} left out: they cost full precision nothing" if left_out else ""
    return (fmean(ratios) if ratios else None), note


def _shared(full: Accuracies, own: Accuracies) -> list[Condition]:
    return [c for c in own if c in full and c != (CLEAN, 0)]


def _cells(records: Sequence[Record]) -> dict[tuple[Place, str], Accuracies]:
    """Accuracies by condition of every cell; a cell that failed has none."""
    cells: dict[tuple[Place, str], Accuracies] = {}
    for r in (r for r in records if r.kind == KIND):
        found = cells.setdefault(_place(r), {})
        if r.value is not None and is_score(r.value):
            found[r.corruption, r.severity or 0] = r.value
    return cells


def _place(r: Record) -> tuple[Place, str]:
    return (r.task, r.model, r.recipe, r.seed), r.operator


def _average(
    cells: Mapping[tuple[Place, str], Accuracies],
    operator: str,
    task: str,
    compute: Callable[[Accuracies, Accuracies], tuple[float | None, str]],
    mine: Sequence[Place],
    expected: set[Place],
    metric: str,
) -> Score:
    """Mean over models of the mean over seeds, in percent; what is missing is said."""
    by_model: dict[tuple[str, str], list[float]] = defaultdict(list)
    by_seed: dict[int, list[float]] = defaultdict(list)
    notes: list[str] = []
    for place in (p for p in mine if not task or p[0] == task):
        full, own = cells.get((place, FULL_PRECISION), {}), cells[place, operator]
        value, note = _related(full, own, compute)
        incomplete = len(_shared(full, own)) < max(len(full), len(own)) - 1
        if value is not None:
            by_model[place[:2]].append(value)
            by_seed[place[3]].append(value)
            note = "; ".join(filter(None, (note, "conditions are missing" if incomplete else "")))
        if note:
            notes.append(f"{place[0]} {place[1]} seed {place[3]}: {note}")
    wanted = sum(not task or place[0] == task for place in expected)
    count = sum(len(values) for values in by_model.values())
    if count < wanted:
        notes.insert(0, f"{count} of {wanted} cells")
    if not by_model:
        return Score(NAME, metric, operator, None, None, 0, wanted, "; ".join(notes))
    seeds = [fmean(values) for values in by_seed.values()]
    error = 100 * stdev(seeds) / math.sqrt(len(seeds)) if len(seeds) > 1 else None
    value = 100 * fmean(fmean(values) for values in by_model.values())
    return Score(NAME, metric, operator, value, error, count, wanted, "; ".join(notes))


def _related(
    full: Accuracies, own: Accuracies, compute: Callable[[Accuracies, Accuracies], tuple[float | None, str]]
) -> tuple[float | None, str]:
    if (CLEAN, 0) not in own:
        return None, "the operator was not measured"
    if (CLEAN, 0) not in full:
        return None, "full precision was not measured"
    if not _shared(full, own):
        return None, "no corruption was measured on both"
    return compute(full, own)


@dataclass(frozen=True)
class CorruptedAccuracy:
    """Mean accuracy of an operator over seeds and over the conditions of one corruption or one severity, in percent."""

    task: str
    model: str
    recipe: str
    operator: str
    condition: str
    accuracy: float
    gap: float | None
    gap_ratio: float | None
    cells: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and CSV."""
        return asdict(self)


def by_corruption(records: Sequence[Record]) -> list[CorruptedAccuracy]:
    """Per corruption (``none`` is the clean images): means over severities, ratios of the sums of gaps."""
    return _tabulated(records, lambda condition: condition[0])


def by_severity(records: Sequence[Record]) -> list[CorruptedAccuracy]:
    """Per severity, 0 being the clean images: the points of a curve, means over corruptions."""
    return _tabulated(records, lambda condition: str(condition[1]))


def _tabulated(records: Sequence[Record], label: Callable[[Condition], str]) -> list[CorruptedAccuracy]:
    groups: dict[tuple[str, str, str, str, str], list[tuple[float, float | None, float | None]]] = defaultdict(list)
    cells = _cells(distinct(records)[0])
    order = {c: n for n, c in enumerate(dict.fromkeys(label(c) for own in cells.values() for c in own))}
    for (place, operator), own in cells.items():
        full = cells.get((place, FULL_PRECISION), {})
        for name in dict.fromkeys(label(c) for c in own):
            conditions = [c for c in own if label(c) == name]
            accuracy = fmean(own[c] for c in conditions)
            gap = own[CLEAN, 0] - accuracy if (CLEAN, 0) in own else None
            ratio = None
            if gap and (CLEAN, 0) in full and all(c in full for c in conditions):
                ratio = (full[CLEAN, 0] - fmean(full[c] for c in conditions)) / gap
            groups[*place[:3], operator, name].append((accuracy, gap, ratio))
    rows = []
    for key, found in groups.items():
        accuracies, gaps, ratios = zip(*found, strict=True)
        means = 100 * fmean(accuracies), _percent(gaps), _percent(ratios)
        rows.append(CorruptedAccuracy(*key, *means, cells=len(found)))
    return sorted(rows, key=lambda r: (r.task, r.model, r.recipe, paper_order(r.operator), order[r.condition]))


def _percent(values: Sequence[float | None]) -> float | None:
    existing = [value for value in values if value is not None]
    return 100 * fmean(existing) if existing else None
