"""Equation 6 against the paper's raw accuracies (Tables 15-16) and against computation by hand."""

import math
from statistics import pstdev

import pytest

from bibench.operators import PAPER_ORDER
from bibench.published import sensitivity
from bibench.records.record import Record
from bibench.tasks.sensitivity import RELEASE, SENSITIVITY, settings
from bibench.tracks import TRACKS, Score

from ..records.test_records import make

FP, B, X = "fp32", "bnn", "xnor"

# std(full precision) / std(operator) in percent over the 40 accuracies of each operator in Tables 15-16, worked out
# once with another tool.
SENSITIVITIES = {
    "bnn": 27.28,
    "xnor": 175.53,
    "dorefa": 113.40,
    "bireal": 144.59,
    "xnorpp": 28.66,
    "reactnet": 146.06,
    "recu": 53.33,
    "fda": 36.62,
}
FDA_TIME = 20.62
"""Section 5.2.1: "The metric about the training time of FDA is even as high as 20.62%"."""


def run(operator: str, value: float | None, number: int = 0, **more: object) -> Record:
    """A run of the study: the settings take turns, seeds count up."""
    recipes = settings(SENSITIVITY)
    recipe, seed = recipes[number % len(recipes)], number // len(recipes)
    status = "ok" if value is not None else "failed"
    given = {"recipe": recipe, "seed": seed, "study": SENSITIVITY, "task": "cifar10", "model": "resnet18", **more}
    return make(operator=operator, value=value, status=status, cell=f"{operator}/{recipe}/{seed}", **given)


def runs(operator: str, *values: float | None, **more: object) -> list[Record]:
    return [run(operator, value, number, **more) for number, value in enumerate(values)]


def timed(operator: str, ratio: float | None, **more: object) -> Record:
    status = "ok" if ratio is not None else "failed"
    given = {"kind": "cost", "metric": "time_ratio", "split": "", "recipe": SENSITIVITY, "batch_size": 128}
    return make(operator=operator, value=ratio, status=status, **{**given, "threads": 1, "task": "cifar10", **more})


def score(records: list[Record], protocol: str = "bibench") -> dict[tuple[str, str], Score]:
    rows = TRACKS["training_consumption"].score(records, protocol)
    assert len({(r.operator, r.metric, r.recipe) for r in rows}) == len(rows)
    return {(r.operator, r.metric): r for r in rows}


def published() -> list[Record]:
    """The paper's 360 runs as records."""
    return sensitivity.records()


def test_the_suite_has_the_settings_of_the_papers_tables() -> None:
    found = published()
    assert {r.recipe for r in found} == set(settings(RELEASE))
    assert {r.operator for r in found} == set(PAPER_ORDER)
    assert len({(r.recipe, r.operator, r.seed) for r in found}) == len(found) == 8 * 9 * 5


def test_the_papers_accuracies_give_its_sensitivities() -> None:
    found = score(published())
    for operator, expected in SENSITIVITIES.items():
        row = found[operator, "sensitivity"]
        assert row.value == pytest.approx(expected, abs=0.005), operator
        assert (row.cells, row.expected, row.note) == (40, 40, "")
    assert (FP, "sensitivity") not in found


def test_sample_and_population_deviations_agree_on_complete_studies() -> None:
    """Which of both the paper means cannot be told, and need not be: the factor √(n/(n-1)) cancels."""
    values = {o: [r.value for r in published() if r.operator == o] for o in PAPER_ORDER}
    for operator, row in ((o, score(published())[o, "sensitivity"]) for o in ("bnn", "fda")):
        assert row.value == pytest.approx(100 * pstdev(values[FP]) / pstdev(values[operator]))


def test_the_overall_metric_of_fda_from_the_papers_numbers() -> None:
    found = score([*published(), timed("fda", FDA_TIME / 100, recipe=RELEASE, source="published")])
    assert found["fda", "time_cost"].value == pytest.approx(FDA_TIME)
    assert found["fda", "om"].value == pytest.approx(math.sqrt((20.62**2 + 36.62**2) / 2), abs=0.005)
    assert (found["fda", "om"].cells, found["fda", "om"].note) == (2, "")
    assert found["bnn", "om"].value is None


def test_by_hand() -> None:
    records = [*runs(FP, 0.8, 0.9), *runs(B, 0.5, 0.9), timed(B, 0.5)]
    found = score(records)
    assert found[B, "sensitivity"].value == pytest.approx(25)
    assert found[B, "time_cost"].value == pytest.approx(50)
    assert found[B, "om"].value == pytest.approx(math.sqrt((25**2 + 50**2) / 2))


