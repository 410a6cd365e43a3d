"""Locks of short work: who reads a file, changes it and writes it holds one, so that nothing of another's is lost."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bibench import leases
from bibench.errors import StoreError, require
from bibench.files import remove_leftovers, storing

PATIENCE = 60.0
"""Seconds that another may take for its own reading and writing."""

LEASE_SECONDS = 120.0
"""On a file system without locks of its own: how long a holder counts that gives no sign."""


@contextmanager
def exclusive(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Inside, no other process is inside for the same `path`, a file or folder that need not exist; its parent is made.

    The lock is the file ``.NAME.lock`` beside it, which is gone afterwards. The system lets go of it when its holder
    ends, however that is; where a file system has no locks, there is a lease instead, ``.NAME.lease``, which runs out.
    Only who is inside writes `path`, so what one that was killed left of writing it is removed.

    Raises:
        StoreError: another is inside for longer than `patience` seconds, or the folder cannot be written.
    """
    require("filelock", extra="bench", purpose="writing what other processes may write, too")
    file = path.with_name(f".{path.name}.lock")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquired(file, patience)
    if lock is None:
        raise StoreError(
            f"another process has been writing {path} for {patience:.0f} s (it holds {file}); wait until it ended, or "
            "name another place"
        )
    try:
        remove_leftovers(path.parent, path.name)
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while it is held: who waits for it notices, and makes a new one
        lock.release()


def _acquired(file: Path, patience: float) -> Any:
    """The lock, or None when it was not to be had."""
    from filelock import FileLock, Timeout

    lock = FileLock(str(file))
    try:
        lock.acquire(timeout=patience, poll_interval=0.01)
        return lock
    except Timeout:
        return None
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP):
            raise
    file.unlink(missing_ok=True)
    return _leased(file.with_suffix(".lease"), patience)  # a network file system without locks


def _leased(file: Path, patience: float) -> leases.Lease | None:
    end = time.monotonic() + patience + LEASE_SECONDS
    while time.monotonic() < end:
        if (lease := leases.take(file, LEASE_SECONDS)) is not None:
            return lease
        time.sleep(0.05)
    return None
