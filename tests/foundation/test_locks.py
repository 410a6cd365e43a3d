"""Locks of short work: nothing of two who change one file is lost, and nothing is left of a lock."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bibench.foundation.errors import StoreError
from bibench.foundation.files import write_text
from bibench.foundation.locks import exclusive

from .test_files import names


def count_up(file: Path, times: int) -> None:
    for _ in range(times):
        with exclusive(file):
            write_text(file, str(int(file.read_text() if file.exists() else 0) + 1))


def test_no_change_is_lost(tmp_path: Path) -> None:
    file, context = tmp_path / "new" / "a.txt", multiprocessing.get_context("fork")
    processes = [context.Process(target=count_up, args=(file, 25)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    assert file.read_text() == "100"
    assert names(file.parent) == ["a.txt"]


HOLD = """
import sys, time
from pathlib import Path
from bibench.foundation.files import scratch_beside
from bibench.foundation.locks import exclusive
with exclusive(Path(sys.argv[1])):
    scratch_beside(Path(sys.argv[1])).write_text("half")
    print("held", flush=True)
    time.sleep(300)
"""


def test_who_is_killed_inside_holds_nobody_up_and_leaves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    other = file.with_name(".b.txt-01234567")  # of who writes another file
    other.touch()
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        began = time.monotonic()
        with (
            pytest.raises(
                StoreError, match=r"another process has been writing .*a\.txt for 0 s .*; wait until it ended"
            ),
            exclusive(file, patience=0.2),
        ):
            pass
        assert time.monotonic() - began < 30
        assert len(names(tmp_path)) == 3  # what a living one writes stays
        process.send_signal(signal.SIGKILL)
        process.wait()
        with exclusive(file):
            assert names(tmp_path) == [".a.txt.lock", other.name]
    assert names(tmp_path) == [other.name]


def test_an_error_inside_passes_and_frees_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path / "a"):
        raise KeyError("mine")
    with exclusive(tmp_path / "a", patience=0.0):
        pass
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_names_the_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=r"cannot write .*/file/a \(.*\): check the folder"),
        exclusive(tmp_path / "file" / "a"),
    ):
        pass


def test_a_file_system_without_locks_gets_a_lease(tmp_path: Path, monkeypatch) -> None:
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with exclusive(tmp_path / "a"):
        assert "mode=lease" in (tmp_path / ".a.lease").read_text()
    assert names(tmp_path) == []
