"""What is recommended, and what is said where nothing is, on records whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bibench.foundation.errors import BiBenchError
from bibench.recommend import Advice, Wishes, dominates, recommend
from bibench.recommend.shares import median_error
from bibench.records.record import Record, read

from ..records.test_records import make
from ..tracks.records import scored

DEVICE = "Board 1"


def latency(operator: str, ms: float | None, *, model: str = "m", **more: object) -> Record:
    given = {"device": DEVICE, "engine": "e", "threads": 1, "batch_size": 1, **more}
    given |= {} if ms is not None else {"status": "failed", "reason": "boom"}
    return make(
        kind="latency", metric="latency_ms", split="", task="t", model=model, operator=operator, value=ms, **given
    )


def size(operator: str, megabytes: float, model: str = "m") -> Record:
    return make(
        kind="complexity", metric="storage", split="", task="t", model=model, operator=operator, value=1e6 * megabytes
    )


def accuracy(operator: str, *values: float, model: str = "m", **more: object) -> list[Record]:
    return scored({("t", model, operator, seed): v for seed, v in enumerate(values)}, **more)


def whole(operator: str, value: float, ms: float, megabytes: float, model: str = "m") -> list[Record]:
    return [
        *accuracy(operator, value, model=model),
        latency(operator, ms, model=model),
        size(operator, megabytes, model),
    ]


WORLD = [
    *whole("fp32", 0.95, 100, 40),
    *whole("bnn", 0.80, 10, 1),
    *whole("xnor", 0.85, 20, 1.5),
    *whole("dorefa", 0.84, 21, 1.6),
    *whole("recu", 0.90, 40, 1.5),
]


def names(found: tuple) -> list[str]:
    return [c.operator for c in found]


def test_the_pareto_set_within_the_limits() -> None:
    advice = recommend(WORLD, Wishes("t", DEVICE, max_ms=30, max_mb=2))
    assert names(advice.recommended) == ["xnor", "bnn"]
    assert names(advice.dominated) == ["dorefa"]
    assert sorted(names(advice.excluded)) == ["fp32", "recu"]
    assert advice.unknown == ()
    (fp32,) = (c for c in advice.excluded if c.operator == "fp32")
    assert fp32.broken == ("latency 100 ms is above 30 ms", "size 40 MB is above 2 MB")
    assert fp32.excess == pytest.approx(19)
    assert names(advice.nearest) == ["recu", "fp32"]
    assert "The limit on latency excludes 2, 1 of them alone." in advice.said


def test_nearest_misses_are_among_what_was_measured() -> None:
    """The size of an unmeasured one is nearer to its limit than any; whether it is near, nobody knows."""
    records = [*whole("bnn", 0.8, 10, 9), *accuracy("xnor", 0.9), size("xnor", 2.1), *accuracy("recu", 0.9)]
    records += [latency("recu", 99)]
    advice = recommend(records, Wishes("t", DEVICE, max_ms=30, max_mb=2))
    assert sorted(names(advice.excluded)) == ["bnn", "recu", "xnor"]
    assert names(advice.nearest) == ["bnn"]
    assert any(s.startswith("2 of those that break a limit lack a measurement") for s in advice.said)


def test_sentences_of_one_and_of_many() -> None:
    one = recommend(WORLD[:6], Wishes("t", DEVICE, max_ms=30)).said
    assert one[:2] == (
        "1 of 2 candidates is recommended: it is better than every other in accuracy, latency or size.",
        "The limit on latency excludes 1, and is the only one that does.",
    )
    more = recommend(WORLD, Wishes("t", DEVICE, max_ms=30)).said
    assert more[0].endswith("or size. 1 more qualifies and is dominated.")
    assert more[1] == "The limit on latency excludes 2, 2 of them alone."


def test_full_precision_is_a_candidate() -> None:
    advice = recommend(WORLD, Wishes("t", DEVICE))
    assert "fp32" in names(advice.recommended)
    lacking = recommend([r for r in WORLD if r.operator != "fp32"], Wishes("t", DEVICE))
    assert "Full precision is not among the candidates: it has no score." in lacking.said


def test_nothing_qualifies() -> None:
    advice = recommend(WORLD, Wishes("t", DEVICE, max_ms=5, min_accuracy=99))
    assert advice.recommended == ()
    assert advice.said[0] == "Nothing qualifies: of 5 candidates 5 break a limit and 0 lack a measurement."
    assert "The limit on latency excludes 5, none of them alone." in advice.said
    assert "The minimum accuracy excludes 5, none of them alone." in advice.said
    assert names(advice.nearest)[0] == "bnn"  # 10 ms are twice the limit; nobody is nearer


def test_another_device_is_named_and_not_used() -> None:
    advice = recommend(WORLD, Wishes("t", "Phone", max_ms=1000))
    assert advice.recommended == () and len(advice.unknown) == 5
    assert all("this model and operator were measured on Board 1" in c.missing[0] for c in advice.unknown)
    assert all(c.latency_ms is None for c in advice.unknown)
    assert any("No latency was measured on Phone; there are some of: Board 1. None" in s for s in advice.said)


def test_a_latency_of_another_task_or_model_does_not_count() -> None:
    records = [
        *accuracy("bnn", 0.8),
        latency("bnn", 5, model="other"),
        make(**{**vars(latency("bnn", 5)), "task": "u"}),
    ]
    (only,) = recommend(records, Wishes("t", DEVICE)).unknown
    assert only.missing[0] == "latency: none on Board 1"


def test_engines_and_threads_are_candidates_of_their_own() -> None:
    records = [*accuracy("bnn", 0.8), latency("bnn", 9), latency("bnn", 5, threads=4), latency("bnn", 7, engine="f")]
    assert [c.latency_ms for c in recommend(records, Wishes("t", DEVICE)).recommended] == [5]
    advice = recommend(records, Wishes("t", "board 1", threads=1))
    assert [(c.engine, c.threads) for c in (*advice.recommended, *advice.dominated)] == [("f", 1), ("e", 1)]
    assert [c.engine for c in recommend(records, Wishes("t", DEVICE, engine="e", threads=1)).recommended] == ["e"]
    (none,) = recommend(records, Wishes("t", DEVICE, engine="g")).unknown
    assert "there is e 1 thread, e 4 threads, f 1 thread" in none.missing[0]


def test_the_newest_latency_counts_and_failed_ones_are_said() -> None:
    old, new = latency("bnn", 9, started="2025-01-01"), latency("bnn", 5, started="2026-01-01")
    (only,) = recommend([*accuracy("bnn", 0.8), new, old], Wishes("t", DEVICE)).recommended
    assert only.latency_ms == 5
    (failed,) = recommend([*accuracy("bnn", 0.8), latency("bnn", None)], Wishes("t", DEVICE)).unknown
    assert "failed: boom" in failed.missing[0]


def test_evidence_and_uncertainty() -> None:
    records = [*accuracy("bnn", 0.80, 0.82, 0.84), *accuracy("xnor", 0.81, 0.83, 0.82)]
    records += [
        latency("bnn", 10, low=9.0, high=12.0, samples=50),
        latency("xnor", 10.2, low=9.0, high=12.0, samples=50),
    ]
    advice = recommend(records, Wishes("t", DEVICE, max_ms=11, min_accuracy=80))
    found = {c.operator: c for c in (*advice.recommended, *advice.dominated)}
    assert found["bnn"].accuracy_error == pytest.approx(2 / 3**0.5)
    assert found["bnn"].evidence[0] == "accuracy: t/m/bnn/quick, seeds 0, 1, 2"
    assert "Board 1, e, 1 thread, batch 1, median of 50, measured with m as t uses it" in found["bnn"].evidence[1]
    assert found["bnn"].caution[:2] == (
        "the interval of accuracy reaches below 80 %",
        "the upper quartile of latency, 12 ms, is above 11 ms",
    )
    assert names(advice.recommended) == ["bnn"]  # equal accuracy, 0.2 ms faster
    assert 0.5 < found["bnn"].front < 1
    assert 0 < found["xnor"].front < 0.9  # and not for sure


def test_without_spread_there_is_no_share() -> None:
    advice = recommend(WORLD, Wishes("t", DEVICE))
    assert all(c.front is None for c in advice.recommended)
    assert all("one seed: the spread of accuracy is unknown" in c.caution for c in advice.recommended)


def test_sizes_complete_the_records() -> None:
    records = [*accuracy("bnn", 0.8)]
    wishes = Wishes("t", max_mb=2)
    assert names(recommend(records, wishes).unknown) == ["bnn"]
    advice = recommend(records, wishes, sizes={("t", "m", "bnn"): (1.5e6, "counted")})
    assert [c.megabytes for c in advice.recommended] == [1.5]
    assert advice.recommended[0].evidence[-1] == "size: 1,500,000 bytes, counted"


def test_the_file_that_was_timed_has_the_size_that_counts() -> None:
    file = {"kind": "latency", "metric": "storage", "split": "", "task": "t", "model": "m", "device": DEVICE}
    records = [*WORLD, make(**file, operator="bnn", engine="e", value=3e6), make(**file, operator="xnor", engine="f")]
    advice = recommend(records, Wishes("t", DEVICE, max_mb=2))
    sizes = {c.operator: c.megabytes for c in (*advice.recommended, *advice.excluded, *advice.dominated)}
    assert sizes["bnn"] == 3
    assert sizes["xnor"] == 1.5  # a file of another engine is not what was timed
    assert "bnn" in names(advice.excluded)
    assert any("file that e runs" in sentence for c in advice.excluded for sentence in c.evidence)


def test_flags_of_a_latency_are_told() -> None:
    records = [*WORLD[3:6], latency("bnn", 12, engine="busy one", flags="busy,drift")]
    found = {c.engine: c.caution for c in recommend(records, Wishes("t", DEVICE)).recommended}
    told = [c for c in recommend(records, Wishes("t", DEVICE)).dominated if c.engine == "busy one"]
    assert "latency flagged busy, drift" in told[0].caution
    assert not any("latency flagged" in sentence for sentence in found["e"])


def test_other_compression_is_no_candidate() -> None:
    advice = recommend([*WORLD, *whole("lsq[bits=4]", 0.99, 1, 0.1)], Wishes("t", DEVICE))
    assert "lsq[bits=4]" not in names((*advice.recommended, *advice.dominated, *advice.excluded, *advice.unknown))
    assert any("no candidate: lsq" in sentence for sentence in advice.said)
    with pytest.raises(BiBenchError, match="only comparators"):
        recommend(whole("lsq[bits=4]", 0.99, 1, 0.1), Wishes("t"))


def test_studies_are_no_candidates_and_flags_are_told() -> None:
    records = [*accuracy("bnn", 0.8, flags="collapsed"), *accuracy("xnor", 0.9, study="s", recipe="s[lr=1]")]
    (only,) = recommend(records, Wishes("t")).recommended
    assert only.operator == "bnn" and "flagged collapsed" in only.caution


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"device": DEVICE, "max_ms": -1}, "max_ms must be a positive"),
        ({"max_mb": float("nan")}, "max_mb must be a positive"),
        ({"max_ms": 5}, "give device"),
        ({"threads": 1}, "give device"),
        ({"device": DEVICE, "threads": 0}, "at least 1"),
    ],
)
def test_wishes_that_cannot_be_meant(wishes: dict, said: str) -> None:
    with pytest.raises(BiBenchError, match=said):
        Wishes("t", **wishes)


def test_latencies_alone_say_where_scores_come_from() -> None:
    with pytest.raises(BiBenchError, match=r"no score of any task; give the run folder of the trained cells, too"):
        recommend([latency("bnn", 1.0)], Wishes("t"))


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(BiBenchError, match=r"these tasks have some: t\."):
        recommend(WORLD, Wishes("s"))


numbers = st.floats(0.1, 100)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(0.01, 1), numbers, numbers), min_size=1, max_size=6), numbers, numbers)
def test_the_front_is_a_front(table: list[tuple[float, float, float]], max_ms: float, max_mb: float) -> None:
    records = [r for n, row in enumerate(table) for r in whole(f"bnn[n={n}]", *row)]
    advice = recommend(records, Wishes("t", DEVICE, max_ms=max_ms, max_mb=max_mb))
    fitting = sum(ms <= max_ms and mb <= max_mb for _, ms, mb in table)
    assert len(advice.recommended) + len(advice.dominated) == fitting
    assert bool(advice.recommended) == bool(fitting)
    for one in advice.recommended:
        assert not any(dominates(other, one) for other in (*advice.recommended, *advice.dominated))
    for one in advice.dominated:
        assert any(dominates(other, one) for other in advice.recommended)
    reverse = recommend(records[::-1], Wishes("t", DEVICE, max_ms=max_ms, max_mb=max_mb))
    assert set(names(reverse.recommended)) == set(names(advice.recommended))


def published(**wishes: object) -> Advice:
    return recommend(read([Path("published")]), Wishes(**{"device": "Kirin 970", **wishes}))


def test_the_papers_own_numbers() -> None:
    """Tables 10 and 17: VGG-Small on CIFAR-10, one thread of a Kirin 970."""
    advice = published(task="cifar10", max_ms=30, threads=1)
    assert [(c.operator, c.model, c.engine) for c in advice.recommended] == [
        ("reactnet", "vgg_small", "larq"),
        ("bnn", "vgg_small", "larq"),
    ]
    assert "the paper, which does not state the size of the input" in advice.recommended[0].evidence[1]
    assert all(c.model == "vgg_small" for c in (*advice.recommended, *advice.excluded))
    assert {c.model for c in advice.unknown} == {"resnet20", "resnet18", "resnet34", "vgg_small"}
    json.dumps(advice.to_dict(), allow_nan=False)


def test_the_error_of_a_median_is_that_of_normal_samples() -> None:
    samples = np.random.default_rng(0).normal(10, 2, (20_000, 51))
    found = np.median(samples, 1).std()
    assert median_error(10 - 2 * 0.6745, 10 + 2 * 0.6745, 51) == pytest.approx(found, rel=0.03)
    assert median_error(None, 11.0, 51) == median_error(9.0, 11.0, None) == 0.0
