"""The run folder: states from what is on disk, results that are kept, locks between processes."""

import json
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from bibench.foundation.errors import StoreError
from bibench.foundation.files import write_json
from bibench.suite import store
from bibench.suite.store import CELL, CHECKPOINT, DONE, FAILURE, LOCK, RECORDS, Busy, CellDirectory, cells_below

from ..foundation.test_files import names
from ..records.test_records import make
from ..worlds import cell

pytestmark = pytest.mark.usefixtures("in_tiny_world")


@pytest.fixture
def directory(tmp_path: Path) -> CellDirectory:
    made = CellDirectory(tmp_path, cell())
    made.create()
    return made


class TestState:
    def test_follows_from_the_files(self, directory: CellDirectory) -> None:
        assert directory.state == "missing"
        directory.describe(code={})
        assert directory.state == "missing"
        directory.file(CHECKPOINT).write_bytes(b"")
        assert directory.state == "interrupted"
        directory.fail("failed", "boom", "trace", [make(value=None, status="failed")])
        assert (directory.state, directory.reason) == ("failed", "boom")
        directory.fail("unsupported", "too small", "", [make(value=None, status="unsupported")])
        assert (directory.state, directory.reason) == ("unsupported", "too small")
        directory.clear_failure()
        assert (directory.state, directory.reason) == ("interrupted", "")
        assert not directory.file(RECORDS).exists()
        directory.write_records([make()])
        directory.finish({"weights": "x"})
        assert directory.state == "done"
        assert not directory.file(CHECKPOINT).exists()
        directory.file(RECORDS).unlink()
        assert directory.state == "missing"  # a number that is gone is no number
        directory.clear_failure()
        assert not directory.file(DONE).exists()  # the next attempt is done when it says so

    def test_a_damaged_failure_is_named(self, directory: CellDirectory) -> None:
        directory.fail("failed", "boom", "trace", [])
        directory.file(FAILURE).write_text("[]")
        for look in (lambda: directory.state, lambda: directory.reason):
            with pytest.raises(StoreError, match=r"failure\.json holds a list, expected an object; delete it"):
                look()

    def test_a_folder_that_does_not_exist_is_missing(self, tmp_path: Path) -> None:
        made = CellDirectory(tmp_path / "none", cell())
        assert (made.state, made.reason, made.description(), made.is_locked) == ("missing", "", {}, False)
        assert not (tmp_path / "none").exists()

    def test_a_failure_keeps_reason_traceback_and_a_row(self, tmp_path: Path) -> None:
        made = CellDirectory(tmp_path, cell())
        made.fail("failed", "boom", "Traceback ...", [make(value=None, status="failed", reason="boom")])
        assert json.loads(made.file(FAILURE).read_text()) == {
            "status": "failed",
            "reason": "boom",
            "traceback": "Traceback ...",
        }
        assert json.loads(made.file(RECORDS).read_text())["reason"] == "boom"

    def test_damaged_markers_name_their_file(self, directory: CellDirectory) -> None:
        directory.file(FAILURE).write_text("{")
        with pytest.raises(StoreError, match=r"failure\.json cannot be read .*; delete it or restore it"):
            _ = directory.state


class TestDescription:
    def test_says_what_the_cell_is_and_was_made_by(self, directory: CellDirectory) -> None:
        assert directory.description() == {}
        directory.describe(code={"a": "b"})
        assert directory.description() == {"cell": cell().to_dict(), "code": {"a": "b"}}

    @pytest.mark.parametrize("other", [{"cell": cell("recu").to_dict()}, {}, [], "x", {"cell": None}])
    def test_another_cells_folder_is_refused(self, directory: CellDirectory, other: object) -> None:
        write_json(directory.file(CELL), other)
        with pytest.raises(
            StoreError, match=rf"{CELL} does not describe tiny .* bnn quick seed 0; move the folder away"
        ):
            directory.description()


class TestSupersede:
    def test_keeps_every_earlier_result(self, directory: CellDirectory) -> None:
        for number in range(3):
            directory.describe(number=number)
            directory.write_records([make(seed=number)])
            directory.file("model.pt").write_text(str(number))
            directory.file("tensorboard").mkdir()
            directory.finish({"number": number})
            directory.file(CHECKPOINT).write_text("left over")
            directory.supersede()
            assert directory.state == "missing"
            assert names(directory.path) == ["superseded"]
        kept = sorted(directory.file("superseded").iterdir())
        assert [json.loads((k / DONE).read_text())["number"] for k in kept] == [0, 1, 2]
        for k in kept:
            assert names(k) == ["cell.json", "done.json", "model.pt", "records.jsonl", "tensorboard"]


