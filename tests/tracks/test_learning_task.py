"""Equation 2 against computation by hand."""

import math

import pytest

from bibench.records.record import Record
from bibench.tracks import TRACKS, Score
from bibench.tracks.base import is_collapsed

from ..records.test_records import make
from .records import scored

FP, B, X = "fp32", "bnn", "xnor"


def score(records: list[Record]) -> dict[tuple[str, str], Score]:
    rows = TRACKS["learning_task"].score(records)
    assert len({(r.operator, r.metric, r.recipe) for r in rows}) == len(rows)
    return {(r.operator, r.metric): r for r in rows}


def test_ratios_by_task_and_their_quadratic_mean() -> None:
    found = score(
        scored(
            {
                ("t", "m", FP, 0): 0.8,
                ("t", "m", B, 0): 0.4,
                ("t", "n", FP, 0): 0.5,
                ("t", "n", B, 0): 0.45,
                ("u", "m", FP, 0): 0.9,
                ("u", "m", B, 0): 0.81,
            }
        )
    )
    assert found[B, "t"].value == pytest.approx(100 * (0.5 + 0.9) / 2)  # the mean of ratios, not the ratio of means
    assert found[B, "u"].value == pytest.approx(90)
    assert found[B, "om"].value == pytest.approx(math.sqrt((70**2 + 90**2) / 2))
    assert (found[B, "om"].cells, found[B, "om"].expected, found[B, "om"].note) == (2, 2, "")
    assert {operator for operator, _ in found} == {B}  # the baseline is no competitor


def test_a_group_of_tasks_is_one_task() -> None:
    grouped = scored(
        {("g1", "m", FP, 0): 1.0, ("g1", "m", B, 0): 0.2, ("g2", "m", FP, 0): 0.5, ("g2", "m", B, 0): 0.3}, group="g"
    )
    found = score(grouped + scored({("t", "m", FP, 0): 1.0, ("t", "m", B, 0): 0.9}))
    assert set(found) == {(B, "g"), (B, "t"), (B, "om")}
    assert found[B, "g"].value == pytest.approx((20 + 60) / 2)
    assert (found[B, "g"].cells, found[B, "g"].expected) == (2, 2)
    assert found[B, "om"].value == pytest.approx(math.sqrt((40**2 + 90**2) / 2))
    assert (found[B, "om"].cells, found[B, "om"].expected) == (2, 2)


def test_each_task_of_a_group_has_its_own_baseline_and_the_mean_is_over_models_too() -> None:
    table = {("a", "m", FP, 0): 1.0, ("b", "m", FP, 0): 0.5, ("a", "n", FP, 0): 0.8, ("b", "n", FP, 0): 0.4}
    table |= {("a", "m", B, 0): 0.5, ("b", "m", B, 0): 0.5, ("a", "n", B, 0): 0.4, ("b", "n", B, 0): None}
    row = score(scored(table, group="g"))[B, "g"]
    assert row.value == pytest.approx(((50 + 100) / 2 + 50) / 2)  # the model that lacks a task weighs no less
    assert row.note == "3 of 4 cells"


def test_the_error_of_a_group_is_over_seeds() -> None:
    table = {(t, "m", FP, s): 1.0 for t in "ab" for s in (0, 1)}
    table |= {("a", "m", B, 0): 0.2, ("b", "m", B, 0): 0.4, ("a", "m", B, 1): 0.6, ("b", "m", B, 1): 0.8}
    row = score(scored(table, group="g"))[B, "g"]
    assert row.value == pytest.approx(50)
    assert row.std_error == pytest.approx(math.sqrt((20**2 + 20**2) / 1) / math.sqrt(2))


def test_a_negative_correlation_is_no_merit() -> None:
    table = {("t", "m", FP, 0): 0.5, ("t", "m", B, 0): -0.25, ("u", "m", FP, 0): 1.0, ("u", "m", B, 0): 0.6}
    found = score(scored(table))
    assert found[B, "t"].value == pytest.approx(-50)
    assert found[B, "t"].collapsed == 1
    assert found[B, "om"].value == pytest.approx(math.sqrt((0 + 60**2) / 2))


