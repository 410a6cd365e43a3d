"""Equation 8 against the paper's ratios and computation by hand."""

import math

import pytest

from bibench.records.record import Record
from bibench.tracks import TRACKS, Score

from ..records.test_records import make


def counted(
    operator: str, compression: float | None, speedup: float | None, suffix: str = "", **more: object
) -> list[Record]:
    given = {"kind": "complexity", "split": "", "operator": operator, "task": "imagenet", "model": "resnet18", **more}
    return [
        make(metric=metric + suffix, value=value, status="ok" if value is not None else "unsupported", **given)
        for metric, value in (("compression", compression), ("speedup", speedup))
    ]


def score(records: list[Record], protocol: str = "bibench") -> dict[tuple[str, str], Score]:
    rows = TRACKS["theoretical_complexity"].score(records, protocol)
    assert len({(r.operator, r.metric, r.recipe) for r in rows}) == len(rows)
    return {(r.operator, r.metric): r for r in rows}


def test_ratios_as_the_paper_prints_them() -> None:
    found = score(counted("bnn", 13.27, 12.60) + counted("fp32", 1.0, 1.0))
    assert (found["bnn", "compression"].value, found["bnn", "speedup"].value) == pytest.approx((13.27, 12.60))
    assert found["bnn", "om"].value == pytest.approx(12.94, abs=0.005)
    assert {operator for operator, _ in found} == {"bnn"}


def test_mean_over_models_before_the_squares() -> None:
    """Geometric: the models of which half the size is left count as those of which twice the size would be."""
    found = score(counted("bnn", 10, 4) + counted("bnn", 40, 9, model="vgg_small"))
    assert found["bnn", "compression"].value == pytest.approx(20)
    assert found["bnn", "speedup"].value == pytest.approx(6)
    assert found["bnn", "om"].value == pytest.approx(math.sqrt((20**2 + 6**2) / 2))
    assert (found["bnn", "speedup"].cells, found["bnn", "speedup"].expected) == (2, 2)


def test_the_papers_protocol_has_its_convention_and_plain_means() -> None:
    papers = counted("bnn", 10, 6, "_paper") + counted("bnn", 20, 8, "_paper", model="vgg_small")
    found = score(papers + counted("bnn", 3, 2) + counted("bnn", 3, 2, model="vgg_small"), "paper")
    assert (found["bnn", "compression"].value, found["bnn", "speedup"].value) == (15, 7)


def test_what_is_counted_by_another_convention_alone_is_said() -> None:
    row = score(counted("bnn", 10, 6), "paper")["bnn", "om"]
    assert row.value is None
    assert row.note == "not counted by this protocol's convention (bibench measure complexity SUITE)"
    assert "(bibench measure complexity)" in score(counted("bnn", 10, 6, "_paper"))["bnn", "om"].note


@pytest.mark.parametrize("ratio", [0.0, -2.0])
def test_impossible_ratios_enter_no_mean(ratio: float) -> None:
    row = score(counted("bnn", 10, 6) + counted("bnn", ratio, 8, model="vgg_small"))["bnn", "compression"]
    assert (row.value, row.cells) == (pytest.approx(10), 1)
    assert f"imagenet vgg_small: a ratio of {ratio}" in row.note


def test_what_was_measured_again_counts_once() -> None:
    old = counted("bnn", 1, 1, started="2024-01-01T00:00:00")
    new = counted("bnn", 10, 6, started="2025-01-01T00:00:00")
    twice, once = score(new + old)["bnn", "om"], score(new)["bnn", "om"]
    assert twice.value == once.value
    assert (once.note, twice.note) == ("", "measured twice, the latest counts: 1 cell")


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
    assert (found["bnn", "compression"].value, found["bnn", "om"].value) == (pytest.approx(10), None)


def test_other_kinds_and_conventions_are_not_read() -> None:
    other = [make(kind="complexity", metric="speedup_products", value=3.0), make(kind="score", value=0.5)]
    assert score(other) == score(other, "paper") == {}


def test_recipes_are_scored_apart() -> None:
    records = counted("bnn", 10, 6, recipe="quick") + counted("bnn", 20, 8, recipe="paper")
    rows = TRACKS["theoretical_complexity"].score(records)
    found = {r.recipe: r.value for r in rows if r.metric == "compression"}
    assert found == pytest.approx({"quick": 10, "paper": 20})
