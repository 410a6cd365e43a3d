"""Nobody writes into a cell that another process holds: not without its lock, nor after having lost it."""

import json
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bibench.deploy.storing import append
from bibench.execution.plan import PlanRow
from bibench.execution.runner import Runner
from bibench.execution.worker import Result, record_failure, run_cell
from bibench.foundation.errors import StoreError
from bibench.foundation.files import save_checkpoint, write_atomically, write_text
from bibench.records.record import read_file
from bibench.suite import store
from bibench.suite.store import CHECKPOINT, CURVE, DONE, LOCK, MODEL, RECORDS, Busy, CellDirectory, Lost
from bibench.train.cell import Hooks, Settings

from ..killing import killed_at
from ..records.test_records import make
from ..suite.test_store import another_process  # noqa: F401
from ..worlds import TINY, cell
from .test_files import names

pytestmark = pytest.mark.usefixtures("in_tiny_world")

WRITERS: dict[str, Callable[[CellDirectory], object]] = {
    "describe": lambda d: d.describe(code={}),
    "records": lambda d: d.write_records([make()]),
    "finish": lambda d: d.finish({"weights": "mine"}),
    "fail": lambda d: d.fail("failed", "boom", "", [make(value=None, status="failed")]),
    "record_failure": lambda d: record_failure(d, "failed", "boom", ""),
    "supersede": CellDirectory.supersede,
    "clear_failure": CellDirectory.clear_failure,
    "discard_checkpoint": CellDirectory.discard_checkpoint,
}
FILES: dict[str, Callable[[CellDirectory], object]] = {
    "checkpoint": lambda d: save_checkpoint(d.file(CHECKPOINT), {"a": 1}),
    "model": lambda d: save_checkpoint(d.file(MODEL), {"a": 1}),
    "curve": lambda d: write_text(d.file(CURVE), "epoch\n"),
}


@pytest.fixture
def directory(tmp_path: Path) -> CellDirectory:
    """A cell that has all its files."""
    made = CellDirectory(tmp_path, cell())
    with made.locked():
        made.describe(code={"theirs": "1"})
        made.write_records([make(seed=7)])
        made.file(MODEL).write_text("theirs")
        made.finish({"weights": "theirs"})
        made.file(CHECKPOINT).write_text("theirs")
    return made


