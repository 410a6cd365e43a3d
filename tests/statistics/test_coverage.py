"""Coverage: what is there, failed, stale or never ran."""

import pytest

from bibench.execution.plan import PlanRow
from bibench.foundation.choice import choice
from bibench.statistics import coverage
from bibench.suite.cell import Cell

from .worlds import FP, B, X, cell, full


def row(operator: str, seed: int, state: str, reason: str = "") -> PlanRow:
    return PlanRow(
        Cell(choice("digits_photos"), choice("vgg_small"), choice(operator), choice("quick"), seed), state, reason
    )


def test_states_of_a_plan() -> None:
    plan = [row(FP, 0, "done"), row(B, 0, "done"), row(B, 1, "failed", "boom")]
    plan += [row(X, 0, "stale", "changed since: model code"), row(X, 1, "missing")]
    plan += [row("recu", 0, "unsupported", "too small"), row("recu", 1, "interrupted")]
    found = coverage([], plan)
    assert found.line == "3 of 7 cells: 1 failed, 1 interrupted, 1 never ran, 1 stale, 1 unsupported"
    assert not found.complete
    by_operator = {r.operator: r for r in found.rows}
    assert by_operator[B].states == {"done": 1, "failed": 1}
    assert by_operator[B].reasons == ("failed: boom",)
    assert by_operator[X].reasons == ("stale: changed since: model code",)
    assert [r.operator for r in found.rows] == [FP, B, X, "recu"]


def test_a_complete_plan() -> None:
    found = coverage([], [row(FP, 0, "done"), row(B, 0, "done")])
    assert (found.line, found.complete) == ("2 of 2 cells", True)


def test_records_alone_span_a_grid() -> None:
    records = full(2, "tu") + cell(B, 0.5, None) + cell(B, 0.5, 0.5, task="u") + cell(X, 0.5, task="u")
    found = coverage(records)
    assert found.line == "8 of 12 cells: 1 failed, 3 never ran"
    assert "staleness is unknown" in found.basis
    states = {(r.task, r.operator): r.states for r in found.rows}
    assert states["t", X] == {"never ran": 2}
    assert states["u", X] == {"done": 1, "never ran": 1}


def test_settings_of_a_study_are_cells_of_one_row() -> None:
    records = [r for lr in (1, 2) for r in full(3, study="s", recipe=f"s[lr={lr}]")]
    (only,) = coverage(records).rows
    assert (only.recipe, only.expected, only.done) == ("s", 6, 6)


def test_measurements_of_trained_cells() -> None:
    plan = [row(FP, 0, "done"), row(B, 0, "done"), row(B, 1, "missing")]
    measured = cell(FP, 0.9, task="digits_photos", model="vgg_small", kind="corruption")
    found = coverage(measured, plan, kind="corruption")
    assert found.line == "1 of 3 cells: 1 never ran, 1 not measured"
    assert found.rows[1].reasons == ("not measured: no corruption of it",)


def test_sources_and_recipes_do_not_owe_each_other_cells() -> None:
    records = full(1) + cell(B, 0.5) + full(2, source="published") + cell(X, 0.5, recipe="other")
    assert coverage(records).line == "5 of 5 cells"


@pytest.mark.parametrize("plan", [None, []])
def test_nothing(plan: list | None) -> None:
    found = coverage([], plan)
    assert (found.line, found.rows) == ("0 of 0 cells", ())
    assert found.to_dict()["states"] == {}
