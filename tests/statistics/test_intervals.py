"""Bootstrap intervals: the point is the track's, the width known where it can be computed, the truth covered."""

import math
import random as random_
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bibench.foundation.errors import BiBenchError
from bibench.records.record import Record, read
from bibench.statistics import Interval, intervals
from bibench.statistics.bootstrap import degrees_of_freedom, draw
from bibench.statistics.layout import layouts
from bibench.tracks import TRACKS

from ..records.test_records import make
from ..tracks.records import scored
from .worlds import FP, B, X, cell, full, world

PUBLISHED = read([Path("published")])


@pytest.mark.parametrize("protocol", ["bibench", "paper"])
@pytest.mark.parametrize("track", [name for name in TRACKS if not TRACKS[name].comparators])
def test_the_point_is_the_tracks_own_score_for_every_metric_of_the_paper(track: str, protocol: str) -> None:
    scores = TRACKS[track].score(PUBLISHED, protocol)
    checked = 0
    for metric in {row.metric for row in scores if "[" not in row.metric}:
        for layout in layouts(PUBLISHED, track, metric, protocol):
            for score, own in zip(layout.scores, layout.point(), strict=True):
                if score.value is not None:
                    assert own == pytest.approx(score.value, abs=1e-9), (metric, score.operator)
                    checked += 1
    assert checked > 0 or (track, protocol) == ("theoretical_complexity", "bibench")


def ragged() -> list[Record]:
    """Groups, families, missing seeds and a failed baseline."""
    table: dict[tuple[str, str, str, int], float | None] = {}
    random = np.random.default_rng(3)
    for task, models in {"g1": "mn", "g2": "m", "t": "mn"}.items():
        for model in models:
            for seed in range(3):
                for operator in (FP, B, X):
                    table[task, model, operator, seed] = float(random.uniform(0.3, 0.9))
    table["g1", "m", B, 1] = table["t", "n", X, 0] = table["t", "m", FP, 2] = None
    del table["t", "n", B, 2]
    made = scored(table)
    families = {"m": "cnn", "n": "mlp"}
    return [make(**{**vars(r), "group": "g" * r.task.startswith("g"), "family": families[r.model]}) for r in made]


@pytest.mark.parametrize("track", ["learning_task", "neural_architecture"])
def test_the_point_is_the_tracks_own_where_cells_are_missing(track: str) -> None:
    rows = intervals(ragged(), track)
    scores = {s.operator: s.value for s in TRACKS[track].score(ragged()) if s.metric == "om"}
    assert {row.operator: row.value for row in rows} == scores
    assert not any("no interval" in row.note for row in rows)
    assert all(row.low < row.value < row.high for row in rows)


def corrupted() -> list[Record]:
    made = []
    for task in "tu":
        for seed in range(3):
            for n, operator in enumerate((FP, B)):
                for s in range(3):
                    accuracy = 0.9 - 0.1 * s - 0.05 * n * (s + 1) - 0.01 * seed * n * s
                    more = {"corruption": "fog" if s else "none", "severity": s, "kind": "corruption"}
                    made += scored({(task, "m", operator, seed): accuracy}, **more)
    return made


def test_corruption_robustness_over_seeds_and_tasks() -> None:
    for metric in ("om", "robust", "mce", "relative_mce"):
        (row,) = intervals(corrupted(), "corruption_robustness", metric=metric)
        (score,) = (s for s in TRACKS["corruption_robustness"].score(corrupted()) if s.metric == metric)
        assert row.value == score.value
        assert row.low < row.value < row.high


def timed(operators: dict[str, tuple[float, ...]]) -> list[Record]:
    return [
        make(kind="latency", metric="latency_ms", split="", operator=o, value=v, device=f"d{n}", engine="e",
             cell=f"{o}/{n}", task=f"t{n}")
        for o, values in operators.items()
        for n, v in enumerate(values)
    ]  # fmt: skip