class TestMissingHalves:
    def test_no_time(self) -> None:
        found = score([*runs(FP, 0.8, 0.9), *runs(B, 0.5, 0.9)])
        assert found[B, "time_cost"].value is found[B, "om"].value is None
        assert found[B, "om"].note == "needs time_cost (bibench measure training-cost)"
        assert (found[B, "om"].cells, found[B, "om"].expected) == (1, 2)

    def test_no_study(self) -> None:
        found = score([timed(B, 0.5)])
        assert found[B, "time_cost"].value == 50
        assert found[B, "om"].value is None
        assert found[B, "om"].note == "needs sensitivity (run the suite sensitivity)"

    def test_an_operator_that_is_not_in_the_study(self) -> None:
        found = score([*runs(FP, 0.8, 0.9), *runs(B, 0.5, 0.9), timed(X, 0.5)])
        assert found[X, "sensitivity"].value is None
        assert "0 of 2 runs of xnor" in found[X, "sensitivity"].note
        assert found[X, "om"].note == "needs sensitivity"

    def test_no_full_precision(self) -> None:
        row = score(runs(B, 0.5, 0.9))[B, "sensitivity"]
        assert row.value is None
        assert "0 of 2 runs of fp32" in row.note
        assert "a spread needs two runs" in row.note

    def test_a_time_that_failed_has_its_reason(self) -> None:
        row = score([timed(B, None, reason="boom")])[B, "time_cost"]
        assert (row.value, row.cells, row.expected) == (None, 0, 1)
        assert row.note == "cifar10 vgg_small, batch 128, 1 thread(s): failed: boom"

    def test_nothing(self) -> None:
        assert TRACKS["training_consumption"].score([]) == []
        assert TRACKS["training_consumption"].score([make(operator=FP), make(operator=B)]) == []


def test_failed_runs_are_left_out_and_said() -> None:
    row = score([*runs(FP, 0.8, 0.9, 0.7), *runs(B, 0.5, None, 0.9)])[B, "sensitivity"]
    assert row.value == pytest.approx(100 * 0.1 / (0.4 / math.sqrt(2)))
    assert (row.cells, row.expected) == (2, 3)
    assert "2 of 3 runs of bnn" in row.note


def test_a_part_of_the_grid_is_said() -> None:
    assert "2 of 8 settings" in score([*runs(FP, 0.8, 0.9), *runs(B, 0.5, 0.9)])[B, "sensitivity"].note
    eight = [0.1 * (n + 1) for n in range(8)]
    assert score([*runs(FP, *eight), *runs(B, *eight)])[B, "sensitivity"].note == ""


def test_equal_accuracies_have_no_ratio() -> None:
    row = score([*runs(FP, 0.8, 0.9), *runs(B, 0.1, 0.1)])[B, "sensitivity"]
    assert row.value is None
    assert "all runs of the operator have the same accuracy" in row.note


def test_models_weigh_equally() -> None:
    first = [*runs(FP, 0.8, 0.9), *runs(B, 0.7, 0.9)]
    second = [*runs(FP, 0.8, 0.9, model="vgg_small"), *runs(B, 0.8, 0.9, model="vgg_small")]
    row = score(first + second)[B, "sensitivity"]
    assert row.value == pytest.approx(math.sqrt(50 * 100))
    assert score(first + second, "paper")[B, "sensitivity"].value == pytest.approx((50 + 100) / 2)
    assert "mean over 2 of 2 task × model" in row.note


def test_the_latest_measurement_of_each_configuration_counts() -> None:
    records = [
        timed(B, 0.9, started="2026-01-02T00:00:00.000000+00:00"),
        timed(B, 0.1, started="2026-01-01T00:00:00.000000+00:00"),
        timed(B, 0.5, threads=2),
    ]
    row = score(records)[B, "time_cost"]
    assert row.value == pytest.approx(math.sqrt(90 * 50))
    assert score(records, "paper")[B, "time_cost"].value == pytest.approx((90 + 50) / 2)
    assert row.note == "mean over 2 of 2 configurations; measured twice, the latest counts: 1 cell"


def test_studies_are_never_mixed() -> None:
    """The release's variant, a shortened study and measurements under other recipes stand for themselves."""
    whole = [*runs(FP, 0.8, 0.9), *runs(B, 0.7, 0.9)]
    short = [*runs(FP, 0.1, 0.2, study="sensitivity[epochs=1]"), *runs(B, 0.1, 0.2, study="sensitivity[epochs=1]")]
    rows = TRACKS["training_consumption"].score([*whole, *short, timed(B, 0.5, recipe="paper")])
    values = {(r.recipe, r.metric): r.value for r in rows}
    assert values["sensitivity", "sensitivity"] == pytest.approx(50)
    assert values["sensitivity[epochs=1]", "sensitivity"] == pytest.approx(100)
    assert values["paper", "time_cost"] == 50
    assert values["sensitivity", "time_cost"] is None
    assert all(values[recipe, "om"] is None for recipe in ("sensitivity", "sensitivity[epochs=1]", "paper"))


@pytest.mark.parametrize("name", ["learning_task", "neural_architecture"])
def test_other_tracks_leave_the_settings_of_a_study_alone(name: str) -> None:
    assert TRACKS[name].score([*runs(FP, 0.8, 0.9), *runs(B, 0.7, 0.9)]) == []
