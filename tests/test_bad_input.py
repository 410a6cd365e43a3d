"""Bad input at every consumer of records: one clear error, or a row that says so; never a wrong average.

| bad input | score | rank | coverage | report | recommend |
|---|---|---|---|---|---|
| damaged, truncated, foreign, malicious, NaN, unknown schema | stops with file and line, writes nothing | | | | |
| a cell that is there twice | the latest counts and is said | | | | |
| impossible numbers (a score of 85, a negative time) | missing, and said | | | | |
| full precision zero, missing or failed | no ratio, and said | no rank | is told | no ratio | stays: no ratio in it |
| the paper and runs | rows apart | ranks apart | rows apart | refused | candidates apart |
| different recipes | rows apart | | | | |
| an unknown protocol | refused | refused | has none | refused | has none |
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bibench.records.accuracies import accuracies, settings
from bibench.records.record import Record
from bibench.report.material import Material
from bibench.report.standings import standings
from bibench.statistics import cells, coverage, differences, intervals, ranks
from bibench.tracks import TRACKS

from .cli.test_cli import Call, call
from .records.test_records import make

__all__ = ["call"]

FP, B, X = "fp32", "bnn", "xnor"
CONSUMERS: dict[str, tuple[str, ...]] = {
    "score": (),
    "rank": (),
    "coverage": (),
    "report": (),
    "recommend": ("--task", "t"),
}
Damage = Callable[[str], str | bytes]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "truncated": (lambda line: line[: len(line) // 2], ":2: not JSON"),
    "damaged": (lambda line: "\x00\x01" + line, ":2: not JSON"),
    "no text": (lambda line: b"\xff\xfe" + line.encode(), " cannot be read: "),
    "foreign object": (lambda line: json.dumps({"accuracy": 0.9, "run": "w&b"}), ":2: schema None"),
    "foreign list": (lambda line: "[1, 2, 3]", ":2: expected an object, got list"),
    "foreign pickle": (lambda line: b"\x80\x04\x95\x1a\x00.", " cannot be read: "),
    "malicious field": (lambda line: line[:-1] + ', "__class__": "os.system"}', ":2: unknown field '__class__'"),
    "malicious depth": (lambda line: "[" * 100_000, ":2: not JSON"),
    "malicious number": (lambda line: line.replace('"seed": 0', f'"seed": {"9" * 5000}'), ":2: not JSON"),
    "twice in one record": (lambda line: line[:-1] + ', "value": 0.99}', ":2: not JSON (field 'value' is there twice"),
    "NaN": (lambda line: line.replace("0.5", "NaN"), ":2: not JSON (NaN is no number of JSON)"),
    "infinite": (lambda line: line.replace("0.5", "1e999"), ":2: field 'value' is inf"),
    "schema of the future": (lambda line: line.replace('"schema": 5', '"schema": 99'), ":2: schema 99"),
    "field of another type": (lambda line: line.replace('"seed": 0', '"seed": "0"'), ":2: field 'seed' is '0'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_bad_file_stops_every_consumer_with_its_place(call: Call, tmp_path: Path, consumer: str, damage: str) -> None:
    change, problem = DAMAGES[damage]
    bad = change(make(task="t", operator=B).to_line())
    file = tmp_path / "runs" / "records.jsonl"
    file.parent.mkdir()
    good = make(task="t", operator=FP, value=0.9).to_line().encode() + b"\n"
    file.write_bytes(good + (bad if isinstance(bad, bytes) else bad.encode()) + b"\n")
    ended = call(consumer, file.parent, *CONSUMERS[consumer], *(("-o", tmp_path / "site") * (consumer == "report")))
    assert ended.code == 2
    assert f"{file}{problem}" in ended.err
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err
    assert not ended.out
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def world(**changes: float | None) -> list[Record]:
    """Two tasks × two seeds of full precision and two operators; ``changes`` by ``operator_task_seed``."""
    found = []
    for operator, level in ((FP, 0.9), (B, 0.6), (X, 0.7)):
        for task in "tu":
            for seed in (0, 1):
                value = changes.get(f"{operator}_{task}_{seed}", level + 0.01 * seed)
                found.append(
                    make(
                        task=task,
                        operator=operator,
                        seed=seed,
                        started="2026-01-01",
                        cell=f"{task}/{operator}/{seed}",
                        value=value,
                        status="ok" if value is not None else "failed",
                        reason="" if value is not None else "boom",
                    )
                )
    return found


def scores(records: list[Record]) -> dict[tuple[str, str], tuple[float | None, str]]:
    rows = TRACKS["learning_task"].score(records)
    return {(r.operator, r.metric): (r.value, r.note) for r in rows}


class TestTwice:
    """An older measurement of one cell, far off, beside the records that count."""

    OLD = make(task="t", operator=B, seed=0, cell="old/t/bnn/0", value=0.1, started="2025-01-01")

    @pytest.fixture(params=["before", "after"])
    def doubled(self, request: pytest.FixtureRequest) -> list[Record]:
        return [self.OLD, *world()] if request.param == "before" else [*world(), self.OLD]

    def test_scores(self, doubled: list[Record]) -> None:
        clean, found = scores(world()), scores(doubled)
        assert {key: value for key, (value, _) in found.items()} == {key: value for key, (value, _) in clean.items()}
        assert all("measured twice, the latest counts: 1 cell" in note for (o, _), (_, note) in found.items() if o == B)

    def test_accuracies_say_so(self, doubled: list[Record]) -> None:
        rows = {(a.task, a.operator): a for a in accuracies(doubled)}
        assert rows["t", B].mean == pytest.approx(60.5)
        assert rows["t", B].flags == "measured twice 1×"
        assert {a.flags for key, a in rows.items() if key != ("t", B)} == {""}

    def test_ranks_intervals_and_differences(self, doubled: list[Record]) -> None:
        for function in (intervals, ranks):
            clean, found = (function(records, "learning_task") for records in (world(), doubled))
            assert [(r.operator, r.value, r.low, r.high) for r in found] == [
                (r.operator, r.value, r.low, r.high) for r in clean
            ]
        assert differences(doubled) == differences(world())
        assert [c.mean for c in cells(doubled)] == [c.mean for c in cells(world())]

    def test_coverage(self, doubled: list[Record]) -> None:
        assert coverage(doubled).line == "12 of 12 cells"

    def test_coverage_of_a_later_failure(self) -> None:
        failed = make(**{**vars(self.OLD), "started": "2027", "value": None, "status": "failed", "reason": "boom"})
        assert coverage([*world(), failed]).line == coverage([failed, *world()]).line == "11 of 12 cells: 1 failed"

    def test_report(self, doubled: list[Record]) -> None:
        material, clean = Material(doubled), Material(world())
        assert [a.mean for a in material.accuracies] == [a.mean for a in clean.accuracies]
        assert {a.operator for a in material.accuracies if "measured twice" in a.flags} == {B}

    def test_recommend(self, doubled: list[Record]) -> None:
        from bibench.recommend import Wishes, recommend

        advice, clean = recommend(doubled, Wishes("t")), recommend(world(), Wishes("t"))
        assert [(c.operator, c.accuracy, c.seeds, c.front) for c in advice.recommended] == [
            (c.operator, c.accuracy, c.seeds, c.front) for c in clean.recommended
        ]
        assert "1 number was measured again; the latest counts." in advice.said


class TestImpossible:
    """A score of 85 (percent, of another tool) among shares."""

    BAD = world(bnn_t_0=85.0)
    FAILED = world(bnn_t_0=None)

    def test_nothing_is_averaged_over_it(self) -> None:
        wrong, right = scores(self.BAD), scores(self.FAILED)
        assert {key: value for key, (value, _) in wrong.items()} == {key: value for key, (value, _) in right.items()}
        assert "a score of 85.0, expected -1 to 1" in wrong[B, "t"][1]
        for function in (intervals, ranks):
            assert [r.value for r in function(self.BAD, "learning_task")] == [
                r.value for r in function(self.FAILED, "learning_task")
            ]
        assert [d.mean for d in differences(self.BAD)] == [d.mean for d in differences(self.FAILED)]

    def test_accuracies_say_so(self) -> None:
        (row,) = (a for a in accuracies(self.BAD) if (a.task, a.operator) == ("t", B))
        assert (row.mean, row.seeds, row.missing, row.flags) == (pytest.approx(61), 1, 1, "impossible score 1×")
        assert max(a.mean or 0 for a in Material(self.BAD).accuracies) <= 100
        (setting,) = (s for s in settings([make(study="quick", value=85.0)]) if s.setting == "all")
        assert (setting.mean, setting.missing) == (None, 1)

    def test_coverage_says_so(self) -> None:
        found = coverage(self.BAD)
        assert found.line == "11 of 12 cells: 1 failed"
        assert [r.reasons for r in found.rows if r.reasons] == [("failed: a score of 85, expected -1 to 1",)]

    def test_recommend_says_so(self) -> None:
        from bibench.recommend import Wishes, recommend

        timed = {"kind": "latency", "metric": "latency_ms", "split": "", "device": "D", "task": "t", "engine": "e"}
        times = [make(**timed, operator=o, value=v) for o, v in ((FP, 9.0), (B, -1.0), (X, 5.0))]
        sizes = [make(**{**timed, "metric": "storage"}, operator=o, value=v) for o, v in ((FP, 9e6), (B, 1e5), (X, 0))]
        advice = recommend([*self.BAD, *times, *sizes], Wishes("t", device="D"))
        assert {c.operator for c in advice.recommended} == {FP, X}
        (unknown,) = advice.unknown
        assert (unknown.operator, unknown.accuracy, unknown.latency_ms) == (B, pytest.approx(61), None)
        assert "latency: none on D; failed: a latency of -1 ms" in unknown.missing
        assert next(c for c in advice.recommended if c.operator == X).megabytes is None
        assert any(s.startswith("Left out as impossible: 3, the first is t/bnn/0: a score of 85") for s in advice.said)

    def test_the_report_draws_no_impossible_time_or_size(self, tmp_path: Path) -> None:
        from bibench.report.build import build

        more = {"task": "t", "split": "", "device": "D", "engine": "e", "kind": "latency"}
        bad = [make(**more, operator=B, metric=m, value=-4.0) for m in ("latency_ms", "storage")]
        good = [make(**more, operator=FP, metric=m, value=4e5) for m in ("latency_ms", "storage")]
        build(Material([*world(), *bad, *good]), tmp_path / "site")
        hardware = (tmp_path / "site" / "tracks" / "hardware_inference.html").read_text("utf-8")
        assert "no latency can be that: not drawn, in no score" in hardware
        for page in ("hardware_inference", "theoretical_complexity"):
            text = (tmp_path / "site" / "tracks" / f"{page}.html").read_text("utf-8")
            assert '"x":[-4' not in text and '"x":[-4e-06' not in text
            assert "Full precision on vgg_small" in text


@pytest.mark.parametrize("baseline", [0.0, -0.2, 1e-12, None, "missing"])
class TestBaseline:
    def records(self, baseline: float | str | None) -> list[Record]:
        if baseline == "missing":
            return [r for r in world() if (r.task, r.operator) != ("t", FP)]
        return world(fp32_t_0=baseline, fp32_t_1=baseline)  # type: ignore[arg-type]

    def test_scores_and_ranks_leave_its_cells_out(self, baseline: float | str | None) -> None:
        found = scores(self.records(baseline))
        for operator in (B, X):
            value, note = found[operator, "t"]
            assert value is None
            assert "its full-precision baseline" in note
            assert found[operator, "om"][0] == found[operator, "u"][0] == scores(world())[operator, "u"][0]
            assert found[operator, "om"][1] == "1 of 2 tasks"
        for rank in ranks(self.records(baseline), "learning_task"):
            assert rank.value == found[rank.operator, "om"][0]
            assert "1 of 2 tasks" in rank.note

    def test_the_report_relates_nothing_to_it(self, baseline: float | str | None) -> None:
        found = standings(accuracies(self.records(baseline)))
        relative = {(s.accuracy.task, s.accuracy.operator): s.relative for s in found}
        assert relative["t", B] is relative["t", X] is None
        assert relative["u", B] == pytest.approx(100 * 0.605 / 0.905)
        material = Material(self.records(baseline))
        assert material.overall("learning_task")[B].note == "1 of 2 tasks"

    def test_coverage_tells_that_it_is_missing(self, baseline: float | str | None) -> None:
        line = coverage(self.records(baseline)).line
        expected = {None: "10 of 12 cells: 2 failed", "missing": "10 of 12 cells: 2 never ran"}
        assert line == expected.get(baseline, "12 of 12 cells")  # type: ignore[call-overload]

    def test_recommendations_need_none(self, baseline: float | str | None) -> None:
        from bibench.recommend import Wishes, recommend

        advice = recommend(self.records(baseline), Wishes("t"))
        assert [(c.operator, c.accuracy) for c in advice.recommended] == [(X, pytest.approx(70.5))]
        said = "Full precision is not among the candidates: it has no score." in advice.said
        assert said == (baseline == "missing")


class TestMixed:
    """The paper's numbers and runs of the very same cells, and another recipe of them."""

    PAPER = [make(**{**vars(r), "source": "published", "value": (r.value or 0) / 2}) for r in world()]
    OTHER = [make(**{**vars(r), "recipe": "paper", "value": (r.value or 0) / 3}) for r in world()]

    def test_rows_of_scores_ranks_and_coverage_are_apart(self) -> None:
        mixed = [*self.PAPER, *world(), *self.OTHER]
        rows = TRACKS["learning_task"].score(mixed)
        sets = (("published", "quick", self.PAPER), ("", "quick", world()), ("", "paper", self.OTHER))
        for source, recipe, part in sets:
            own = [r for r in rows if (r.source, r.recipe) == (source, recipe)]
            assert own == TRACKS["learning_task"].score(part)
            told = [r for r in ranks(mixed, "learning_task") if (r.source, r.recipe) == (source, recipe)]
            assert [(r.operator, r.value, r.rank) for r in told] == [
                (r.operator, r.value, r.rank) for r in ranks(part, "learning_task")
            ]
        assert coverage(mixed).line == "36 of 36 cells"
        assert len(coverage(mixed).rows) == 18
        assert len(accuracies(mixed)) == 18

    def test_a_report_of_both_is_refused(self, call: Call, tmp_path: Path) -> None:
        file = tmp_path / "records.jsonl"
        file.write_text("".join(r.to_line() + "\n" for r in world()))
        ended = call("report", file, "published", "-o", tmp_path / "site")
        assert ended.code == 2
        assert "a report is of one source, these records are of published, runs; compare with --against" in ended.err
        assert not (tmp_path / "site").exists()

    def test_standings_relate_each_to_its_own_baseline(self) -> None:
        alone = {s.accuracy.operator: s.relative for s in standings(accuracies(world())) if s.accuracy.task == "t"}
        for s in standings(accuracies([*self.PAPER, *world()])):
            if s.accuracy.task == "t":
                assert s.relative == pytest.approx(alone[s.accuracy.operator])

    def test_candidates_are_apart(self) -> None:
        from bibench.recommend import Wishes, recommend

        advice = recommend([*self.PAPER, *world()], Wishes("t"))
        everything = [*advice.recommended, *advice.dominated]
        assert {(c.operator, c.source, c.seeds, round(c.accuracy or 0, 3)) for c in everything} == {
            *((FP, "", 2, 90.5), (B, "", 2, 60.5), (X, "", 2, 70.5)),
            *((FP, "published", 2, 45.25), (B, "published", 2, 30.25), (X, "published", 2, 35.25)),
        }

    @pytest.mark.parametrize("consumer", ["score", "rank", "report"])
    def test_an_unknown_protocol(self, call: Call, tmp_path: Path, consumer: str) -> None:
        file = tmp_path / "records.jsonl"
        file.write_text("".join(r.to_line() + "\n" for r in world()))
        output = ("-o", tmp_path / "site") * (consumer == "report")
        ended = call(consumer, file, "--protocol", "papre", *output)
        assert (ended.code, ended.out) == (2, "")
        assert "unknown protocol 'papre'; did you mean 'paper'?" in ended.err
