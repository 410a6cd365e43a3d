"""Accuracies with their spread over seeds, against computation by hand."""

import pytest

from bibench.records.accuracies import accuracies, is_score, setting_of, settings
from bibench.records.record import Record

from .test_records import make


def scores(*values: float | None, **more: object) -> list[Record]:
    """One score per seed; None is a failed cell."""
    return [
        make(
            seed=seed, value=value, cell=f"{more}/{seed}", **{"status": "ok" if value is not None else "failed", **more}
        )
        for seed, value in enumerate(values)
    ]


def test_mean_and_standard_deviation_over_seeds_in_percent() -> None:
    (row,) = accuracies(scores(0.5, 0.6, 0.8))
    assert row.mean == pytest.approx((50 + 60 + 80) / 3)
    assert row.std == pytest.approx((((50 - 190 / 3) ** 2 + (60 - 190 / 3) ** 2 + (80 - 190 / 3) ** 2) / 2) ** 0.5)
    assert (row.seeds, row.missing, row.flags) == (3, 0, "")


def test_one_seed_has_no_spread_and_failed_ones_are_counted() -> None:
    (row,) = accuracies(scores(None, 0.4, None))
    assert (row.mean, row.std, row.seeds, row.missing) == (40.0, None, 1, 2)
    (row,) = accuracies(scores(None))
    assert (row.mean, row.std, row.seeds, row.missing) == (None, None, 0, 1)


def test_only_test_scores_count() -> None:
    other = [
        make(split="validation", value=0.9),
        make(kind="task", metric="loss", value=3.0),
        make(kind="model", value=7),
    ]
    (row,) = accuracies(scores(0.5) + other)
    assert (row.mean, row.seeds) == (50.0, 1)
    assert accuracies(other) == []


def test_training_time_is_the_mean_of_the_cells_that_have_one() -> None:
    found = scores(0.5, 0.6, 0.7)
    times = [
        make(kind="training", metric="train_seconds", value=s, cell=r.cell, seed=r.seed)
        for s, r in zip((10.0, 20.0), found, strict=False)
    ]
    assert accuracies(found + times)[0].seconds == 15.0
    assert accuracies(found)[0].seconds is None


def test_flags_are_counted_over_seeds() -> None:
    found = [*scores(0.5, 0.6, flags="collapsed,diverged"), make(seed=2, value=0.7, flags="diverged")]
    assert accuracies(found)[0].flags == "collapsed 2×, diverged 3×"


def test_sources_are_never_mixed_and_a_cell_counts_once() -> None:
    runs, papers = scores(0.5, started="2026-02"), scores(0.9, source="published")
    rows = accuracies([*runs, *papers, *scores(0.1, started="2026-01")])
    assert [(a.source, a.mean, a.seeds) for a in rows] == [("", 50.0, 1), ("published", 90.0, 1)]
    both = [*study("lr=0.1", 0.5, 0.7), *study("lr=0.1", 0.9, source="published")]
    assert [(s.source, s.mean) for s in settings(both) if s.setting == "all"] == [
        ("", pytest.approx(60)),
        ("published", pytest.approx(90)),
    ]


def test_groups_are_never_mixed_and_operators_follow_the_paper() -> None:
    found = [
        *scores(0.1, operator="zzz"),
        *scores(0.2, operator="recu[scale_init=weight]"),
        *scores(0.3, operator="fp32"),
        *scores(0.4, operator="bnn"),
        *scores(0.5, operator="bnn", recipe="paper"),
        *scores(0.6, operator="bnn", model="a_model"),
        *scores(0.7, operator="bnn", task="a_task"),
    ]
    assert [(a.task, a.model, a.recipe, a.operator, a.mean) for a in accuracies(found)] == [
        ("a_task", "vgg_small", "quick", "bnn", 70.0),
        ("tiny", "a_model", "quick", "bnn", 60.0),
        ("tiny", "vgg_small", "paper", "bnn", 50.0),
        ("tiny", "vgg_small", "quick", "fp32", 30.0),
        ("tiny", "vgg_small", "quick", "bnn", 40.0),
        ("tiny", "vgg_small", "quick", "recu[scale_init=weight]", 20.0),
        ("tiny", "vgg_small", "quick", "zzz", 10.0),
    ]


