"""Whole runs by the command line: failures, signals, full disks, rivals, reruns. Workers are real processes."""

import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bibench.execution.plan import PlanRow
from bibench.execution.runner import Runner
from bibench.execution.worker import run_cell
from bibench.foundation.choice import choice
from bibench.foundation.files import write_json
from bibench.foundation.registry import load_file
from bibench.records.record import read
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, CHECKPOINT, DONE, FAILURE, LOCK, CellDirectory
from bibench.train.cell import Hooks, Settings

from ..worlds import TINY, bibench, bibench_here, cell, command, tiny_world

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _world() -> Iterator[None]:
    with tiny_world():
        yield


def arguments(runs: Path, operators: str, *more: object) -> list[object]:
    return ["run", "tiny", "--load", TINY, "--runs", runs, "--operators", operators, "--threads", 1, "--force", *more]


def run(runs: Path, operators: str, *more: object, expect: int = 0, **options: object) -> str:
    """Run to the end; what it printed. With `options` of `subprocess.run` in a process of its own."""
    words = arguments(runs, operators, *more)
    ended = bibench(*words, **options) if options else bibench_here(*words)
    assert ended.returncode == expect, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended.stdout


class Background:
    """A run in the background, in a process group of its own as in a terminal."""

    def __init__(self, runs: Path, operators: str, *more: object, sleep: float = 0.0) -> None:
        self.output = runs.parent / f"output{time.monotonic_ns()}"
        with self.output.open("w") as stream:
            self.process = subprocess.Popen(
                command(*arguments(runs, operators, *more)),
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "TINY_SLEEP": str(sleep), "PYTHONUNBUFFERED": "1"},
            )

    def wait_for(self, condition: Callable[[], bool], seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"ended too early: {self.output.read_text()}"
            assert time.monotonic() < end, f"waited in vain: {self.output.read_text()}"
            time.sleep(0.02)

    def send(self, number: signal.Signals, *, group: bool) -> None:
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def end(self, seconds: float = 180) -> tuple[int, str]:
        """Exit code and output."""
        code = self.process.wait(seconds)
        return code, self.output.read_text()


def state(runs: Path, chosen: Cell) -> str:
    return CellDirectory(runs, chosen).state


def done(runs: Path, chosen: Cell) -> dict:
    return json.loads(CellDirectory(runs, chosen).file(DONE).read_text())


def finished(runs: Path, *cells: Cell) -> Path:
    """The cells, trained in this process."""
    for chosen in cells:
        assert run_cell(chosen, Settings(runs, device="cpu", threads=1), Hooks(), anew=False).status == "done"
    return runs


@pytest.mark.xdist_group("runs 1")
class TestFailures:
    def test_are_rows_while_the_rest_finishes(self, tmp_path: Path) -> None:
        printed = run(tmp_path, "raises,dies,impossible,bnn", "--workers", 2, expect=1)
        assert "tiny vgg_small[width=2] raises quick seed 0: failed: RuntimeError: boom in forward" in printed
        death = "the worker process died (signal SIGKILL; out of memory?)"
        assert f"tiny vgg_small[width=2] dies quick seed 0: failed: {death}" in printed
        ending = r"^2 trained, 2 failed \(see failure\.json .*--rerun failed tries again\), 1 unsupported in"
        assert re.search(ending, printed, re.M)
        states = {o: state(tmp_path, cell(o)) for o in ("fp32", "bnn", "raises", "dies", "impossible")}
        assert states == {"fp32": "done", "bnn": "done", "raises": "failed", "dies": "failed", "impossible": "missing"}

        failure = json.loads(CellDirectory(tmp_path, cell("raises")).file(FAILURE).read_text())
        assert 'raise RuntimeError("boom in forward")' in failure["traceback"]
        rows = {r.operator: (r.status, r.value, r.reason) for r in read([tmp_path]) if r.kind == "score"}
        boom = 'RuntimeError: boom in forward ({}:64: raise RuntimeError("boom in forward"))'
        assert rows["raises"] == ("failed", None, boom.format(TINY))
        assert rows["dies"] == ("failed", None, death)
        assert rows["bnn"][0] == rows["fp32"][0] == "ok"

        status = bibench_here("status", "tiny", "--load", TINY, "--runs", tmp_path, "--operators", "raises,dies").stdout
        assert "2 failed, 1 done" in status  # although the dead worker's lock is still there
        assert CellDirectory(tmp_path, cell("dies")).file(LOCK).exists() is False

    def test_of_a_baseline_block_its_operators_until_it_is_tried_again(self, tmp_path: Path, monkeypatch) -> None:
        more = ("--models", "breakable", "--workers", 1)
        chosen = [cell(o, model="breakable") for o in ("fp32", "bnn", "recu")]
        monkeypatch.setenv("TINY_BROKEN", "1")
        printed = run(tmp_path, "bnn,recu", *more, expect=1)
        line = 'tiny.py:88: raise RuntimeError("the model is broken")'
        reason = f"its full-precision baseline is not available (RuntimeError: the model is broken ({line}))"
        assert f"bnn quick seed 0: failed: {reason}" in printed
        assert [state(tmp_path, c) for c in chosen] == ["failed"] * 3
        assert {r.operator: r.reason for r in read([tmp_path])}["recu"] == reason

        monkeypatch.delenv("TINY_BROKEN")
        printed = run(tmp_path, "bnn,recu", *more, expect=1)
        assert "0 trained, 3 failed" in printed
        printed = run(tmp_path, "bnn,recu", *more, "--rerun", "failed")
        assert re.search("^3 trained in", printed, re.M)
        assert [state(tmp_path, c) for c in chosen] == ["done"] * 3

        monkeypatch.setenv("TINY_BROKEN", "1")
        before = [done(tmp_path, c) for c in chosen[1:]]
        run(tmp_path, "bnn,recu", *more, "--rerun", "all", expect=1)
        assert state(tmp_path, chosen[0]) == "failed"
        assert [done(tmp_path, c) for c in chosen[1:]] == before  # what was finished stays
        assert {r.status for r in read([tmp_path]) if r.operator != "fp32"} == {"ok"}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights of the slow cell, trained in one go in this process."""
    with tiny_world():
        runs = finished(tmp_path_factory.mktemp("whole"), cell("fp32", "long"), TestInterruptions.CELL)
        return done(runs, TestInterruptions.CELL)["weights"]


@pytest.mark.xdist_group("runs 2")
class TestInterruptions:
    LONG = ("--recipe", "long", "--workers", 1)
    CELL = cell("slow", "long")

    def start(self, runs: Path) -> Background:
        """A run of the slow cell that has just saved a new checkpoint and goes on."""
        file = CellDirectory(runs, self.CELL).file(CHECKPOINT)
        before = file.stat().st_mtime_ns if file.exists() else 0
        running = Background(runs, "slow", *self.LONG, sleep=0.03)
        running.wait_for(lambda: file.exists() and file.stat().st_mtime_ns > before)
        time.sleep(0.2)  # into the next epoch
        return running

    def position(self, runs: Path) -> tuple[int, int]:
        import torch

        at = torch.load(CellDirectory(runs, self.CELL).file(CHECKPOINT), weights_only=True)["position"]
        return at["epoch"], at["step"]

    def test_of_every_kind_lead_to_the_weights_of_an_uninterrupted_run(
        self, tmp_path: Path, uninterrupted: str
    ) -> None:
        runs = tmp_path / "runs"
        progress = [(0, 0)]

        def check_progress() -> None:
            assert state(runs, self.CELL) == "interrupted"
            progress.append(self.position(runs))
            assert progress[-1] > progress[-2]

        running = self.start(runs)
        running.send(signal.SIGINT, group=True)  # as Ctrl-C in a terminal
        code, printed = running.end()
        assert code == 130, printed
        assert "stopping: saving checkpoints (again to quit at once)" in printed
        assert "slow long seed 0: interrupted" in printed
        assert "stopped early (run the same command to continue)" in printed
        assert "Traceback" not in printed
        check_progress()

        running = self.start(runs)
        running.send(signal.SIGTERM, group=False)
        code, printed = running.end()
        assert code == 143, printed
        check_progress()

        running = self.start(runs)
        running.send(signal.SIGKILL, group=True)
        assert running.end()[0] == -signal.SIGKILL
        check_progress()

        running = self.start(runs)  # at once, although the dead process left its lock
        running.send(signal.SIGKILL, group=False)  # its worker saves and ends
        running.end()
        lock = CellDirectory(runs, self.CELL).file(LOCK)
        end = time.monotonic() + 30
        while lock.exists() and time.monotonic() < end:
            time.sleep(0.05)
        assert not lock.exists()
        check_progress()

        assert any(step for _, step in progress), "none was in the middle of an epoch"
        printed = run(runs, "slow", *self.LONG)
        assert "[1/1] tiny vgg_small[width=2] slow long seed 0: done, validation" in printed
        assert done(runs, self.CELL)["weights"] == uninterrupted

    def test_a_second_signal_ends_at_once(self, tmp_path: Path) -> None:
        runs = tmp_path / "runs"
        running = Background(runs, "slow", *self.LONG, sleep=30)
        running.wait_for(lambda: CellDirectory(runs, self.CELL).file(CELL).exists())
        time.sleep(0.5)
        running.send(signal.SIGINT, group=True)
        running.wait_for(lambda: "stopping: saving checkpoints" in running.output.read_text())
        running.send(signal.SIGINT, group=True)
        code, printed = running.end(seconds=10)
        assert code == 130
        assert "Traceback" not in printed
        assert state(runs, self.CELL) == "missing"

    def test_while_the_workers_start_say_nothing_ugly(self, tmp_path: Path) -> None:
        runs = tmp_path / "runs"
        running = Background(runs, "bnn", "--workers", 1)
        running.wait_for(lambda: "training 2 with 1 worker(s)" in running.output.read_text())
        time.sleep(0.3)
        running.send(signal.SIGINT, group=True)
        code, printed = running.end()
        assert code == 130, printed
        assert "Traceback" not in printed
        assert "failed" not in printed
        assert state(runs, cell("fp32")) in ("missing", "interrupted")
        assert state(runs, cell("bnn")) == "missing"  # and not blocked by its baseline


@pytest.mark.xdist_group("runs 1")
class TestFoldersThatCannotBeWritten:
    def test_a_full_disk_keeps_what_is_finished(self, tmp_path: Path) -> None:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

        printed = run(tmp_path, "bnn,heavy,recu", "--workers", 1, expect=1, preexec_fn=limit)
        assert "heavy quick seed 0: fatal: cannot write" in printed
        assert "(File too large): the disk is full; free space and run again, finished work is kept" in printed
        assert "stopped early (run the same command to continue)" in printed
        states = [state(tmp_path, cell(o)) for o in ("fp32", "bnn", "heavy", "recu")]
        assert states == ["done", "done", "missing", "missing"]
        before = done(tmp_path, cell("bnn"))
        assert not list(tmp_path.rglob(".*")), "half-written files"
        finished(tmp_path, cell("bnn"), cell("heavy"), cell("recu"))
        assert done(tmp_path, cell("bnn")) == before

    def test_a_closed_one_names_the_fix(self, tmp_path: Path) -> None:
        def obey_permissions() -> None:
            if os.geteuid() == 0:  # root would not: drop CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
                for capability in (1, 2):
                    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)

        runs = tmp_path / "runs"
        runs.mkdir()
        runs.chmod(0o500)
        try_it = [sys.executable, "-c", "import os; os.mkdir('x')"]
        if subprocess.run(try_it, cwd=runs, preexec_fn=obey_permissions, stderr=subprocess.DEVNULL).returncode == 0:
            pytest.skip("this user writes anywhere")
        printed = run(runs, "bnn", "--workers", 1, expect=1, preexec_fn=obey_permissions)
        assert (
            "(Permission denied): the folder cannot be written; change its permissions or choose another one (--runs)"
            in printed
        )
        assert not list(runs.iterdir())


@pytest.mark.xdist_group("runs 2")
def test_two_runs_on_one_folder_train_each_cell_once(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    two = [Background(runs, "bnn,slow,recu", "--workers", 1, sleep=0.02) for _ in range(2)]
    printed = [running.end(120) for running in two]
    assert [code for code, _ in printed] == [0, 0], printed
    text = "".join(output for _, output in printed)
    for operator in ("fp32", "bnn", "slow", "recu"):
        assert state(runs, cell(operator)) == "done"
        assert len(re.findall(rf"\] {operator} quick seed 0: done, validation", text)) == 1
        assert not CellDirectory(runs, cell(operator)).file("superseded").exists()
    assert sum(map(int, re.findall(r"^(\d+) trained", text, re.M))) == 4
    assert text.count("] tiny") == text.count("done, validation") + text.count("done: by another process")
    assert "Traceback" not in text


@pytest.mark.xdist_group("runs 1")
class TestRerun:
    @pytest.mark.parametrize("policy", ["stale", "all"])
    def test_keeps_what_was_there(self, tmp_path: Path, policy: str) -> None:
        chosen = [cell(o, seed=s) for s in (0, 1) for o in ("fp32", "bnn")]
        finished(tmp_path, *chosen)
        before = {c: done(tmp_path, c) for c in chosen}
        if policy == "stale":  # one baseline; the operator that started from it follows
            file = CellDirectory(tmp_path, cell("fp32")).file(CELL)
            write_json(file, json.loads(file.read_text()) | {"code": {}})
        printed = run(tmp_path, "bnn", "--seeds", "0,1", "--workers", 1, "--rerun", policy)
        assert re.search(f"^{2 if policy == 'stale' else 4} trained in", printed, re.M)
        for c in chosen:
            kept = CellDirectory(tmp_path, c).file("superseded")
            assert kept.exists() == (policy == "all" or c.seed == 0)
            assert done(tmp_path, c)["weights"] == before[c]["weights"]  # also: a worker trains as this process does
            if kept.exists():
                (old,) = kept.iterdir()
                assert json.loads((old / DONE).read_text()) == before[c]
        assert len([r for r in read([tmp_path]) if r.kind == "score"]) == len(chosen)


@pytest.mark.xdist_group("runs 2")
class TestSharedTraining:
    """The suite of `twins.py`, whose first task is trained as the second."""

    TASKS = ("tiny", "tiny_twin")

    def run(self, runs: Path, operators: str, *more: object, expect: int = 0) -> str:
        words = ("run", "twins", "--load", TINY, "--load", TINY.with_name("twins.py"), "--force", "--runs", runs)
        ended = bibench_here(*words, "--operators", operators, "--threads", 1, *more)
        assert ended.returncode == expect, ended.stdout + ended.stderr
        return ended.stdout

    def trained(self, runs: Path) -> list[str]:
        """The cells that were trained, and not judged alone."""
        return sorted(r.cell for r in read([runs]) if r.metric == "train_seconds" and not r.trained_as)

    def test_is_waited_for_and_done_once(self, tmp_path: Path) -> None:
        printed = self.run(tmp_path, "bnn,recu", "--workers", 2)
        assert re.search("^6 trained in", printed, re.M)
        ours = sorted(cell(o).path.as_posix() for o in ("fp32", "bnn", "recu"))
        assert self.trained(tmp_path) == ours
        theirs = {r.cell: r.trained_as for r in read([tmp_path]) if r.task == "tiny_twin"}
        assert theirs == {place.replace("tiny", "tiny_twin", 1): place for place in ours}

        file = CellDirectory(tmp_path, cell("bnn")).file(CELL)
        write_json(file, json.loads(file.read_text()) | {"code": {}})
        printed = self.run(tmp_path, "bnn,recu", "--workers", 2, "--rerun", "stale")
        assert re.search("^2 trained in", printed, re.M)
        assert self.trained(tmp_path) == ours

    def test_alone_a_task_trains_by_itself(self, tmp_path: Path) -> None:
        self.run(tmp_path, "bnn", "--tasks", "tiny_twin", "--workers", 1)
        assert self.trained(tmp_path) == sorted(f"tiny_twin/vgg_small,width=2/{o}/quick/seed0" for o in ("fp32", "bnn"))

    def test_that_failed_is_a_row_until_it_is_tried_again(self, tmp_path: Path, monkeypatch) -> None:
        more = ("--models", "breakable", "--workers", 1)
        monkeypatch.setenv("TINY_BROKEN", "1")
        printed = self.run(tmp_path, "bnn", *more, expect=1)
        line = 'tiny.py:88: raise RuntimeError("the model is broken")'
        why = f"its training is that of task tiny, which is not available (RuntimeError: the model is broken ({line}))"
        assert f"tiny_twin breakable fp32 quick seed 0: failed: {why}" in printed
        assert {r.status for r in read([tmp_path])} == {"failed"}
        monkeypatch.delenv("TINY_BROKEN")
        assert "0 trained, 4 failed" in self.run(tmp_path, "bnn", *more, expect=1)
        assert re.search("^4 trained in", self.run(tmp_path, "bnn", *more, "--rerun", "failed"), re.M)
        assert len(self.trained(tmp_path)) == 2

    def test_of_a_task_without_data_is_none(self, tmp_path: Path, monkeypatch) -> None:
        rows = {name: PlanRow(replace(cell("fp32"), task=choice(name)), "missing", todo=True) for name in self.TASKS}
        load_file(TINY.with_name("twins.py"))
        runner = Runner(list(rows.values()), Settings(tmp_path), 1, display=None)
        assert runner._next() == rows["tiny"].cell
        assert runner._next() == rows["tiny_twin"].cell  # would have to wait, were the other not out of the queue
        rows["tiny"].todo, rows["tiny"].state = False, "no data"
        runner = Runner(list(rows.values()), Settings(tmp_path), 1, display=None)
        runner._drop_blocked()
        assert runner._next() == rows["tiny_twin"].cell
