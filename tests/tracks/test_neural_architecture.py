"""Equation 3 against computation by hand."""

import math

import pytest

from bibench.records.record import Record
from bibench.tracks import TRACKS, Score

from .records import scored

FP, B, X = "fp32", "bnn", "xnor"


def score(records: list[Record]) -> dict[tuple[str, str], Score]:
    rows = TRACKS["neural_architecture"].score(records)
    assert len({(r.operator, r.metric, r.recipe) for r in rows}) == len(rows)
    return {(r.operator, r.metric): r for r in rows}


def both(task: str, model: str, value: float, operator: str = B) -> dict[tuple[str, str, str, int], float]:
    return {(task, model, FP, 0): 0.5, (task, model, operator, 0): value / 2}


def test_families_are_averaged_over_tasks_and_models_and_joined_by_the_quadratic_mean() -> None:
    cnn = scored(both("t", "resnet", 0.9) | both("u", "resnet", 0.7) | both("u", "vgg", 0.5), family="cnn")
    transformer = scored(both("v", "bert", 0.4), family="transformer")
    mlp = scored(both("w", "pointnet", 0.8), family="mlp")
    found = score(cnn + transformer + mlp)
    assert found[B, "cnn"].value == pytest.approx(70)
    assert found[B, "transformer"].value == pytest.approx(40)
    assert found[B, "mlp"].value == pytest.approx(80)
    assert found[B, "om"].value == pytest.approx(math.sqrt((70**2 + 40**2 + 80**2) / 3))
    assert (found[B, "om"].cells, found[B, "om"].expected, found[B, "om"].note) == (3, 3, "")


def test_the_rows_of_a_group_do_not_outweigh_other_tasks() -> None:
    parts = {k: v for n in range(16) for k, v in both(f"part{n}", "seg", 0.2 if n else 1.0).items()}
    found = score(scored(parts, family="mlp", group="parts") + scored(both("t", "fsmn", 0.75), family="mlp"))
    assert found[B, "mlp"].value == pytest.approx(((15 * 20 + 100) / 16 + 75) / 2)
    assert (found[B, "mlp"].cells, found[B, "mlp"].expected) == (17, 17)


def test_families_without_cells_are_left_out_and_noted() -> None:
    found = score(scored(both("t", "resnet", 0.6), family="cnn") + scored(both("t", "mixer", 0.8), family="mlp"))
    assert (found[B, "transformer"].value, found[B, "transformer"].note) == (None, "no cells")
    assert found[B, "om"].value == pytest.approx(math.sqrt((60**2 + 80**2) / 2))
    assert found[B, "om"].note == "2 of 3 families"


def test_missing_cells_are_noted_for_the_operator_that_lacks_them() -> None:
    table = both("t", "resnet", 0.6) | both("t", "vgg", 0.8) | both("t", "vgg", 0.9, X)
    found = score(scored(table, family="cnn"))
    assert (found[B, "cnn"].value, found[B, "cnn"].note) == (pytest.approx(70), "")
    assert (found[X, "cnn"].value, found[X, "cnn"].note) == (pytest.approx(90), "1 of 2 cells")
    assert (found[X, "cnn"].cells, found[X, "cnn"].expected) == (1, 2)


def test_several_seeds_give_an_error() -> None:
    table = {("t", "m", FP, s): 1.0 for s in (0, 1)} | {("t", "m", B, 0): 0.5, ("t", "m", B, 1): 0.7}
    row = score(scored(table, family="mlp"))[B, "mlp"]
    assert row.value == pytest.approx(60)
    assert row.std_error == pytest.approx(10 * math.sqrt(2) / math.sqrt(2))
    assert score(scored(table, family="mlp"))[B, "om"].std_error is None


def test_a_zero_baseline_counts_as_missing() -> None:
    table = both("t", "resnet", 0.6) | {("t", "vgg", FP, 0): 0.0, ("t", "vgg", B, 0): 0.5}
    row = score(scored(table, family="cnn"))[B, "cnn"]
    assert (row.value, row.note) == (
        pytest.approx(60),
        "1 of 2 cells; t/vgg/bnn/0: its full-precision baseline scores 0.0",
    )


def test_recipes_are_never_averaged() -> None:
    rows = TRACKS["neural_architecture"].score(
        scored(both("t", "m", 0.5), recipe="a") + scored(both("t", "m", 0.9), recipe="b")
    )
    assert [(r.recipe, r.value) for r in rows if r.metric == "cnn"] == [("a", 50.0), ("b", 90.0)]
