"""Sessions: turns, the peer, early stopping, and rows for those that fail or die."""

import datetime
import re
from pathlib import Path
from statistics import median

import pytest

from bibench.foundation.errors import BiBenchError
from bibench.measure import session, training_cost
from bibench.measure.isolation import run_isolated
from bibench.measure.session import Contender, Request, half_width, paired_ratios, run_session
from bibench.measure.step import Seconds
from bibench.measure.training_cost import FOLDER, SLOWER, baseline_first, measure_training_cost, to_records
from bibench.records.record import Record, read
from bibench.suite.cell import Cell
from bibench.tracks import TRACKS

from ..worlds import TINY, cell

BROKEN = 'RuntimeError: the model is broken (tiny.py:88: raise RuntimeError("the model is broken"))'
pytestmark = pytest.mark.usefixtures("in_tiny_world")


def request(*operators: str, **more: object) -> Request:
    cells = baseline_first([cell(o) for o in operators])
    return Request(cells, 1, **{"rounds": 2, "load": (str(TINY),), **more})


def measured(asked: Request) -> tuple[session.Result, dict[tuple[str, str, str], Record]]:
    result = run_session(asked, lambda name, news: None)
    records = to_records(result, asked, datetime.datetime.now(datetime.UTC))
    return result, {(r.operator, r.memory_format, r.metric): r for r in records}


def test_full_precision_comes_first_and_once() -> None:
    assert baseline_first([cell("bnn"), cell("fp32"), cell("bnn")]) == (cell("fp32"), cell("bnn"))


def test_records_of_a_session() -> None:
    asked = request("bnn", rounds=3, batch_size=8)
    result, found = measured(asked)
    assert {(o, f) for o, f, _ in found} == {
        ("fp32", "contiguous"),
        ("fp32", "channels_last"),
        ("bnn", "channels_last"),
    }
    own = {m: r for (o, _, m), r in found.items() if o == "bnn"}
    phases = ("forward", "backward", "optimizer")
    assert set(own) == {
        *(f"{p}{kind}_seconds" for p in (*phases, "step") for kind in ("", "_cpu")),
        *(f"epoch{p}{kind}_seconds" for p in ("", *(f"_{p}" for p in phases)) for kind in ("", "_cpu")),
        *("peak_memory", "time_ratio"),
    }
    for record in own.values():
        assert (record.kind, record.batch_size, record.threads, record.recipe) == ("cost", 8, 1, "quick")
        assert record.value is not None
        assert record.value > 0
        if record.metric != "peak_memory":
            assert record.samples == 3
            assert record.low <= record.value <= record.high
    assert own["epoch_seconds"].value == pytest.approx(own["step_seconds"].value * 64 / 8)
    assert own["epoch_forward_cpu_seconds"].value == pytest.approx(own["forward_cpu_seconds"].value * 8)
    contender = next(c for c in result.contenders if not c.cell.full_precision)
    assert own["time_ratio"].value == pytest.approx(median(paired_ratios(result.peer, contender)))


@pytest.mark.slow
def test_the_peer_is_full_precisions_faster_format() -> None:
    result, found = measured(request("bnn"))
    steps = {f: found["fp32", f, "step_seconds"] for f in ("contiguous", "channels_last")}
    fast, slow = sorted(steps.values(), key=lambda r: r.value)
    assert (fast.flags, slow.flags) == ("", SLOWER)
    assert result.peer.memory_format == fast.memory_format


@pytest.mark.slow
def test_turns_are_in_a_new_order_each_round() -> None:
    turns: list[str] = []
    asked = request("bnn", "recu", "dorefa", rounds=4, tolerance=0)
    run_session(asked, lambda name, news: turns.append(name) if news.startswith("round") else None)
    rounds = [tuple(turns[i : i + 5]) for i in range(0, 20, 5)]
    assert len(turns) == 20
    assert len({frozenset(r) for r in rounds}) == 1
    assert len(set(rounds)) > 1


def contender(operator: str, walls: list[float]) -> Contender:
    times = [{"step": Seconds(w, w)} for w in walls]
    return Contender(cell(operator), "contiguous", rounds=times)


def test_ratios_are_paired_by_round() -> None:
    """A busy moment that doubles a round leaves its ratio alone."""
    assert paired_ratios(contender("fp32", [1.0, 2.0, 1.0]), contender("bnn", [2.0, 4.0, 2.0])) == [0.5, 0.5, 0.5]


