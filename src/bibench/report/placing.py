"""A folder in the place of another, so that there is a whole one at every moment, whatever ends the process.

The kernel exchanges the two names in one step (Linux, macOS). Where a file system cannot, the old folder is moved aside
under a name that says so, and for the moment between two renames there is none; who comes next puts it back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

Rename = Callable[[bytes, bytes], int]

AT_FDCWD = -100
RENAME_EXCHANGE = 2
"""Linux, linux/fs.h; macOS has the same number for RENAME_SWAP, sys/stdio.h."""


def take_place(new: Path, out: Path) -> None:
    """Put the folder `new` in the place of `out`, which may be there; what was there is removed."""
    if not out.exists():
        new.rename(out)
    elif exchange(new, out):
        shutil.rmtree(new, ignore_errors=True)
    else:
        old = aside(out)
        out.rename(old)
        try:
            new.rename(out)
        except OSError:
            old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)


def recover(out: Path) -> None:
    """Bring to its end what a process that was killed in `take_place` began; the caller holds the lock of `out`."""
    old = aside(out)
    if old.is_dir() and not out.exists():
        old.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def aside(out: Path) -> Path:
    """Where the old folder is while the new one takes its place in two steps."""
    return out.with_name(f".{out.name}.replaced")


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    rename = _rename()
    if rename is None:
        return False
    problem = rename(os.fsencode(one), os.fsencode(other))
    if problem in (errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.ENOTSUP, errno.EOPNOTSUPP):
        return False
    if problem:
        raise OSError(problem, os.strerror(problem), str(one), None, str(other))
    return True


@cache
def _rename() -> Rename | None:
    """The exchange of the C library, which gives 0 or an error number; None where it has none."""
    if sys.platform not in ("linux", "darwin"):
        return None
    library = ctypes.CDLL(None, use_errno=True)
    call = getattr(library, "renamex_np" if platform.system() == "Darwin" else "renameat2", None)
    if call is None:  # before glibc 2.28 and musl 1.2.6
        return None

    def rename(one: bytes, other: bytes) -> int:
        flags = ctypes.c_uint(RENAME_EXCHANGE)
        if platform.system() == "Darwin":
            failed = call(ctypes.c_char_p(one), ctypes.c_char_p(other), flags)
        else:
            here = ctypes.c_int(AT_FDCWD)
            failed = call(here, ctypes.c_char_p(one), here, ctypes.c_char_p(other), flags)
        return ctypes.get_errno() if failed else 0

    return rename