def test_each_seed_is_related_to_the_baseline_of_its_own_seed() -> None:
    found = score(
        scored({("t", "m", FP, 0): 0.5, ("t", "m", FP, 1): 0.8, ("t", "m", B, 0): 0.5, ("t", "m", B, 1): 0.4})
    )
    row = found[B, "t"]
    assert row.value == pytest.approx((100 + 50) / 2)
    assert row.std_error == pytest.approx(math.sqrt(((100 - 75) ** 2 + (50 - 75) ** 2) / 1) / math.sqrt(2))
    assert (row.cells, row.expected) == (2, 2)
    assert found[B, "om"].value == pytest.approx(75)


def test_the_error_is_over_seeds_of_the_mean_over_models() -> None:
    table = {("t", m, FP, s): 1.0 for m in "mn" for s in (0, 1, 2)}
    table |= {("t", "m", B, s): v for s, v in enumerate((0.5, 0.6, 0.7))}
    table |= {("t", "n", B, s): v for s, v in enumerate((0.9, 0.6, 0.9))}
    row = score(scored(table))[B, "t"]
    seeds = [70, 60, 80]
    assert row.value == pytest.approx(70)
    assert row.std_error == pytest.approx(math.sqrt(sum((s - 70) ** 2 for s in seeds) / 2 / 3))


def test_models_weigh_equally_however_many_seeds_they_have() -> None:
    table = {("t", "m", FP, 0): 1.0, ("t", "m", FP, 1): 1.0, ("t", "n", FP, 0): 1.0}
    table |= {("t", "m", B, 0): 0.4, ("t", "m", B, 1): 0.6, ("t", "n", B, 0): 0.9}
    assert score(scored(table))[B, "t"].value == pytest.approx(70)


def test_one_seed_has_no_error() -> None:
    assert score(scored({("t", "m", FP, 0): 1.0, ("t", "m", B, 0): 0.5}))[B, "t"].std_error is None


def test_the_error_is_over_seeds_and_not_over_tasks() -> None:
    """Group g of two tasks, of which one has a single seed: that seeds differ is no spread."""
    table = {("t", "m", FP, s): 1.0 for s in range(3)} | {("u", "m", FP, s): 1.0 for s in range(3)}
    table |= {("t", "m", B, s): 0.9 + 0.01 * s for s in range(3)} | {("u", "m", B, 0): 0.1}
    row = score(scored(table, group="g"))[B, "g"]
    assert (row.value, row.std_error) == (pytest.approx(50.5), None)
    table |= {("u", "m", B, 1): 0.11, ("u", "m", B, 2): 0.12}
    assert score(scored(table, group="g"))[B, "g"].std_error == pytest.approx(1 / 3**0.5)
    del table["u", "m", B, 2]
    assert score(scored(table, group="g"))[B, "g"].std_error == pytest.approx(0.5)  # of seeds 0 and 1


def test_an_overall_metric_over_incomplete_cells_says_so() -> None:
    table = {(t, "m", o, s): 0.5 for t in "tu" for o in (FP, B, X) for s in (0, 1)} | {("t", "m", X, 1): None}
    found = score(scored(table))
    assert (found[X, "om"].cells, found[X, "om"].note) == (2, "3 of 4 cells")
    assert found[B, "om"].note == ""


def test_missing_cells_are_noted() -> None:
    table = {(t, m, FP, 0): 1.0 for t in "tu" for m in "mn"}
    table |= {(t, m, B, 0): 0.5 for t in "tu" for m in "mn"}
    table |= {("t", "m", X, 0): 0.8, ("t", "n", X, 0): None}  # failed; nothing at all on u
    found = score(scored(table))
    assert found[B, "om"].note == ""
    assert (found[X, "t"].value, found[X, "t"].note) == (80.0, "1 of 2 cells")
    assert (found[X, "u"].value, found[X, "u"].note) == (None, "0 of 2 cells")
    assert found[X, "om"].value == pytest.approx(80)
    assert found[X, "om"].note == "1 of 2 tasks"