def content(directory: CellDirectory) -> dict[str, bytes]:
    files = (file for file in directory.path.rglob("*") if file.is_file() and file.name != LOCK)
    return {str(file.relative_to(directory.path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("write", WRITERS)
def test_a_writer_without_the_lock_leaves_another_processs_cell_alone(
    directory: CellDirectory,
    another_process,  # noqa: F811
    write: str,
) -> None:
    with another_process():
        directory.file(CHECKPOINT).write_text("an hour of training")
        before = content(directory)
        with pytest.raises(Busy, match="another process works on"):
            WRITERS[write](directory)
        assert content(directory) == before
        assert directory.is_locked
    WRITERS[write](directory)  # nobody holds it any more
    assert content(directory) != before or write == "discard_checkpoint"
    assert not directory.file(LOCK).exists()


@pytest.mark.parametrize("write", WRITERS | FILES)
def test_who_lost_the_lock_writes_nothing(directory: CellDirectory, write: str) -> None:
    with directory.locked():
        directory.file(LOCK).unlink()
        directory.file(LOCK).write_text("of another")
        before = content(directory)
        with pytest.raises(Lost, match=r"another process took over tiny .*did not renew .*lock for 120 s"):
            (WRITERS | FILES)[write](directory)
        assert content(directory) == before
    assert directory.file(LOCK).read_text() == "of another"  # and is not released either


def test_a_large_file_is_not_put_in_place_by_who_slept_while_writing_it(directory: CellDirectory) -> None:
    def sleep(stream) -> None:
        stream.write(b"mine")
        directory.file(LOCK).unlink()

    before = content(directory)
    with pytest.raises(Lost), directory.locked():
        directory.file(CHECKPOINT).write_text("theirs")
        write_atomically(directory.file(MODEL), sleep)
    assert content(directory) == before


def test_other_cells_are_not_concerned(directory: CellDirectory) -> None:
    other = CellDirectory(directory.runs, cell("recu"))
    with directory.locked(), other.locked():
        directory.file(LOCK).unlink()
        other.describe(code={})
        write_text(directory.runs / "notes.txt", "x")
        with pytest.raises(Lost):
            directory.describe(code={})


SLEEP = """
import sys, json, os, signal, time
from pathlib import Path
from bibench.suite import store
store.LEASE_SECONDS = 1.5
from bibench.suite.cell import Cell
from bibench.foundation.registry import load_file
from bibench.train.cell import Hooks, Settings
from bibench.execution.worker import run_cell
load_file(sys.argv[1])
def report(event):
    if event["epoch"] == 1 and not Path(sys.argv[2], "slept").exists():
        Path(sys.argv[2], "slept").touch()
        print("asleep", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
settings = Settings(Path(sys.argv[2]), device="cpu", threads=1)
result = run_cell(Cell.from_dict(json.loads(sys.argv[3])), settings, Hooks(report), anew=False)
print(result.status, result.reason, flush=True)
"""


@pytest.mark.slow
def test_who_slept_past_its_lease_leaves_what_another_finished_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(store, "LEASE_SECONDS", 1.5)
    chosen, settings = cell("fp32", "long"), Settings(tmp_path, device="cpu", threads=1)
    words = [sys.executable, "-c", SLEEP, str(TINY), str(tmp_path), json.dumps(chosen.to_dict())]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as sleeper:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == "asleep\n"
        directory, end = CellDirectory(tmp_path, chosen), time.monotonic() + 60
        while directory.is_locked and time.monotonic() < end:
            time.sleep(0.1)
        assert run_cell(chosen, settings, Hooks(), anew=False) == Result("done")
        before = content(directory)
        sleeper.send_signal(signal.SIGCONT)
        said = sleeper.stdout.read()
    assert said.startswith("busy another process took over tiny"), said
    assert content(directory) == before
    assert directory.state == "done"


class Notes:
    """A display that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.ended: list[Result] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def end(self, worker: int, cell: object, result: Result, seconds: float) -> None:
        self.ended.append(result)


def test_a_run_comes_back_later_to_a_cell_whose_failure_it_may_not_write(tmp_path: Path, another_process) -> None:  # noqa: F811
    display, chosen = Notes(), cell()
    runner = Runner([PlanRow(chosen, "missing", todo=True)], Settings(tmp_path, device="cpu"), 1, display)  # type: ignore[arg-type]
    runner._queue.clear()
    directory = CellDirectory(tmp_path, chosen)
    with another_process():
        runner._fail(-1, chosen, "its full-precision baseline is not available (boom)", 0.0)
        runner._drop_blocked()
        assert names(directory.path) == [LOCK]
        assert runner._queue == [chosen]
        assert not display.ended
        (note,) = display.notes
        assert note.startswith("another process works on tiny")
        assert note.endswith("coming back to it later")
    runner._fail(-1, chosen, "boom", 0.0)
    assert directory.state == "failed"
    assert display.ended == [Result("failed", "boom")]
    with directory.locked():
        directory.clear_failure()
        directory.write_records([make()])
        directory.finish({"weights": "theirs"})
    runner._fail(-1, chosen, "boom", 0.0)  # the other process finished it meanwhile
    assert display.ended[-1] == Result("done", "by another process")
    assert directory.state == "done"


class TestLeftovers:
    def test_beside_a_result_are_removed_by_the_next_run(self, directory: CellDirectory, another_process) -> None:  # noqa: F811
        half = directory.file(".model.pt-0123abcd")
        half.touch()
        row = PlanRow(directory.cell, "done")
        runner = Runner([row], Settings(directory.runs, device="cpu"), 1, Notes())  # type: ignore[arg-type]
        with another_process():  # whose file it may be
            half.touch()
            runner.run()
            assert half.exists()
        directory.file(CHECKPOINT).touch()
        assert directory.has_leftovers
        runner.run()
        assert not directory.has_leftovers
        assert names(directory.path) == ["cell.json", DONE, MODEL, RECORDS]

    def test_a_training_in_progress_is_none(self, tmp_path: Path) -> None:
        made = CellDirectory(tmp_path, cell())
        assert not made.has_leftovers
        with made.locked():
            save_checkpoint(made.file(CHECKPOINT), {"a": 1})
        assert not made.has_leftovers
        with made.locked():
            assert made.state == "interrupted"

    def test_of_setting_a_result_aside_are_brought_to_an_end(self, directory: CellDirectory) -> None:
        before = content(directory)
        before.pop(CHECKPOINT)
        for step in range(1, 20):
            if not killed_at(step, directory.supersede, ("os.rename",)):
                break
            with directory.locked():
                pass
            if directory.state == "done":  # nothing had been moved
                assert {name: data for name, data in content(directory).items() if name != CHECKPOINT} == before
                continue
            (kept,) = directory.file("superseded").iterdir()
            assert {file.name: file.read_bytes() for file in kept.iterdir()} == before
            assert names(directory.path) == ["superseded"]
            for file in kept.iterdir():
                file.rename(directory.file(file.name))
            kept.rmdir()
        assert step > 4


def test_records_appended_at_once_are_all_kept(tmp_path: Path) -> None:
    file, context = tmp_path / "x.jsonl", multiprocessing.get_context("fork")
    processes = [context.Process(target=append_ten, args=(file, 10 * n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 3
    assert sorted(record.seed for record in read_file(file)) == list(range(30))
    assert names(tmp_path) == ["x.jsonl"]


def append_ten(file: Path, first: int) -> None:
    for seed in range(first, first + 10):
        append([make(seed=seed)], file)


def test_a_lock_that_cannot_be_read_is_an_error_of_the_store(directory: CellDirectory, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.lstat", refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        _ = directory.is_locked
