"""Training consumption: time of a training step and sensitivity to its settings (Section 3.2, Eq. 6).

OM_train = √(½ (E²(T / T_bi) + E²(std(A) / std(A_bi)))), with T the training time and A the accuracies
under all settings × seeds of the sensitivity study, pooled; T and A are of full precision, T_bi and
A_bi of the operator. In percent: 100 means as fast, or as stable, as full precision. Ratios of several models
or configurations are averaged geometrically under the protocol ``bibench``, plainly under ``paper``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import stdev

from bibench.data.remembered import remembered
from bibench.foundation.choice import recorded
from bibench.operators import FULL_PRECISION, paper_order
from bibench.records.accuracies import is_score
from bibench.records.record import Record, is_collapsed
from bibench.tracks.base import MEANS, Score, by_study, is_ratio, quadratic_mean, track

NAME = "training_consumption"
REMEDIES = {"sensitivity": "run the suite sensitivity", "time_cost": "bibench measure training-cost"}


@track(NAME, "Training consumption", "Eq. 6", parts=by_study)
def score(records: Sequence[Record], protocol: str) -> list[Score]:
    """Per operator the ratios of time and of spread to full precision; OM only where both are known."""
    runs = [r for r in records if r.kind == "score" and r.split == "test" and r.study]
    times = [r for r in records if r.kind == "cost" and r.metric == "time_ratio"]
    rows = []
    for operator in sorted({r.operator for r in runs + times} - {FULL_PRECISION}, key=paper_order):
        halves = [_sensitivity(runs, operator, protocol), _time(times, operator, protocol)]
        rows += halves
        values = [half.value for half in halves]
        known = sum(value is not None for value in values)
        # The mean over one half would rank operators by something else than those that have both.
        overall = quadratic_mean(values) if known == 2 else None
        lacking = [half for half in halves if half.value is None]
        note = "; ".join(f"needs {h.metric}" + ("" if h.expected else f" ({REMEDIES[h.metric]})") for h in lacking)
        rows.append(Score(NAME, "om", operator, overall, None, known, 2, note))
    return rows


def _sensitivity(runs: Sequence[Record], operator: str, protocol: str) -> Score:
    """Mean over task × model of std(full precision) / std(operator), each over all runs of the study.

    Standard deviations of a sample: with as many runs on both sides, as in the paper, the ratio is that
    of populations too; where runs failed, it is not biased by their number.
    """
    if not runs:
        return Score(NAME, "sensitivity", operator, None, note="not studied")
    by_place: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        by_place[run.task, run.model][run.operator].append(run)
    values, notes, found, expected = [], [], 0, 0
    for (task, model), by_operator in by_place.items():
        complete = max(map(len, by_operator.values()))
        own, reference = (_accuracies(by_operator.get(o, [])) for o in (operator, FULL_PRECISION))
        found, expected = found + len(own), expected + complete
        ratio, problem = _spread_ratio(reference, own)
        incomplete = [
            f"{len(accuracies)} of {complete} runs of {name}"
            for name, accuracies in ((FULL_PRECISION, reference), (operator, own))
            if len(accuracies) < complete
        ]
        settings = {run.recipe for runs_ in by_operator.values() for run in runs_}
        if len(settings) < (size := _grid_size(task, runs[0].study)):
            incomplete.append(f"{len(settings)} of {size} settings")
        if problem:
            incomplete.append(problem)
        if incomplete:
            notes.append(f"{task} {model}: {', '.join(incomplete)}")
        if ratio is not None:
            values.append(100 * ratio)
    if len(by_place) > 1:
        notes.append(f"mean over {len(values)} of {len(by_place)} task × model")
    collapsed = sum(is_collapsed(run) for run in runs if run.operator == operator)
    if collapsed:
        notes.append(f"{collapsed} collapsed")
    value = MEANS[protocol](values) if values else None
    return Score(NAME, "sensitivity", operator, value, None, found, expected, "; ".join(notes), collapsed=collapsed)


def _grid_size(task: str, study: str) -> int:
    """How many settings the study has, as far as the task's recipes tell."""
    return remembered("grids", _grids).get(task, {}).get(recorded(study).name, 0)


def _grids() -> dict[str, dict[str, int]]:
    """How many settings each recipe of each task has."""
    from bibench.tasks import TASKS

    return {task: {name: len(recipe.grid) for name, recipe in TASKS[task].recipes.items()} for task in TASKS}


def _accuracies(runs: Sequence[Record]) -> list[float]:
    return [run.value for run in runs if run.value is not None and is_score(run.value)]


def _spread_ratio(reference: Sequence[float], own: Sequence[float]) -> tuple[float | None, str]:
    if min(len(own), len(reference)) < 2:
        return None, "a spread needs two runs"
    if stdev(own) == 0:
        return None, "all runs of the operator have the same accuracy"
    if stdev(reference) == 0:
        return None, "all runs of full precision have the same accuracy"
    return stdev(reference) / stdev(own), ""


def _time(times: Sequence[Record], operator: str, protocol: str) -> Score:
    """Mean over configurations of full precision's time / the operator's.

    A configuration is a task, model, batch size, number of threads and machine.
    """
    own = [r for r in times if r.operator == operator]
    if not own:
        return Score(NAME, "time_cost", operator, None, note="not measured")
    values = [100 * r.value for r in own if r.value is not None and is_ratio(r.value)]
    notes = [f"{_configuration(r)}: {r.status}: {r.reason}" for r in own if r.value is None]
    notes += [
        f"{_configuration(r)}: a ratio of {r.value}" for r in own if r.value is not None and not is_ratio(r.value)
    ]
    if len(own) > 1:
        notes.insert(0, f"mean over {len(values)} of {len(own)} configurations")
    value = MEANS[protocol](values) if values else None
    return Score(NAME, "time_cost", operator, value, None, len(values), len(own), "; ".join(notes))


def _configuration(r: Record) -> str:
    return f"{r.task} {r.model}, batch {r.batch_size}, {r.threads} thread(s)"
