"""Hardware inference: time and storage of deployed models (Section 3.2, Eq. 9).

OM_infer = √(½ (E²(T / T_bi) + E²(S / S_bi))), with T the inference time of full precision and T_bi of the operator
with the same model, engine, device, threads and batch, S and S_bi what they need to be stored. Both are ratios:
10 means ten times as fast, or a tenth of the size. Under the protocol ``paper`` E is the plain mean over everything
that was measured; under ``bibench`` it is the geometric mean over what was measured on a device, then over devices.

Storage is that of the deployed file where an engine measured it (kind ``latency``, metric ``storage``), else what
the numbers of the model need (kind ``complexity``, metric ``storage``).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.record import Record
from bibench.tracks.base import (
    BIBENCH,
    PAPER,
    Score,
    by_study,
    geometric,
    is_ratio,
    joined_notes,
    quadratic_mean,
    track,
)

NAME, LATENCY, STORAGE = "hardware_inference", "latency_ms", "storage"

Place = tuple[Any, ...]
Ratios = Mapping[Place, float]


@track(NAME, "Hardware inference", "Eq. 9", parts=by_study, unit="times full precision", digits=2)
def score(records: Sequence[Record], protocol: str) -> list[Score]:
    """Per operator speed-up, compression and their quadratic mean, then the speed-up on each device × threads."""
    times = [r for r in records if r.kind == "latency" and r.metric == LATENCY]
    sizes = _sizes(records)
    rows, details = [], []
    for operator in sorted({r.operator for r in times} - {FULL_PRECISION}, key=paper_order):
        halves = [
            _ratio("speedup", operator, times, protocol),
            _ratio("compression", operator, sizes, protocol),
        ]
        values = [half.value for half in halves]
        known = sum(value is not None for value in values)
        # The mean over one half would rank operators by something else than those that have both.
        overall = quadratic_mean(values) if known == 2 else None
        note = joined_notes(*(f"{h.metric}: {h.note}" for h in halves if h.note))
        rows += [*halves, Score(NAME, "om", operator, overall, None, known, 2, note)]
        for (device, threads), part in _by_device(times).items():
            said = device if threads is None else f"{device}, {threads} thread{'' if threads == 1 else 's'}"
            metric = f"speedup[device={device!r},threads={threads}]"
            details.append(_ratio(metric, operator, part, protocol, part=said))
    return rows + details


def _place(r: Record) -> Place:
    """Everything that full precision and an operator must have in common to be compared, the device first."""
    run = r.task, r.model, r.recipe, r.seed
    return (
        (r.device, *run, r.engine, r.batch_size, r.threads, r.cpu, r.accelerator) if r.kind == "latency" else ("", *run)
    )


def _by_device(times: Sequence[Record]) -> dict[tuple[str, int | None], list[Record]]:
    parts: dict[tuple[str, int | None], list[Record]] = defaultdict(list)
    for r in times:
        parts[r.device, r.threads].append(r)
    return parts


def _sizes(records: Sequence[Record]) -> list[Record]:
    measured = [r for r in records if r.metric == STORAGE and r.kind == "latency"]
    return measured or [r for r in records if r.metric == STORAGE and r.kind == "complexity"]


def _ratio(metric: str, operator: str, records: Sequence[Record], protocol: str, part: str = "") -> Score:
    """Mean ratio of full precision to the operator; what cannot be related is said."""
    full = {_place(r): r for r in records if r.operator == FULL_PRECISION}
    own = [r for r in records if r.operator == operator]
    if not own:
        return Score(NAME, metric, operator, None, note="not measured", part=part)
    ratios: dict[Place, float] = {}
    notes: list[str] = []
    for r in own:
        value, problem = _related(full.get(_place(r)), r)
        if value is not None:
            ratios[_place(r)] = value
        elif problem not in notes:
            notes.append(problem)
    counts = Counter(r.operator for r in records if r.operator != FULL_PRECISION)
    expected = max(counts.values())  # another operator may have been measured in more places
    if len(ratios) < expected:
        notes.insert(0, f"{len(ratios)} of {expected} measurements")
    value = JOINED[protocol](ratios) if ratios else None
    return Score(NAME, metric, operator, value, None, len(ratios), expected, "; ".join(notes), part=part)


def _related(full: Record | None, own: Record) -> tuple[float | None, str]:
    if own.value is None:
        return None, f"{own.status}: {own.reason}"
    if full is None or full.value is None:
        return None, "full precision was not measured"
    for r in (full, own):
        if r.value is None or r.value <= 0:
            return None, f"{r.cell}: a {r.metric} of {r.value}"
    ratio = full.value / own.value
    return (ratio, "") if is_ratio(ratio) else (None, f"{own.cell}: a ratio of {ratio}")


def _plain(ratios: Ratios) -> float:
    return fmean(ratios.values())


def _by_device_first(ratios: Ratios) -> float:
    """Devices weigh equally, however many threads, engines and models were measured on them."""
    devices: dict[str, list[float]] = defaultdict(list)
    for place, value in ratios.items():
        devices[place[0]].append(value)
    return geometric([geometric(values) for values in devices.values()])


JOINED = {PAPER: _plain, BIBENCH: _by_device_first}
