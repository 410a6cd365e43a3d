"""Locks of long work, which hosts that share a folder agree on: held for as long as they are renewed.

A lock is a file that names its holder (`filelock.SoftFileLease`, whose thread renews the file's time). It is dead when

- its holder was a process of this host that ended, which the library finds out, or
- it was not renewed for the length of the lease: by the clock of the file system that keeps its time, or, where that
  clock was turned back meanwhile, by having been watched for so long,

whatever it holds: a file that lost its content with the power is as dead as any. `is_held` and `take` follow this one
rule, and `is_held` only reads.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bibench.foundation.errors import require

MOST_BYTES = 4096
"""Of a lock that are read; a holder writes some 200."""

MOST_SECONDS = 86400.0
"""That a holder is believed to have promised; what says more is damaged, and would be held for ever."""

Look = tuple[os.stat_result, bytes]

_watched: dict[Path, tuple[tuple[int, int, int], float]] = {}


class Lease:
    """A lock that this process took."""

    def __init__(self, lock: Path, lease: Any) -> None:
        self._lock, self._lease = lock, lease
        self._token = f"\ntoken={lease.token}\n".encode()

    def is_ours(self) -> bool:
        """Whether the lock still is this process's; who slept past the lease may find another's in its place."""
        for pause in (0.05, 0.2, 0.0):  # others who look for the dead may move it aside for a moment
            look = _look(self._lock)
            if look is not None and self._token in look[1]:
                return True
            time.sleep(pause)
        return False

    def release(self) -> None:
        """Remove the lock, unless it is another's by now."""
        self._lease.release()


def is_held(lock: Path, seconds: float) -> bool:
    """Whether somebody works under `lock`, so that `take` would give None now."""
    look = _look(lock)
    return look is not None and not _expired(lock, look, seconds) and not _ended(look[1], seconds)


def take(lock: Path, seconds: float) -> Lease | None:
    """The lock, or None while somebody holds it.

    Args:
        seconds: the lease: a holder renews its lock three times as often.

    Raises:
        OSError: the folder cannot be written, or something that is no file is in the lock's place.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(lock).st_mode):
            raise FileExistsError(errno.EEXIST, "something that is no file is in its place; move it away", str(lock))
    for _ in range(2):
        lease = _acquired(lock, seconds)
        if lease is not None:
            return Lease(lock, lease)
        if not _removed(lock, seconds):
            return None
    return None  # another was quicker


def _acquired(lock: Path, seconds: float) -> Any:
    """A lease of the library where nobody holds the lock, or a process of this host that ended; else None."""
    require("filelock", extra="bench", purpose="running cells")
    from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

    # A new one each time: one that is kept would judge by how long it watched, with a patience of its own.
    lease = SoftFileLease(str(lock), lease_duration=seconds)
    try:
        lease.acquire(timeout=0)
    except (Timeout, LeaseSettingsMismatch):
        return None
    return lease


def _look(lock: Path) -> Look | None:
    """The lock and what it holds; None where there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = os.lstat(lock)
        if not stat.S_ISREG(found.st_mode):
            return None  # what is no file is nobody's lock; `take` refuses it
        try:
            descriptor = os.open(lock, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except PermissionError:  # another user's: its time must do
            return found, b""
        try:
            return os.fstat(descriptor), os.read(descriptor, MOST_BYTES)
        finally:
            os.close(descriptor)
    return None


def _expired(lock: Path, look: Look, seconds: float) -> bool:
    """Whether nobody renewed it for as long as its holder and we agreed on."""
    found, content = look
    promised = re.search(rb"^duration=([0-9.]+)$", content, re.M)
    if promised:
        with suppress(ValueError):
            seconds = max(seconds, min(float(promised[1]), MOST_SECONDS))
    key, now = (found.st_ino, found.st_mtime_ns, found.st_ctime_ns), time.monotonic()
    seen, since = _watched.get(lock, (None, now))
    if seen != key:
        since = now
        _watched[lock] = key, now
    return now - since > seconds or _now(lock.parent) - found.st_mtime > seconds


def _now(folder: Path) -> float:
    """The time by the clock that stamps the files of `folder`, which may be another host's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:  # without a name, where the system can do that
            return os.fstat(probe.fileno()).st_mtime
    except OSError:  # a folder that cannot be written
        return time.time()


def _ended(content: bytes, seconds: float) -> bool:
    """Whether the holder was a process of this host that ended: a copy of its lock could be taken at once."""
    try:
        with tempfile.TemporaryDirectory(prefix="bibench-lock-") as folder:
            copy = Path(folder, "lock")
            copy.write_bytes(content)
            lease = _acquired(copy, seconds)
            if lease is not None:
                lease.release()
            return lease is not None
    except OSError:
        return False


def _removed(lock: Path, seconds: float) -> bool:
    """Remove a lock whose lease ran out; whether it is worth trying again.

    Of several who want that, each locks the dead file itself, which only one can at a time, and then looks whether it
    still is the one at this place. So nobody removes the lock of who was quicker.
    """
    try:
        descriptor = os.open(lock, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return True
    try:
        if not _locked(descriptor):
            return False
        look = _look(lock)
        if look is None or not os.path.samestat(look[0], os.fstat(descriptor)):
            return True
        if not _expired(lock, look, seconds):
            return False
        lock.unlink(missing_ok=True)
        return True
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock an open file for this process until it is closed; where a system cannot, its names must do."""
    try:
        import fcntl
    except ImportError:  # Windows, where a file that its holder has open cannot be removed
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