@pytest.mark.parametrize("baseline", [None, 0.0, -0.1, "absent"])
def test_without_a_usable_baseline_there_is_no_score(baseline: float | str | None) -> None:
    table = {("t", "m", FP, 0): 1.0, ("t", "m", B, 0): 0.5, ("t", "n", B, 0): 0.9}
    if baseline != "absent":
        table["t", "n", FP, 0] = baseline
    row = score(scored(table))[B, "t"]
    problem = "has no score" if baseline in (None, "absent") else f"scores {baseline}"
    note = f"1 of 2 cells; t/n/bnn/0: its full-precision baseline {problem}"
    assert (row.value, row.cells, row.expected, row.note) == (50.0, 1, 2, note)


def test_nothing_usable_gives_rows_without_values() -> None:
    found = score(scored({("t", "m", B, 0): 0.5}))
    assert (found[B, "t"].value, found[B, "t"].note) == (
        None,
        "0 of 1 cells; t/m/bnn/0: its full-precision baseline has no score",
    )
    assert (found[B, "om"].value, found[B, "om"].note) == (None, "0 of 1 tasks")
    assert TRACKS["learning_task"].score([]) == []


def test_operators_with_options_are_rows_of_their_own_in_the_papers_order() -> None:
    names = ("zzz", "fda", "bnn[profile=original]", B)
    table = {("t", "m", o, 0): 0.5 for o in (*names, FP)}
    rows = TRACKS["learning_task"].score(scored(table))
    assert list(dict.fromkeys(r.operator for r in rows)) == [B, "bnn[profile=original]", "fda", "zzz"]


def test_recipes_are_never_averaged() -> None:
    cells = {("t", "m", FP, 0): 1.0, ("t", "m", B, 0): 0.5}
    other = {("t", "m", FP, 0): 0.5, ("t", "m", B, 0): 0.45}
    rows = TRACKS["learning_task"].score(scored(cells, recipe="smoke") + scored(other, recipe="quick[lr=0.1]"))
    assert [(r.recipe, r.metric, r.value) for r in rows] == [
        ("smoke", "t", 50.0),
        ("smoke", "om", 50.0),
        ("quick[lr=0.1]", "t", 90.0),
        ("quick[lr=0.1]", "om", 90.0),
    ]
    assert rows[0].to_dict()["recipe"] == "smoke"


def test_other_records_do_not_count() -> None:
    cells = scored({("t", "m", FP, 0): 1.0, ("t", "m", B, 0): 0.5})
    noise = scored({("t", "m", B, 0): 0.9, ("t", "m", FP, 0): 0.1}, split="validation", kind="task")
    assert score(cells + noise)[B, "t"].value == 50.0


def test_the_papers_accuracies_of_bnn_give_its_relative_scores() -> None:
    """Tables 10-12: CIFAR-10 on four networks and ImageNet on one."""
    raw = {
        ("cifar10", "resnet20"): (91.99, 85.31),
        ("cifar10", "resnet18"): (94.82, 89.69),
        ("cifar10", "resnet34"): (95.34, 90.82),
        ("cifar10", "vgg_small"): (93.8, 89.66),
        ("imagenet", "resnet18"): (69.9, 52.99),
    }
    table = {(*key, o, 0): value / 100 for key, pair in raw.items() for o, value in zip((FP, B), pair, strict=True)}
    found = score(scored(table))
    assert found[B, "cifar10"].value == pytest.approx(94.54, abs=0.005)
    assert found[B, "imagenet"].value == pytest.approx(75.81, abs=0.005)
    assert found[B, "om"].value == pytest.approx(math.sqrt((94.543**2 + 75.808**2) / 2), abs=0.005)


def test_what_scores_as_a_constant_answer_has_collapsed() -> None:
    assert is_collapsed(make(value=0.1, chance=0.1))
    assert is_collapsed(make(value=0.9, chance=0.1, flags="diverged,collapsed"))
    assert not is_collapsed(make(value=0.1001, chance=0.1))
    assert not is_collapsed(make(value=None, status="failed", chance=0.1))
