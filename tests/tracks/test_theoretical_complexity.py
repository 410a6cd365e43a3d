"""Equation 8 against the paper's ratios and computation by hand."""

import math

import pytest

from bibench.records import Record
from bibench.tracks import TRACKS, Score

from ..test_records import make


def counted(operator: str, compression: float | None, speedup: float | None, **more: object) -> list[Record]:
    given = {"kind": "complexity", "split": "", "operator": operator, "task": "imagenet", "model": "resnet18", **more}
    return [
        make(metric=metric, value=value, status="ok" if value is not None else "unsupported", **given)
        for metric, value in (("compression", compression), ("speedup", speedup))
    ]


def score(records: list[Record]) -> dict[tuple[str, str], Score]:
    rows = TRACKS["theoretical_complexity"].score(records)
    assert len({(r.operator, r.metric, r.recipe) for r in rows}) == len(rows)
    return {(r.operator, r.metric): r for r in rows}


def test_ratios_as_the_paper_prints_them() -> None:
    found = score(counted("bnn", 13.27, 12.60) + counted("fp32", 1.0, 1.0))
    assert (found["bnn", "compression"].value, found["bnn", "speedup"].value) == (13.27, 12.60)
    assert found["bnn", "om"].value == pytest.approx(12.94, abs=0.005)
    assert {operator for operator, _ in found} == {"bnn"}


def test_mean_over_models_before_the_squares() -> None:
    found = score(counted("bnn", 10, 6) + counted("bnn", 20, 8, model="vgg_small"))
    assert (found["bnn", "compression"].value, found["bnn", "speedup"].value) == (15, 7)
    assert found["bnn", "om"].value == pytest.approx(math.sqrt((15**2 + 7**2) / 2))
    assert (found["bnn", "speedup"].cells, found["bnn", "speedup"].expected) == (2, 2)


def test_what_was_measured_again_counts_once() -> None:
    old = counted("bnn", 1, 1, started="2024-01-01T00:00:00")
    new = counted("bnn", 10, 6, started="2025-01-01T00:00:00")
    assert score(new + old)["bnn", "om"] == score(new)["bnn", "om"]


def test_missing_and_unsupported_models_are_said() -> None:
    records = counted("bnn", 10, 6) + counted("bnn", 20, 8, model="vgg_small") + counted("xnor", 9, 5)
    records += counted("xnorpp", None, None, reason="map unknown")
    found = score(records)
    assert found["xnor", "om"].note == "1 of 2 task × model"
    assert found["xnorpp", "om"].value is None
    assert "unsupported: map unknown" in found["xnorpp", "om"].note
    assert found["bnn", "om"].note == ""


def test_half_an_operator_has_no_overall_metric() -> None:
    found = score(counted("bnn", 10, 6)[:1])
    assert (found["bnn", "compression"].value, found["bnn", "om"].value) == (10, None)


def test_other_kinds_and_conventions_are_not_read() -> None:
    other = [make(kind="complexity", metric="speedup_paper", value=3.0), make(kind="score", value=0.5)]
    assert score(other) == {}


def test_recipes_are_scored_apart() -> None:
    records = counted("bnn", 10, 6, recipe="quick") + counted("bnn", 20, 8, recipe="paper")
    rows = TRACKS["theoretical_complexity"].score(records)
    assert {(r.recipe, r.value) for r in rows if r.metric == "compression"} == {("quick", 10), ("paper", 20)}
