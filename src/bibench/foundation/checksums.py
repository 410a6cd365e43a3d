"""SHA-256 of what is stored, and archives of torch that carry that of their own bytes.

``torch.save`` writes a zip archive, which may end in a comment that readers of zip files, torch's included, skip. There
stands ``sha256:`` and the checksum of the archive as it was without the comment, so that no byte of the file can change
unnoticed wherever it is copied, and the file is one that every torch loads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_LABEL = b"sha256:"
_COMMENT = len(_LABEL) + 64
_END = 22
"""Bytes of a zip archive's end of central directory, the last two of which are the length of the comment behind it."""


def sha256(*parts: bytes | memoryview) -> str:
    """Of `parts`, one after the other; hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def file_digest(path: Path, algorithm: str) -> str:
    """Of the bytes of a file, by an algorithm of `hashlib` such as ``md5``; hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def file_sha256(path: Path) -> str:
    """Of the bytes of a file; hexadecimal."""
    return file_digest(path, "sha256")


def sums_line(digest: str, name: str) -> str:
    """What ``sha256sum`` prints of a file, without the end of the line."""
    return f"{digest}  {name}"


class _Hashing:
    """A stream for ``torch.save``: what passes through is hashed on its way."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.digest = stream, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()


def write_sealed(stream: BinaryIO, save: Callable[[Any], None]) -> None:
    """Let `save` write a zip archive without a comment to the empty file `stream`, and end it in its checksum."""
    through = _Hashing(stream)
    save(through)
    stream.seek(-2, 2)
    stream.write(_COMMENT.to_bytes(2, "little") + _LABEL + through.digest.hexdigest().encode())


@dataclass(frozen=True)
class Carried:
    """The checksum that an archive carries (cut short where the file is), and the one that its bytes have now."""

    told: str
    found: str


def carries(path: Path) -> bool:
    """Whether a file is one of `write_sealed`."""
    with path.open("rb") as stream:
        return _comment(stream) is not None


def carried(path: Path) -> Carried | None:
    """What a file of `write_sealed` says of itself, and what is true; None of any other file."""
    with path.open("rb") as stream:
        found = _comment(stream)
        return None if found is None else Carried(found[1], _sha256(stream, found[0]))


def _comment(stream: BinaryIO) -> tuple[int, str] | None:
    """Where the length of the comment is, and the checksum in the comment."""
    first = stream.seek(max(0, stream.seek(0, 2) - _END - _COMMENT))
    tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    length, comment = tail[at + _END - 2 : at + _END], tail[at + _END :]
    if at < 0 or not (int.from_bytes(length, "little") == _COMMENT or comment.startswith(_LABEL)):
        return None
    return first + at + _END - 2, comment.removeprefix(_LABEL).decode("ascii", "replace")


def _sha256(stream: BinaryIO, count: int) -> str:
    """Of the first `count` bytes of an archive and of the comment's length as it was when there was none."""
    stream.seek(0)
    digest = hashlib.sha256()
    while count > 0 and (part := stream.read(min(count, 1 << 20))):
        digest.update(part)
        count -= len(part)
    digest.update(b"\0\0")
    return digest.hexdigest()
