"""What a data set looks like on disk: the files and folders a task expects, and what is found of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bibench.data.sums import SUMS
from bibench.foundation.checksums import file_digest
from bibench.foundation.errors import DataError
from bibench.foundation.finding import data_tree

LARGE = 4 << 30
"""Files above this many bytes are hashed only when everything is to be read."""


@dataclass(frozen=True)
class Expected:
    """A file or folder below the data root.

    Attributes:
        path: relative to the data root, with ``/``.
        what: what it holds, for people.
        pattern: which files of a folder count (all of its tree by default).
        files: how many of those the published data set has; None if that is not known for sure.
        size: bytes of a file, likewise.
        checksum: of a file, as its publisher states it: ``md5:...`` or ``sha256:...``; never made up.
        required: False for what is only good to have (the archive of what is unpacked, ...).
    """

    path: str
    what: str = ""
    pattern: str = "*"
    files: int | None = None
    size: int | None = None
    checksum: str = ""
    required: bool = True


@dataclass(frozen=True)
class Found:
    """What is there of an `Expected`.

    Attributes:
        state: ``found``, ``missing``, ``absent`` (missing, but not required), ``incomplete`` (another
            number of files than published), ``damaged`` (another size or checksum) or ``unreadable``.
        files, size: number of files and bytes, None where nothing is.
        checksum: as computed, "" where none is expected.
        detail: what differs, or was not looked at.
    """

    path: str
    what: str
    state: str
    files: int | None = None
    size: int | None = None
    checksum: str = ""
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether training can rely on it."""
        return self.state in ("found", "absent")

    def told(self, where: str = "") -> str:
        """One sentence about a piece that is not good, without its full stop; `where` instead of its path."""
        said = f"{where or self.path} is {self.state}"
        if self.state == "missing" or not self.detail:
            return said
        if self.checksum and self.state == "damaged":
            algorithm, _, computed = self.checksum.partition(":")
            return f"{said}: its {algorithm} is {computed}, but {self.detail}; fetch it again"
        return f"{said}: {'it ' if self.detail.startswith(('has ', 'does ')) else ''}{self.detail}"


def inspect(root: Path, expected: Expected, *, everything: bool = False) -> Found:
    """Look at one expected file or folder; `everything` hashes large files too."""
    path = root / expected.path
    try:
        if path.is_dir():
            return _folder(path, expected)
        if path.is_file():
            return _file(path, expected, everything)
    except (OSError, DataError) as error:
        return Found(expected.path, expected.what, "unreadable", detail=str(error))
    published = f"published: {expected.checksum}" if expected.checksum else ""
    return Found(expected.path, expected.what, "missing" if expected.required else "absent", detail=published)


def tree_size(folder: Path, pattern: str = "*") -> tuple[int, int]:
    """Number and bytes of the files below `folder` whose names match, but those that hold the cache's checksums."""
    files = [file for file in data_tree(folder, pattern).files if file.name != SUMS]
    return len(files), sum(file.stat().st_size for file in files)


def _folder(path: Path, expected: Expected) -> Found:
    files, size = tree_size(path, expected.pattern)
    state, detail = "found", ""
    if expected.files is not None and files != expected.files:
        state, detail = "incomplete", f"has {files:,} files, the published data set {expected.files:,}"
    elif not files:
        state, detail = "incomplete", "has no files" if expected.pattern == "*" else f"has no {expected.pattern}"
    return Found(expected.path, expected.what, state, files, size, detail=detail)


def _file(path: Path, expected: Expected, everything: bool) -> Found:
    size = path.stat().st_size
    state, detail, computed = "found", "", ""
    if expected.size is not None and size != expected.size:
        state, detail = "damaged", f"has {size:,} bytes, the published file {expected.size:,}"
    elif expected.checksum and size > LARGE and not everything:
        detail = "checksum not computed (large file); --read computes it"
    elif expected.checksum:
        algorithm, _, published = expected.checksum.partition(":")
        computed = f"{algorithm}:{file_digest(path, algorithm)}"
        if computed != expected.checksum:
            state, detail = "damaged", f"the published file has {algorithm} {published}"
    return Found(expected.path, expected.what, state, 1, size, computed, detail)
