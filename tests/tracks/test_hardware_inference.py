"""Equation 9 against computation by hand."""

import math

import pytest

from bibench.records.record import Record
from bibench.tracks import TRACKS, Score

from ..records.test_records import make

FP, B, R = "fp32", "bnn", "reactnet"


def timed(operator: str, milliseconds: float | None, **more: object) -> Record:
    given = {"kind": "latency", "metric": "latency_ms", "split": "", "unit": "ms", "task": "imagenet", "batch_size": 1}
    where = {"device": "Pi", "threads": 1, "engine": "larq", "status": "ok" if milliseconds is not None else "failed"}
    return make(operator=operator, value=milliseconds, cell=operator, **{**given, **where, **more})


def stored(operator: str, size: float, **more: object) -> Record:
    given = {"kind": "complexity", "metric": "storage", "split": "", "unit": "B", "task": "imagenet", **more}
    return make(operator=operator, value=size, cell=operator, **given)


def score(records: list[Record], protocol: str = "bibench") -> dict[tuple[str, str], Score]:
    rows = TRACKS["hardware_inference"].score(records, protocol)
    assert len({(r.operator, r.metric, r.recipe, r.source) for r in rows}) == len(rows)
    return {(r.operator, r.metric): r for r in rows}


PLACES = [("Pi", 1, 100.0, 10.0), ("Pi", 2, 60.0, 15.0), ("M1", 1, 8.0, 4.0)]
TIMES = [
    timed(operator, value, device=device, threads=threads)
    for device, threads, full, own in PLACES
    for operator, value in ((FP, full), (B, own))
]
SIZES = [stored(FP, 44e6), stored(B, 4e6)]


def test_both_protocols() -> None:
    papers, ours = score(TIMES + SIZES, "paper"), score(TIMES + SIZES)
    assert papers[B, "speedup"].value == pytest.approx((10 + 4 + 2) / 3)
    assert ours[B, "speedup"].value == pytest.approx(math.sqrt(math.sqrt(10 * 4) * 2))
    for found in (papers, ours):
        assert found[B, "compression"].value == pytest.approx(11)
        speedup = found[B, "speedup"].value
        assert found[B, "om"].value == pytest.approx(math.sqrt((speedup**2 + 11**2) / 2))
        assert (found[B, "speedup"].cells, found[B, "speedup"].expected, found[B, "om"].note) == (3, 3, "")


def test_each_device_and_number_of_threads_is_a_row_of_its_own() -> None:
    found = score(TIMES)
    rows = {row.part: row for row in found.values() if row.part}
    assert {part: row.value for part, row in rows.items()} == {
        "Pi, 1 thread": 10,
        "Pi, 2 threads": 4,
        "M1, 1 thread": 2,
    }
    assert found[B, "speedup[device='Pi',threads=2]"].value == 4
    untold = score([timed(FP, 6.0, threads=None), timed(B, 2.0, threads=None)])
    assert {row.part for row in untold.values()} == {"", "Pi"}


def test_half_an_operator_has_no_overall_metric() -> None:
    row = score(TIMES)[B, "om"]
    assert (row.value, row.cells, row.expected, row.note) == (None, 1, 2, "compression: not measured")


def test_engines_models_and_machines_are_never_compared_with_each_other() -> None:
    other = [
        timed(B, 1.0, engine="dabnn"),
        timed(B, 1.0, model="resnet18"),
        timed(B, 1.0, device="Pi 5"),
        timed(B, 1.0, batch_size=8),
        timed(B, 1.0, threads=4),
        timed(B, 1.0, cpu="another"),
    ]
    row = score([timed(FP, 100.0), timed(B, 10.0), *other])[B, "speedup"]
    assert (row.value, row.cells, row.expected) == (10, 1, 7)
    assert row.note == "1 of 7 measurements; full precision was not measured"


def test_a_measured_file_goes_before_counted_numbers() -> None:
    measured = [timed(FP, 50e6, metric="storage", unit="B"), timed(B, 5e6, metric="storage", unit="B")]
    assert score(TIMES + SIZES + measured)[B, "compression"].value == 10


@pytest.mark.parametrize("bad", [0.0, -3.0])
@pytest.mark.parametrize("operator", [FP, B])
def test_times_that_cannot_be_are_flagged(operator: str, bad: float) -> None:
    """Neither an infinite speed-up nor a negative one enters the mean."""
    changed = [timed(operator, bad, device="M1"), timed(B if operator == FP else FP, 4.0, device="M1")]
    row = score([*TIMES[:4], *changed])[B, "speedup"]
    assert row.value == pytest.approx(math.sqrt(40))
    assert row.note == f"2 of 3 measurements; {operator}: a latency_ms of {bad}"


def test_what_failed_has_its_reason() -> None:
    row = score([timed(FP, 8.0), timed(B, None, reason="out of memory")])[B, "speedup"]
    assert (row.value, row.note) == (None, "0 of 1 measurements; failed: out of memory")


def test_an_operator_measured_in_fewer_places_says_so() -> None:
    row = score([*TIMES, timed(R, 20.0)])[R, "speedup"]
    assert (row.value, row.cells, row.expected, row.note) == (5, 1, 3, "1 of 3 measurements")


def test_measured_again_the_latest_counts() -> None:
    again = timed(B, 5.0, started="2026-02-01")
    for records in ([*TIMES, again], [again, *TIMES]):
        found = score(records)
        assert found[B, "speedup[device='Pi',threads=1]"].value == 20
        assert "measured twice, the latest counts: 1 cell" in found[B, "speedup"].note


def test_other_records_do_not_enter() -> None:
    assert score([make(operator=FP), make(operator=B), *SIZES]) == {}
