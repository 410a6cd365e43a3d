"""Locks of long work: which are dead, that a look and a taking agree, that one of many takes a dead one."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from bibench.foundation.leases import is_held, take

LEASE = 1.0
WHOLE = "filelock/2\npid={pid}\nhost={host}\nmode=lease\ntoken=0123456789abcdef0123456789abcdef\nduration=1.0\n"

CONTENTS = {
    "empty": b"",
    "garbage": b"\xff\x00no lock at all\n",
    "one line": b"filelock/2\n",
    "cut off": WHOLE.format(pid=1, host="elsewhere")[:-20].encode(),
    "zeros, as a disk leaves them without power": bytes(200),
    "larger than any": b"x" * 10_000,
    "of another host": WHOLE.format(pid=1, host="elsewhere").encode(),
    "of this process": b"OWN",
    "of a newer protocol": b"filelock/9\npid=1\nhost=elsewhere\nmode=novel\n",
    "of a strict lock": b"1\nfilelock-strict-v1\x00\n0\n",
}
AGES = {"long ago": lambda: 0.0, "just now": time.time, "in hours": lambda: time.time() + 7200}


def own_mark(folder: Path) -> str:
    """What this process writes into a lock that it holds."""
    lease = take(folder / "mine", LEASE)
    assert lease is not None
    text = (folder / "mine").read_text()
    lease.release()
    return text


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    (tmp_path / "cell").mkdir()
    return tmp_path / "cell" / "lock"


def leave(lock: Path, content: bytes, when: float) -> None:
    lock.write_bytes(own_mark(lock.parent).encode() if content == b"OWN" else content)
    os.utime(lock, (when, when))


def facts(lock: Path) -> tuple[object, ...]:
    found = lock.stat()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, lock.read_bytes()


def agree(lock: Path) -> bool:
    """Whether it could be taken, which a look must foretell."""
    held = is_held(lock, LEASE)
    lease = take(lock, LEASE)
    assert held == (lease is None)
    if lease is not None:
        assert lease.is_ours()
        assert is_held(lock, LEASE)
        assert take(lock, LEASE) is None
        lease.release()
        assert not lock.exists()
        assert not is_held(lock, LEASE)
    return lease is not None


@pytest.mark.parametrize("age", AGES)
@pytest.mark.parametrize("content", CONTENTS)
def test_whatever_it_holds_it_is_taken_over_after_the_lease(lock: Path, content: str, age: str) -> None:
    leave(lock, CONTENTS[content], AGES[age]())
    before = facts(lock)
    is_held(lock, LEASE)
    assert facts(lock) == before  # looking changes nothing
    assert sorted(lock.parent.iterdir()) == [lock]
    if age == "long ago":
        assert agree(lock)
        return
    assert not agree(lock)  # somebody may be about to write it, or renew it
    end = time.monotonic() + 5 * LEASE
    while not agree(lock):
        assert time.monotonic() < end, "busy for ever"
        time.sleep(0.1)


def test_one_that_is_renewed_is_held_whatever_the_clocks_say(lock: Path, monkeypatch) -> None:
    """The clock that stamps the files counts, not that of who looks."""
    now = time.time
    for hours in (-5, 5):
        monkeypatch.setattr("time.time", lambda hours=hours: now() + 3600 * hours)
        leave(lock, CONTENTS["of another host"], now())
        assert not agree(lock)


def test_a_look_leaves_a_holder_alone(lock: Path) -> None:
    lease = take(lock, LEASE)
    assert lease is not None
    mark = lock.read_bytes()
    for _ in range(20):
        assert is_held(lock, LEASE)
    assert lock.read_bytes() == mark
    time.sleep(2 * LEASE)  # its thread renews it
    assert is_held(lock, LEASE)
    assert take(lock, LEASE) is None
    assert lease.is_ours()
    lease.release()


def test_of_a_process_of_this_host_that_ended_it_is_free_at_once(lock: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from bibench.foundation.leases import take\n"
        "lease = take(Path(sys.argv[1]), 1000.0); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(lock)], check=True, timeout=300)
    assert re.search("^duration=1000", lock.read_text(), re.M)
    assert agree(lock)


def test_a_longer_lease_is_respected(lock: Path) -> None:
    """Two versions may not agree how long a lease is: who promised less often is waited for longer."""
    leave(lock, CONTENTS["of another host"].replace(b"duration=1.0", b"duration=60.0"), time.time() - 10)
    assert not agree(lock)


@pytest.mark.parametrize("promised", [b"99999999999", b"9" * 400])
def test_no_promise_holds_for_ever(lock: Path, promised: bytes) -> None:
    leave(lock, CONTENTS["of another host"].replace(b"duration=1.0", b"duration=" + promised), time.time() - 90_000)
    assert not is_held(lock, 60.0)
    lease = take(lock, 60.0)
    assert lease is not None and lease.is_ours()
    lease.release()


@pytest.mark.parametrize("make", [Path.mkdir, lambda lock: lock.symlink_to("nowhere"), os.mkfifo])
def test_what_is_no_file_is_nobodys_and_named(lock: Path, make: Callable[[Path], None]) -> None:
    make(lock)
    assert not is_held(lock, LEASE)
    with pytest.raises(OSError, match="something that is no file is in its place; move it away"):
        take(lock, LEASE)


def test_in_a_folder_that_cannot_be_written_only_a_living_holder_counts(lock: Path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert not is_held(lock, LEASE)
    leave(lock, b"", 0)
    assert not is_held(lock, LEASE)
    leave(lock, CONTENTS["of another host"], time.time())
    assert is_held(lock, LEASE)


def contend(lock: Path, barrier: Barrier, inside: Path) -> None:
    for _ in range(ROUNDS):
        barrier.wait()
        lease = take(lock, LEASE)
        if lease is not None:
            with inside.open("a") as stream:
                stream.write("+")
            time.sleep(0.05)
            assert lease.is_ours()
        barrier.wait()
        if lease is not None:
            lease.release()
            leave(lock, b"", 0)
        barrier.wait()


ROUNDS, RIVALS = 25, 4


def test_one_of_many_takes_a_dead_one(lock: Path, tmp_path: Path) -> None:
    leave(lock, b"", 0)
    context = multiprocessing.get_context("fork")
    barrier, inside = context.Barrier(RIVALS), tmp_path / "inside"
    rivals = [context.Process(target=contend, args=(lock, barrier, inside)) for _ in range(RIVALS)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join(120)
    assert [rival.exitcode for rival in rivals] == [0] * RIVALS
    assert inside.read_text() == "+" * ROUNDS  # never two at once, and never none


def test_who_lost_it_notices_and_leaves_the_others_alone(lock: Path) -> None:
    lease = take(lock, 1000.0)
    assert lease is not None
    lock.unlink()
    assert not lease.is_ours()
    other = take(lock, 1000.0)
    assert other is not None
    assert other.is_ours()
    assert not lease.is_ours()
    lease.release()
    assert other.is_ours()
    other.release()