def test_half_width_by_hand() -> None:
    assert half_width([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1.57 * 2 / 5**0.5)
    assert half_width([2.0] * 7) == 0


@pytest.mark.parametrize(("tolerance", "expected"), [(1e9, session.MIN_ROUNDS), (0.0, 9)])
@pytest.mark.slow
def test_rounds_end_when_the_ratios_are_known(tolerance: float, expected: int) -> None:
    result, _ = measured(request("bnn", rounds=9, tolerance=tolerance))
    assert {len(c.rounds) for c in result.contenders} == {expected}


class TestFailures:
    def test_rows_have_reasons_and_the_others_their_numbers(self) -> None:
        _, found = measured(request("raises", "impossible", "bnn"))
        raises, impossible = (found[o, "channels_last", "time_ratio"] for o in ("raises", "impossible"))
        assert (raises.status, raises.reason) == (
            "failed",
            'RuntimeError: boom in forward (tiny.py:64: raise RuntimeError("boom in forward"))',
        )
        assert impossible.status == "unsupported"
        assert impossible.reason.endswith("is too small for it")
        assert found["bnn", "channels_last", "time_ratio"].status == "ok"

    def test_one_that_fails_in_the_middle_keeps_no_times(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from bibench.measure.step import TrainingStep

        calls, original = [], TrainingStep.__call__

        def later(self: TrainingStep) -> dict[str, Seconds]:
            calls.append(self)
            if calls.count(self) == 4 and any(
                "Conv" in type(m).__name__ and hasattr(m, "operator") for m in self.model.modules()
            ):
                raise RuntimeError("late")
            return original(self)

        monkeypatch.setattr(TrainingStep, "__call__", later)
        _, found = measured(request("bnn", rounds=3))
        reason = found["bnn", "channels_last", "time_ratio"].reason
        assert re.fullmatch(r'RuntimeError: late \(test_training_cost.py:\d+: raise RuntimeError\("late"\)\)', reason)
        assert ("bnn", "channels_last", "step_seconds") not in found
        assert found["fp32", "channels_last", "step_seconds"].samples == 3

    def test_without_full_precision_there_is_no_ratio(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TINY_BROKEN", "1")
        broken = Cell(cell().task, cell(model="breakable").model, cell().operator, cell().recipe, 0)
        asked = Request(baseline_first([broken]), 1, rounds=2)
        _, found = measured(asked)
        assert found["fp32", "contiguous", "step_seconds"].reason == BROKEN
        assert found["bnn", "channels_last", "time_ratio"].reason == BROKEN

    def test_numbers_that_are_not_finite_are_no_times(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chosen = Cell(cell().task, cell().model, cell().operator, cell("bnn", "quick").recipe, 0)
        from bibench.tasks import TASKS

        original = TASKS["tiny"].loss
        monkeypatch.setattr(TASKS["tiny"], "loss", lambda self, o, b: original(self, o, b) * float("nan"))
        _, found = measured(Request(baseline_first([chosen]), 1, rounds=2))
        assert "no longer finite" in found["bnn", "channels_last", "time_ratio"].reason


class TestIsolation:
    @pytest.mark.slow
    def test_one_that_kills_the_process_is_a_row(self) -> None:
        news: list[str] = []
        result = run_isolated(request("dies", "bnn"), news.append)
        ends = {str(c.cell.operator): (c.status, c.reason) for c in result.contenders}
        assert ends["dies"] == ("failed", "the process died in its turn (signal SIGKILL; out of memory?)")
        assert ends["bnn"] == ends["fp32"] == ("ok", "")
        assert any("Starting again without it" in text for text in news)

    @pytest.mark.slow
    def test_the_process_has_the_threads_asked_for(self, tmp_path: Path) -> None:
        import os

        before = os.environ.get("OMP_NUM_THREADS")
        asked = Request(baseline_first([cell("asks_threads")]), 2, rounds=2, load=(str(TINY), _threads_file(tmp_path)))
        result = run_isolated(asked, lambda text: None)
        reasons = {c.reason for c in result.contenders if not c.cell.full_precision}
        assert reasons == {"RuntimeError: 2 threads, OMP_NUM_THREADS=2"}
        assert os.environ.get("OMP_NUM_THREADS") == before

    def test_a_users_error_is_the_parents(self, tmp_path: Path) -> None:
        with pytest.raises(BiBenchError, match=r"expected an existing Python file"):
            run_isolated(request("bnn", load=(str(tmp_path / "none.py"),)), lambda text: None)


ASKS_THREADS = """
import os
import torch
import bibench

@bibench.operator("asks_threads")
class AsksThreads(bibench.Operator):
    def output(self, y, x):
        if self.training:
            raise RuntimeError(f"{torch.get_num_threads()} threads, OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}")
        return y
"""


def _threads_file(folder: Path) -> str:
    file = folder / "asks_threads.py"
    file.write_text(ASKS_THREADS)
    from bibench.foundation.registry import load_file

    load_file(file)
    return str(file)


@pytest.mark.slow
def test_records_go_to_the_run_folder_and_add_to_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_cost, "run_isolated", lambda asked, note: run_session(asked, lambda *_: None))
    asked = request("bnn")
    for _ in range(2):
        written = measure_training_cost(asked, tmp_path, lambda text: None)
    assert len(list((tmp_path / FOLDER).rglob("records.jsonl"))) == 2
    stored = read([tmp_path])
    assert [r for r in stored if r.started == written[0].started] == written
    (row,) = [r for r in TRACKS["training_consumption"].score(stored) if r.metric == "time_cost"]
    last = next(r for r in written if r.metric == "time_ratio")
    assert row.value == pytest.approx(100 * last.value)
    assert (row.operator, row.recipe, row.cells, row.expected) == ("bnn", "quick", 1, 1)