@pytest.fixture
def another_process(tmp_path: Path) -> Callable[[], object]:
    """A context in which another process works on the cell; gives that process."""
    context = multiprocessing.get_context("fork")  # has imported everything: seconds less

    def work(pipe: Connection) -> None:
        with CellDirectory(tmp_path, cell()).locked():
            pipe.send("held")
            pipe.recv()

    @contextmanager
    def hold() -> Iterator[ForkProcess]:
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there,))
        process.start()
        there.close()  # so that its end is noticed
        try:
            assert here.recv() == "held"
            yield process
            if process.is_alive():
                here.send("let go")
                process.join(30)
                assert process.exitcode == 0
        finally:
            process.kill()
            process.join()

    return hold


def leave_lock_of_another_host(directory: CellDirectory) -> None:
    """The lock as a process elsewhere wrote it, of which nobody here can tell whether it lives."""
    with directory.locked():
        own = directory.file(LOCK).read_text()
    directory.file(LOCK).write_text(re.sub(r"(?m)^host=.*", "host=elsewhere", own))
    assert "host=elsewhere" in directory.file(LOCK).read_text()


class TestLock:
    def test_is_held_only_inside(self, directory: CellDirectory) -> None:
        with directory.locked():
            assert directory.is_locked
            assert directory.file(LOCK).exists()
            with pytest.raises(Busy), directory.locked():
                pass
            assert directory.is_locked
        assert not directory.is_locked
        assert not directory.file(LOCK).exists()
        with pytest.raises(RuntimeError, match="boom"), directory.locked():
            raise RuntimeError("boom")
        assert not directory.is_locked

    def test_another_process_makes_the_cell_busy(self, directory: CellDirectory, another_process) -> None:
        with another_process():
            assert directory.is_locked
            problem = rf"another process works on tiny .* bnn quick seed 0 \(.*{LOCK}\)"
            with pytest.raises(Busy, match=problem), directory.locked():
                pass
            with CellDirectory(directory.runs, cell("recu")).locked():
                pass  # other cells are free
        assert not directory.is_locked
        with directory.locked():
            pass

    def test_the_lock_of_a_process_of_this_host_that_died_is_taken_over(
        self, directory: CellDirectory, another_process
    ) -> None:
        with another_process() as process:
            process.kill()
            process.join()
            assert directory.file(LOCK).exists()
            with directory.locked():
                assert directory.is_locked
            assert not directory.is_locked

    def test_a_dead_processs_lock_does_not_show_as_running(self, directory: CellDirectory, another_process) -> None:
        with another_process() as process:
            process.kill()
            process.join()
            assert not directory.is_locked

    def test_the_lock_of_another_host_counts_while_it_is_renewed(self, directory: CellDirectory) -> None:
        leave_lock_of_another_host(directory)
        assert directory.is_locked
        with pytest.raises(Busy), directory.locked():
            pass
        old = time.time() - store.LEASE_SECONDS - 1
        os.utime(directory.file(LOCK), (old, old))
        assert not directory.is_locked

    def test_the_lock_of_a_host_that_died_is_taken_over_by_trying_again(
        self, directory: CellDirectory, monkeypatch
    ) -> None:
        monkeypatch.setattr(store, "LEASE_SECONDS", 0.3)
        leave_lock_of_another_host(directory)
        for _ in range(2):
            with pytest.raises(Busy), directory.locked():
                pass
        time.sleep(0.4)  # nobody renews it meanwhile
        for _ in range(2):  # one attempt sees that and takes it over, the next one may hold it
            try:
                with directory.locked():
                    assert "elsewhere" not in directory.file(LOCK).read_text()
                    return
            except Busy:
                pass
        pytest.fail("still busy")

    def test_a_closed_folder_names_the_fix(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("no folder")
        problem = r"cannot write .*/file/tiny.* \(Not a directory\): check the folder"
        with pytest.raises(StoreError, match=problem), CellDirectory(tmp_path / "file", cell()).locked():
            pass


@pytest.mark.parametrize("text", ["[1]", "{}", '{"cell": {"task": "t"}}'])
def test_a_folder_that_describes_no_cell_is_named(directory: CellDirectory, text: str) -> None:
    directory.describe()
    directory.file(CELL).write_text(text)
    with pytest.raises(StoreError, match=re.escape(str(directory.file(CELL)))):
        list(cells_below(directory.runs))
