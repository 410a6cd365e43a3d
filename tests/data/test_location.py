"""Where data lives: the data root, the cache, and folders that are built once and whole."""

import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bibench.data import sums
from bibench.data.location import CACHE, DATA_ROOT, cache_dir, cached_folder, data_root
from bibench.foundation.errors import DataError

from ..flips import flips


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache (which does not exist yet)."""
    monkeypatch.setenv(CACHE, str(tmp_path / "some" / "cache"))
    return tmp_path / "some" / "cache"


# -- the data root -----------------------------------------------------------------------------------------


def test_no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_ROOT, raising=False)
    assert data_root() is None
    monkeypatch.setenv(DATA_ROOT, "")
    assert data_root() is None


def test_the_argument_comes_before_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, variable = tmp_path / "given", tmp_path / "variable"
    given.mkdir()
    variable.mkdir()
    monkeypatch.setenv(DATA_ROOT, str(variable))
    assert data_root() == variable.resolve()
    assert data_root(given) == data_root(str(given)) == given.resolve()
    monkeypatch.setenv(DATA_ROOT, str(tmp_path / "nowhere"))
    assert data_root(given) == given.resolve(), "a variable that is not used must not be checked"


def test_the_data_root_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    assert data_root("data") == (tmp_path / "data").resolve()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_root("~/data") == (tmp_path / "data").resolve()


@pytest.mark.parametrize("kind", ["nowhere", "file"])
def test_a_data_root_that_is_no_folder(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / kind
    message = f": {path} is not an existing folder; create it or name another one"
    with pytest.raises(DataError) as caught:
        data_root(path)
    assert str(caught.value) == "--data-root" + message
    monkeypatch.setenv(DATA_ROOT, str(path))
    with pytest.raises(DataError) as caught:
        data_root()
    assert str(caught.value) == "$BIBENCH_DATA" + message


# -- the cache ---------------------------------------------------------------------------------------------


def test_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(CACHE)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == tmp_path / ".cache" / "bibench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "bibench"
    monkeypatch.setenv(CACHE, "~/own")
    assert cache_dir() == tmp_path / "own"


def left_in(cache: Path) -> list[str]:
    """What is in the cache, besides locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def fill(folder: Path) -> None:
    assert list(folder.iterdir()) == []
    (folder / "data").write_text("whole")


def test_a_folder_is_built_once(cache: Path) -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        fill(folder)

    first, second = cached_folder("x-v1", build), cached_folder("x-v1", build)
    assert first == second == cache / "x-v1"
    assert (first / "data").read_text() == "whole"
    assert len(built) == 1
    assert built[0] != first, "it must not be built in its place"
    assert left_in(cache) == ["x-v1"]
    cached_folder("x-v2", build)
    assert left_in(cache) == ["x-v1", "x-v2"]


def test_others_may_read_the_cache(cache: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = cached_folder("x", fill)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_threads_build_once(cache: Path) -> None:
    barrier, built, results = threading.Barrier(4), [], []

    def build(folder: Path) -> None:
        built.append(folder)
        time.sleep(0.2)
        fill(folder)

    def ask() -> None:
        barrier.wait()
        results.append((cached_folder("x", build) / "data").read_text())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["whole"] * 4
    assert len(built) == 1


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    preamble = "import sys, time\nfrom pathlib import Path\nfrom bibench.data.location import cached_folder\n"
    command = [sys.executable, "-c", preamble + textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


BUILD_SLOWLY = """
    def build(folder):
        with open(sys.argv[1], "a") as log:
            log.write("built\\n")
        (folder / "data").write_text("half")
        time.sleep(0.3)
        (folder / "data").write_text("whole")

    print("ready", flush=True)
    sys.stdin.readline()
    print((cached_folder("x", build) / "data").read_text(), flush=True)
"""


def test_processes_build_once(cache: Path, tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    log = tmp_path / "log"
    processes += [python(BUILD_SLOWLY, str(log)) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.stdout.readline() for process in processes if process.stdout] == ["whole\n"] * 2
    assert log.read_text() == "built\n"
    assert left_in(cache) == ["x"]


def test_a_killed_build_leaves_nothing(cache: Path, processes: list[subprocess.Popen[str]]) -> None:
    code = """
        def build(folder):
            (folder / "data").write_text("half")
            print("half", flush=True)
            time.sleep(60)

        cached_folder("x", build)
    """
    processes.append(python(code))
    assert processes[0].stdout is not None
    assert processes[0].stdout.readline() == "half\n"
    processes[0].kill()
    processes[0].wait()
    assert not (cache / "x").exists()
    assert (cached_folder("x", fill) / "data").read_text() == "whole"
    assert left_in(cache) == ["x"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, DataError])
def test_a_failing_build_leaves_nothing(cache: Path, error: type[BaseException]) -> None:
    def build(folder: Path) -> None:
        fill(folder)
        raise error("stop")

    with pytest.raises(error, match=r"^stop$"):
        cached_folder("x", build)
    assert left_in(cache) == []
    assert (cached_folder("x", fill) / "data").read_text() == "whole"


def test_a_full_disk_while_building(cache: Path) -> None:
    def build(folder: Path) -> None:
        fill(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError) as caught:
        cached_folder("x", build)
    assert str(caught.value) == (
        f"cannot build x in the cache {cache}: [Errno 28] No space left on device; "
        "free space, or set $BIBENCH_CACHE to another folder"
    )
    assert left_in(cache) == []


def test_a_cache_that_cannot_be_written(cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")  # stops even root, unlike permissions
    with pytest.raises(DataError, match=f"^cannot build x in the cache {cache}: .*set \\$BIBENCH_CACHE to another"):
        cached_folder("x", fill)


def fill_deep(folder: Path) -> None:
    (folder / "train" / "a").mkdir(parents=True)
    (folder / "train" / "a" / "1").write_bytes(bytes(range(50)))
    (folder / "labels").write_text("whole")


@pytest.mark.parametrize("name", ["train/a/1", "labels", ".SHA256SUMS"])
def test_what_changed_since_it_was_built_is_told_with_the_fix(cache: Path, name: str) -> None:
    folder = cached_folder("x", fill_deep)
    for at in flips(folder / name):
        with pytest.raises(DataError, match=f"(damaged|missing).*; delete {folder} to have it made again"):
            cached_folder("x", fill_deep)
            pytest.fail(f"byte {at}")
    assert cached_folder("x", fill_deep) == folder
    (folder / name).unlink()
    if name != ".SHA256SUMS":  # a folder without is one of an older version
        with pytest.raises(DataError, match=f"{name} is missing"):
            cached_folder("x", fill_deep)


def test_what_was_compared_is_not_read_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cached_folder("x", fill_deep)
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))
    assert cached_folder("x", fill_deep) == folder
    monkeypatch.setattr(sums, "file_sha256", lambda file: pytest.fail(f"{file} was read again"))
    assert cached_folder("x", fill_deep) == folder


def test_a_finished_folder_needs_no_writing(cache: Path) -> None:
    folder = cached_folder("x", fill)
    for lock in cache.glob("*.lock"):
        lock.unlink()
    assert cached_folder("x", fill) == folder
    assert not list(cache.glob("*.lock")), "asking for a finished folder must not write to a cache"
