"""What all tracks owe to bad input: unknown protocols, mixed sources, numbers that are there twice."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bibench import published
from bibench.foundation.errors import UnknownNameError
from bibench.records.record import Record
from bibench.tracks import TRACKS
from bibench.tracks.base import PROTOCOLS, Score, is_score

from ..records.test_records import make
from .records import scored

FP, B = "fp32", "bnn"
PUBLISHED = published.records()
EVERY_TRACK = (
    *("corruption_robustness", "hardware_inference", "learning_task", "neural_architecture"),
    *("theoretical_complexity", "training_consumption"),
)


def learning(records: list[Record]) -> dict[tuple[str, str, str], Score]:
    return {(r.source, r.operator, r.metric): r for r in TRACKS["learning_task"].score(records)}


def test_there_are_six_tracks_and_two_protocols() -> None:
    assert tuple(name for name in TRACKS if not TRACKS[name].comparators) == EVERY_TRACK
    assert set(PROTOCOLS) == {"bibench", "paper"}


@pytest.mark.parametrize("name", EVERY_TRACK)
def test_an_unknown_protocol_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown protocol 'papers'; did you mean 'paper'\? Known protocols: "):
        TRACKS[name].score([], "papers")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", EVERY_TRACK)
def test_the_order_of_records_does_not_matter(name: str, protocol: str) -> None:
    def found(records: list[Record]) -> dict[tuple[str, ...], float | None]:
        return {(r.operator, r.metric, r.recipe): r.value for r in TRACKS[name].score(records, protocol)}

    shuffled = random.Random(0).sample(PUBLISHED, len(PUBLISHED))
    expected = found(PUBLISHED)
    assert expected
    assert {k: v is None for k, v in found(shuffled).items()} == {k: v is None for k, v in expected.items()}
    assert {k: v or 0 for k, v in found(shuffled).items()} == pytest.approx({k: v or 0 for k, v in expected.items()})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", EVERY_TRACK)
def test_own_runs_leave_the_papers_scores_alone(name: str, protocol: str) -> None:
    """Runs of the very same cells, recipes and all, stand beside the paper's numbers and enter none of them."""
    own = [make(**{**vars(r), "source": "", "value": (r.value or 0) / 2}) for r in PUBLISHED if r.operator != FP]
    alone = TRACKS[name].score(PUBLISHED, protocol)
    rows = TRACKS[name].score([*own, *PUBLISHED], protocol)
    assert [r for r in rows if r.source == "published"] == alone
    assert {r.source for r in rows} <= {"", "published"}
    assert all(r.value is None for r in rows if not r.source and r.metric == "om" and name == "learning_task")


def test_every_row_says_its_protocol() -> None:
    for protocol in PROTOCOLS:
        assert {r.protocol for name in TRACKS for r in TRACKS[name].score(PUBLISHED, protocol)} == {protocol}


class TestTwice:
    def test_the_latest_counts_and_the_row_says_so(self) -> None:
        cells = {("t", "m", FP, 0): 1.0, ("t", "m", B, 0): 0.5}
        later = scored({("t", "m", B, 0): 0.9}, started="2026-02-01T00:00:00.000000+00:00")
        for records in (scored(cells) + later, later + scored(cells)):
            row = learning(records)["", B, "t"]
            assert (row.value, row.cells, row.expected) == (pytest.approx(90), 1, 1)
            assert row.note == "measured twice, the latest counts: 1 cell"

    def test_a_baseline_that_is_there_twice_concerns_every_operator(self) -> None:
        cells = {("t", "m", o, 0): 0.5 for o in (FP, B, "xnor")}
        rows = learning(scored(cells) + scored({("t", "m", FP, 0): 0.8}, started="2026"))
        assert all("measured twice" in row.note for row in rows.values())
        assert rows["", B, "t"].value == pytest.approx(62.5)

    def test_the_same_folder_twice_is_no_second_measurement(self) -> None:
        records = scored({("t", "m", FP, 0): 1.0, ("t", "m", B, 0): 0.5})
        assert TRACKS["learning_task"].score(records + records) == TRACKS["learning_task"].score(records)

    def test_seeds_settings_and_sources_are_not_the_same_cell(self) -> None:
        record = make()
        others = [make(seed=1), make(recipe="paper"), make(study="s"), make(source="published"), make(operator="xnor")]
        assert len({record.identity, *(other.identity for other in others)}) == 6
        assert make(cpu="a", threads=2).identity == make(cpu="b", threads=4).identity  # trained elsewhere
        assert make(kind="latency", cpu="a").identity != make(kind="latency", cpu="b").identity


numbers = st.floats(-2, 2) | st.sampled_from([0.0, -0.0, 1e-300, 1e300, -1e300])
tables = st.dictionaries(
    st.tuples(
        st.sampled_from("tu"), st.sampled_from(["m", "ssd300"]), st.sampled_from([FP, B, "xnor"]), st.integers(0, 2)
    ),
    st.none() | numbers,
    max_size=20,
)


@settings(deadline=None)
@given(table=tables, chance=st.sampled_from([0.0, 0.5]), protocol=st.sampled_from(list(PROTOCOLS)))
@pytest.mark.parametrize("name", ["learning_task", "neural_architecture"])
def test_scores_are_between_the_ratios_they_average(
    name: str, table: dict[tuple[str, str, str, int], float | None], chance: float, protocol: str
) -> None:
    """Whatever the values: no crash, no number that is not finite, and never a mean outside of what entered it."""
    ratios = {
        (operator, 100 * value / base)
        for (task, model, operator, seed), value in table.items()
        if operator != FP and is_score(value) and 1e-9 < (base := table.get((task, model, FP, seed)) or 0) <= 1
    }
    for row in TRACKS[name].score(scored(table, chance=chance), protocol):
        assert 0 <= row.cells <= row.expected
        if row.value is None:
            continue
        assert math.isfinite(row.value)
        if not row.part and row.metric != "om":
            own = [ratio for operator, ratio in ratios if operator == row.operator]
            margin = 1e-9 * max(map(abs, own))
            assert min(own) - margin <= row.value <= max(own) + margin


@settings(deadline=None)
@given(
    values=st.lists(st.tuples(st.sampled_from([FP, B]), st.integers(1, 3), st.none() | numbers), max_size=8),
    protocol=st.sampled_from(list(PROTOCOLS)),
)
def test_ratios_of_times_are_positive_or_absent(values: list[tuple[str, int, float | None]], protocol: str) -> None:
    status = {True: "ok", False: "failed"}
    records = [
        make(
            kind="latency",
            metric="latency_ms",
            operator=o,
            threads=n,
            device="d",
            value=v,
            status=status[v is not None],
        )
        for o, n, v in values
    ]
    for row in TRACKS["hardware_inference"].score(records, protocol):
        assert row.value is None or 0 < row.value < math.inf