def test_latencies_are_averaged_geometrically_and_resampled_over_tasks() -> None:
    (row,) = intervals(timed({FP: (8, 8, 8), B: (1, 2, 4)}), "hardware_inference", metric="speedup", over="tasks")
    assert row.value == pytest.approx(4)
    assert row.low < 4 < row.high
    assert math.log(row.high / 4) == pytest.approx(-math.log(row.low / 4), rel=0.1)  # a ratio: symmetric in logs
    assert row.high > 8  # three numbers that differ by factors of two do not tell much


def test_the_width_of_a_mean_over_tasks_of_equal_scores_is_known() -> None:
    """Where all parts have the same mean, OM is close to their mean, whose standard error is that of 4 × 5 runs."""
    records = world({B: dict.fromkeys("tuvw", 0.8)}, 5, 0.02, of=1)
    (row,) = intervals(records, "learning_task", samples=4000)
    cells = {task: [100 * r.value for r in records if r.operator == B and r.task == task] for task in "tuvw"}
    error = math.sqrt(sum(np.var(v, ddof=1) / len(v) for v in cells.values())) / 4
    assert row.std_error == pytest.approx(error, rel=0.06)


def coverage(seeds: int, tasks: str, trials: int, over: str, spread: float) -> float:
    """How often the interval of bnn's metric covers the truth."""
    random, hits = np.random.default_rng(seeds), 0
    for trial in range(trials):
        means = {B: {t: 0.6 + spread * float(random.standard_normal()) for t in tasks}}
        (row,) = intervals(world(means, seeds, 0.02, of=trial), "learning_task", over=over, samples=200, seed=trial)
        truth = math.sqrt(np.mean(np.square([100 * m for m in means[B].values()])))
        hits += row.low <= (truth if over == "seeds" else math.sqrt(0.6**2 + spread**2) * 100) <= row.high
    return hits / trials


@pytest.mark.parametrize(("seeds", "tasks"), [(2, "tuvwx"), (3, "tuv"), (5, "t")])
def test_intervals_over_seeds_cover_the_truth(seeds: int, tasks: str) -> None:
    assert coverage(seeds, tasks, 150, "seeds", 0.1) > 0.88


def test_intervals_over_tasks_cover_the_truth_of_the_population() -> None:
    assert coverage(1, "tuvwxyz", 150, "tasks", 0.05) > 0.87


def test_luck_that_a_seed_gives_to_all_operators_cancels_in_their_difference() -> None:
    records = world({B: {"t": 0.5}, X: {"t": 0.52}}, 5, 0.001, shared=0.1)
    (layout,) = layouts(records, "learning_task")
    drawn = draw(layout, "seeds", 500, 0)
    value = layout.point()
    low, high = drawn.of(0, value[0], 0.95)
    assert low < value[1] < high  # the intervals of the two overlap by nearly all of them
    assert drawn.p_of_difference(0, 1, value) < 1e-4


def test_degrees_of_freedom_of_equal_variances_add_up() -> None:
    records = full(3, "tu")
    for task in "tu":
        records += cell(B, 0.49, 0.50, 0.51, task=task)
    (layout,) = layouts(records, "learning_task")
    assert degrees_of_freedom(layout, 0) == pytest.approx(4)


def test_one_seed_gives_no_interval_over_seeds_and_one_task_none_over_tasks() -> None:
    records = full(1, "tu") + cell(B, 0.5) + cell(B, 0.6, task="u")
    (row,) = intervals(records, "learning_task")
    assert (row.low, row.high, row.std_error, row.note) == (None, None, None, "no interval over seeds: no cell has two")
    (row,) = intervals(full(2) + cell(B, 0.5, 0.6), "learning_task", over="tasks")
    assert (row.low, row.note) == (None, "no interval over tasks: there is one")


