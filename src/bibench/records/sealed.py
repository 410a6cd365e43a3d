"""What is said of stored files, and compared with them whenever one is read: by done.json, or by a checksum beside.

A finished cell's ``done.json`` has the SHA-256 of its files, and one of itself. What BiBench finished before that has
the score and the fingerprint of the weights, which readers compare instead. A file of measured records has its checksum
beside it, as ``records.jsonl.sha256`` in the form of ``sha256sum``. Nothing that is damaged is moved or deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bibench.foundation.checksums import file_sha256, sha256, sums_line
from bibench.foundation.errors import DamagedError, StoreError
from bibench.foundation.files import read_json, unreadable, write_text

DONE = "done.json"
FIX = "restore it, or train the cell anew with --rerun failed, which keeps what is there"
_UNSEALED = {"weights", "score", "train_seconds", "seconds"}
"""All that done.json had before it had checksums."""


def sealed(summary: dict[str, Any], folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """The content of done.json: `summary`, the checksums of the files of `folder` with these names, and its own."""
    there = (name for name in names if (folder / name).exists())
    whole = {**summary, "files": {name: file_sha256(folder / name) for name in there}}
    return {**whole, "sha256": _digest(whole)}


def told(folder: Path) -> dict[str, Any]:
    """What done.json in `folder` says; {} where there is none.

    Raises:
        DamagedError: it is not what was written.
        StoreError: it may not be read, which is not its fault.
    """
    file = folder / DONE
    try:
        said = read_json(file)
    except StoreError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return {}
        if unreadable(file, error):
            raise
        raise DamagedError(f"{file} is damaged ({error.__cause__}); {FIX}") from error
    if not isinstance(said, dict):
        raise DamagedError(f"{file} is damaged: it holds a {type(said).__name__}, expected an object; {FIX}")
    own = said.pop("sha256", None)
    if own is None and said.keys() <= _UNSEALED:
        return said
    if own != _digest(said):
        raise DamagedError(f"{file} is damaged: it does not have the checksum that it says it has; {FIX}")
    return said


def compare(folder: Path, name: str) -> dict[str, Any]:
    """What done.json says, after the file `name` beside it was compared with its checksum there, if it has one.

    Raises:
        DamagedError: the file or done.json is not what was written.
        StoreError: one of them may not be read.
    """
    said = told(folder)
    while problem := _problem(folder / name, said.get("files", {}).get(name, "")):
        before, said = said, told(folder)
        if said == before:  # else the cell is being trained anew, and the file was newer than what was said of it
            raise DamagedError(f"{folder / name} is damaged: {problem}; {FIX}")
    return said


def _problem(file: Path, expected: str) -> str:
    if not expected:
        return ""
    try:
        found = file_sha256(file)
    except OSError as error:
        if problem := unreadable(file, error):
            raise StoreError(problem) from error
        return f"it cannot be read ({error.strerror or error})"
    differs = f"it differs from what {DONE} tells of (SHA-256 {found[:12]}..., expected {expected[:12]}...)"
    return "" if found == expected else differs


def _digest(said: dict[str, Any]) -> str:
    return sha256(json.dumps(said, sort_keys=True).encode())


# -- a checksum beside a file ------------------------------------------------------------------------------


def beside(file: Path) -> Path:
    """Where the checksum of a file is that no done.json tells of."""
    return file.with_name(file.name + ".sha256")


def write_beside(file: Path, text: str) -> None:
    """Write a text file with its checksum beside it; killed in between, the old file or the new one is whole."""
    line = sums_line(sha256(text.encode()), file.name) + "\n"
    older = sums_line(file_sha256(file), file.name) + "\n" if file.exists() else ""
    write_text(beside(file), line + older)
    write_text(file, text)
    write_text(beside(file), line)


def compare_beside(file: Path) -> None:
    """`DamagedError` unless a file has the checksum beside it, if any; `StoreError` where one may not be read."""
    lines = _lines(beside(file))
    while lines and _line_of(file) not in lines:
        before, lines = lines, _lines(beside(file))
        if lines == before:  # else it is being written anew
            raise DamagedError(
                f"{file} is damaged: it differs from its checksum in {beside(file).name}; "
                "restore it, or delete both and measure again"
            )


def _lines(file: Path) -> list[str]:
    with _reading(file), suppress(FileNotFoundError):
        return file.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    return []


def _line_of(file: Path) -> str:
    with _reading(file):
        return sums_line(file_sha256(file), file.name)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(unreadable(file, error) or f"{file} cannot be read ({error})") from error
