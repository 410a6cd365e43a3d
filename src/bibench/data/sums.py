"""Checksums of what lies in the cache: written beside the files once they are whole, compared before they are used.

``.SHA256SUMS`` in a folder has a line for each file below it, in the form of ``sha256sum``; a folder below that has
such a file of its own is told by that. What was cached before there were checksums has none, and is believed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bibench.foundation.checksums import file_sha256, sums_line
from bibench.foundation.errors import DataError

SUMS = ".SHA256SUMS"

SETTLED = 2 * 10**9
"""Nanoseconds after which another change shows in a file's time; the clocks of some file systems are that coarse."""

State = list[tuple[str, int, int]]
_compared: dict[Path, State] = {}
"""Folders that this process has compared, and how their files looked then."""


def seal(folder: Path) -> None:
    """Write the checksums of the files below `folder` into it."""
    lines = [sums_line(file_sha256(folder / name), name) for name in _files(folder)]
    (folder / SUMS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def compare(folder: Path, remove: Path | None = None) -> None:
    """`DataError` unless the files below `folder` have the checksums that are stored with them, if any.

    Files that look as they did when this process last compared them (names, sizes and times) are not read again.

    Args:
        remove: the folder to delete for all of it to be made again (`folder` by default).
    """
    if not (folder / SUMS).exists():
        return
    state = [_look(folder, name) for name in (SUMS, *_files(folder))]
    if _compared.get(folder) == state:
        return
    fix = f"delete {remove or folder} to have it made again"
    *lines, end = (folder / SUMS).read_bytes().decode("utf-8", "replace").split("\n")
    for line in [*lines, *([end] if end else [])]:
        expected, _, name = line.partition("  ")
        file = folder / name
        if not name or not file.is_file():
            raise DataError(f"{file} is missing, or {SUMS} is damaged; {fix}")
        if file_sha256(file) != expected:
            raise DataError(f"{file} is damaged (its checksum is not the one it was made with); {fix}")
    if max(changed for _, _, changed in state) < time.time_ns() - SETTLED:
        _compared[folder] = state


def _look(folder: Path, name: str) -> tuple[str, int, int]:
    found = (folder / name).stat()
    return name, found.st_size, found.st_mtime_ns


def _files(folder: Path) -> Iterator[str]:
    """The files below a folder, but those of folders with checksums of their own."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here != folder and SUMS in files:
            folders.clear()
            continue
        folders.sort()
        yield from ((here / name).relative_to(folder).as_posix() for name in sorted(files) if name != SUMS)