def test_rows_are_plain_data() -> None:
    data = accuracies(scores(0.5, stands_in_for="CIFAR-10"))[0].to_dict()
    assert data["mean"] == 50.0
    assert data["embedded"] is True
    assert all(isinstance(v, str | float | int | bool | None) for v in data.values())


def study(setting: str, *values: float | None, **more: object) -> list[Record]:
    return scores(*values, recipe=f"sensitivity[{setting}]", **{"study": "sensitivity", **more})


class TestSettings:
    SGD, ADAM = "lr=0.1,optimizer=sgd,schedule=step", "lr=0.001,optimizer=adam,schedule=cosine"

    def test_mean_best_and_worst_of_each_setting_after_those_of_all(self) -> None:
        rows = settings([*study(self.SGD, 0.5, 0.7), *study(self.ADAM, 0.8, None)])
        assert [(s.setting, s.mean, s.best, s.worst, s.runs, s.missing) for s in rows] == [
            ("all", pytest.approx(200 / 3), 80, 50, 3, 1),
            ("adam 0.001 cosine", 80, 80, 80, 1, 1),
            ("sgd 0.1 step", pytest.approx(60), 70, 50, 2, 0),
        ]
        assert rows[2].std == pytest.approx(10 * 2**0.5)
        assert rows[1].std is None

    def test_share_of_collapsed_runs(self) -> None:
        flagged = study(self.SGD, 0.1, flags="collapsed,diverged")
        rows = settings([*flagged, *study(self.SGD, 0.1, 0.5, 0.6, 0.7, flags="diverged")[1:]])
        assert {s.collapsed for s in rows} == {25.0}

    def test_runs_that_score_no_better_than_chance_have_collapsed(self) -> None:
        rows = settings(study(self.SGD, 0.1, 0.09, 0.11, 0.7, chance=0.1))
        assert {s.collapsed for s in rows} == {50.0}

    def test_only_failed_runs_have_no_numbers(self) -> None:
        (row, _) = settings(study(self.SGD, None))
        assert (row.mean, row.best, row.worst, row.collapsed, row.missing) == (None, None, None, None, 1)

    def test_records_of_no_study_are_not_counted(self) -> None:
        assert settings(scores(0.5, 0.6)) == []

    def test_operators_models_and_studies_are_apart(self) -> None:
        records = [
            *study(self.SGD, 0.1),
            *study(self.SGD, 0.2, operator="fp32"),
            *study(self.SGD, 0.3, model="a_model"),
            *study(self.SGD, 0.4, study="sensitivity_release"),
        ]
        found = [(s.model, s.study, s.operator, s.mean) for s in settings(records) if s.setting == "all"]
        assert found == [
            ("a_model", "sensitivity", "bnn", 30),
            ("vgg_small", "sensitivity", "fp32", 20),
            ("vgg_small", "sensitivity", "bnn", 10),
            ("vgg_small", "sensitivity_release", "bnn", 40),
        ]

    def test_the_name_of_a_setting_leaves_out_what_the_study_shares(self) -> None:
        (record,) = study(f"epochs=2,{self.SGD}", 0.5, study="sensitivity[epochs=2]")
        assert setting_of(record) == "sgd 0.1 step"
        (record,) = study(f"momentum=0.0,{self.SGD}", 0.5, study="sensitivity_release")
        assert setting_of(record) == "sgd 0.1 step momentum=0.0"


def test_scores_are_from_minus_one_to_one() -> None:
    assert is_score(-1.0) and is_score(0.0) and is_score(1.0)
    assert not is_score(-1.01) and not is_score(1.01) and not is_score(None)
