"""Who is at work, for whoever finds the process dead: a few bytes in shared memory, no system call to leave them."""

from __future__ import annotations

import mmap
from pathlib import Path

SIZE = 64
EMPTY = b"\0" * SIZE


def create(path: Path) -> None:
    """Make the file that a `Marker` is mapped on."""
    path.write_bytes(EMPTY)


def read(path: Path) -> int | None:
    """The number that was left there last."""
    text = path.read_bytes().rstrip(b"\0").decode("ascii", "replace").strip()
    return int(text) if text.isdigit() else None


class Marker:
    """Leaves a number in the file at `path`."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as stream:
            self._memory = mmap.mmap(stream.fileno(), SIZE)

    def leave(self, number: int) -> None:
        """Say who works now."""
        self._memory[:] = str(number).encode("ascii").ljust(SIZE)