def test_cells_of_one_seed_beside_others_are_said() -> None:
    records = full(2, "tu") + cell(B, 0.5, 0.6) + cell(B, 0.6, task="u")
    (row,) = intervals(records, "learning_task")
    assert row.low is not None
    assert "1 of 2 cells have one seed: the interval is too narrow" in row.note


def test_sensitivity_resamples_runs_within_settings() -> None:
    random = np.random.default_rng(0)
    records = []
    for setting in range(4):
        for seed in range(5):
            for operator, spread in ((FP, 0.02), (B, 0.04)):
                value = 0.8 + spread * (setting - 1.5) + 0.01 * float(random.standard_normal())
                records += scored({("t", "m", operator, seed): value}, study="s", recipe=f"s[lr={setting}]")
    (row,) = intervals(records, "training_consumption", metric="sensitivity")
    (score,) = (s for s in TRACKS["training_consumption"].score(records) if s.metric == "sensitivity")
    assert row.value == score.value
    assert row.low < row.value < row.high
    assert row.high - row.low < 40


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"over": "luck"}, "seeds, tasks"), ({"samples": 5}, "at least 100"), ({"level": 95}, "between 0 and 1"),
     ({"protocol": "papre"}, "paper")],
)  # fmt: skip
def test_bad_arguments_are_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(BiBenchError, match=said):
        intervals(full(2) + cell(B, 0.5, 0.6), "learning_task", **asked)


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly() -> None:
    records = world({B: {"t": 0.5, "u": 0.7}}, 4)
    one, same, other = (intervals(records, "learning_task", seed=s)[0] for s in (0, 0, 1))
    assert one == same
    assert one.low != other.low and one.low == pytest.approx(other.low, abs=0.5)


def test_recipes_and_sources_are_apart() -> None:
    ours = world({B: {"t": 0.5}}, 3)
    paper = world({B: {"t": 0.6}}, 3, source="published")
    other = world({B: {"t": 0.7}}, 3, recipe="other")
    rows = intervals(ours + paper + other, "learning_task")
    assert [(r.source, r.recipe, round(r.value, -1)) for r in rows] == [
        ("", "quick", 50), ("", "other", 70), ("published", "quick", 60),
    ]  # fmt: skip


def key(row: Interval) -> tuple[str, str]:
    return row.recipe, row.operator


@settings(max_examples=15)
@given(st.randoms(use_true_random=False), st.sampled_from(["seeds", "tasks"]))
def test_the_order_of_records_does_not_matter(shuffle: random_.Random, over: str) -> None:
    records = ragged()
    before = sorted(intervals(records, "learning_task", samples=100, over=over), key=key)
    shuffle.shuffle(records)
    for one, other in zip(
        before, sorted(intervals(records, "learning_task", samples=100, over=over), key=key), strict=True
    ):
        assert (one.operator, one.note) == (other.operator, other.note)
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


@settings(max_examples=20)
@given(
    st.lists(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=4), min_size=1, max_size=4), st.integers(0, 2**32 - 1)
)
def test_samples_are_what_the_track_says_of_records_that_were_drawn(values: list[list[float]], seed: int) -> None:
    """Seeds drawn by hand, their records renumbered and scored by the track; the arrays give the same."""
    tasks, random = "tuvw"[: len(values)], np.random.default_rng(seed)
    records, drawn, sample = full(4, tasks), full(4, tasks), []
    for task, own in zip(tasks, values, strict=True):
        picked = [own[i] for i in random.integers(0, len(own), len(own))]
        records += cell(B, *own, task=task)
        drawn += cell(B, *picked, task=task)
        sample.append(100 * np.mean(picked))
    (layout,) = layouts(records, "learning_task")
    (score,) = (s for s in TRACKS["learning_task"].score(drawn) if s.metric == "om")
    means = layout.means()
    for c, place in enumerate(layout.place):
        means[c, 0] = sample[tasks.index(layout.places[place].task)]
    assert layout.overall(means)[0] == pytest.approx(score.value)
