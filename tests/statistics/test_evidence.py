"""The sentence that stands first: from one seed and one task to enough of both."""

import pytest

from bibench.statistics import Evidence, thin
from bibench.statistics.evidence import evidence_of
from bibench.statistics.layout import layouts

from ..records.test_records import make
from .worlds import B, X, cell, full, world

TWO = "the interval of two seeds rests on one difference, so that another seed may move it far"
SEED = "one seed does not tell how far another would move a score"


@pytest.mark.parametrize(
    ("seeds", "tasks", "said"),
    [
        ((1, 1), 1, f"One seed, one task: {SEED}, and one task does not speak for others."),
        ((1, 1), 5, f"One seed, five tasks: {SEED}, and so few tasks hardly speak for others."),
        ((1, 1), 10, f"One seed, ten tasks: {SEED}, and so few tasks hardly speak for others."),
        ((1, 1), 11, f"One seed, eleven tasks: {SEED}."),
        ((1, 1), 13, f"One seed, 13 tasks: {SEED}."),
        ((1, 3), 5, f"One to three seeds, five tasks: {SEED}, and so few tasks hardly speak for others."),
        ((1, 3), 20, f"One to three seeds, 20 tasks: {SEED}."),
        ((2, 2), 5, f"Two seeds, five tasks: {TWO}, and so few tasks hardly speak for others."),
        ((3, 3), 1, "Three seeds, one task: one task does not speak for others."),
        ((2, 2), 11, f"Two seeds, eleven tasks: {TWO}."),
        ((2, 5), 11, f"Two to five seeds, eleven tasks: {TWO}."),
        ((1, 2), 11, f"One to two seeds, eleven tasks: {SEED}, and {TWO}."),
        ((3, 3), 11, ""),
        (None, 5, "Five tasks: so few tasks hardly speak for others."),
        (None, 11, ""),
        ((1, 1), 0, ""),
    ],
)
def test_one_track(seeds: tuple[int, int] | None, tasks: int, said: str) -> None:
    assert thin([("Learning task", Evidence(seeds, tasks))]) == said


def test_several_tracks_are_named_and_those_with_enough_are_not() -> None:
    found = thin(
        [
            ("A", Evidence((1, 1), 5)),
            ("B", Evidence((1, 1), 5)),
            ("C", Evidence((3, 3), 12)),
            ("D", Evidence(None, 3, "task × model")),
        ]
    )
    assert found == (
        f"One seed, five tasks (A, B); three task × model pairs (D): {SEED}, and so few tasks hardly speak for others."
    )
    assert thin([]) == ""


def test_seeds_and_tasks_are_those_of_the_cells() -> None:
    (layout,) = layouts(world({B: {"t": 0.5, "u": 0.6}, X: {"t": 0.5, "u": 0.6}}, 3), "learning_task")
    assert evidence_of(layout) == Evidence((3, 3), 2)
    records = full(3) + cell(B, 0.5, 0.6, 0.5) + cell(X, 0.5, None, None)
    assert evidence_of(layouts(records, "learning_task")[0]) == Evidence((1, 3), 1)
    grouped = full(1, ("g1", "g2"), group="g") + cell(B, 0.5, task="g1", group="g") + cell(B, 0.5, task="g2", group="g")
    assert evidence_of(layouts(grouped, "learning_task")[0]) == Evidence((1, 1), 1)


def test_what_is_counted_without_training_has_no_seeds() -> None:
    records = [
        make(operator=o, kind="complexity", metric=m, split="", unit="", value=v, task=t)
        for t in ("t", "u")
        for o, v in (("fp32", 8e6), ("bnn", 4e5))
        for m in ("storage", "operations")
    ]
    for metric in ("om", "compression"):
        for layout in layouts(records, "theoretical_complexity", metric):
            assert evidence_of(layout).seeds is None
            assert evidence_of(layout).unit == "task × model"
