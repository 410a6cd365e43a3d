"""Files that are whole or absent: atomic writing, and the errors of full, read-only or failing disks."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bibench.foundation.checksums import carried, write_sealed
from bibench.foundation.errors import CheckpointError, DamagedError, StoreError
from bibench.foundation.typed_json import parse_json

if TYPE_CHECKING:
    import torch  # whoever only lists what is there does without it

RESTORE = "delete it or restore it"

_GUARDS: dict[Path, Callable[[], None]] = {}
_SCRATCH = re.compile(r"\.(?P<name>.+)-[0-9a-f]{8}")


def scratch_beside(path: Path) -> Path:
    """A free name beside `path`, for what takes its place when it is whole; `leftovers` finds it."""
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}")


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it over `path`.

    A process that dies in between leaves the old file as it was. Raises `StoreError` when the folder
    cannot be written or the disk is full, and what `guarding` raises where it says that nothing may be written.
    """
    check_guard(path)
    with storing(path):
        scratch = scratch_beside(path)
        try:
            with scratch.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            check_guard(path)  # writing a large file takes long, and so may sleep in between
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


@contextmanager
def guarding(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Inside, every file below `folder` is written only after `check`, which raises when it may not be."""
    folder = folder.absolute()
    _GUARDS[folder] = check
    try:
        yield
    finally:
        del _GUARDS[folder]


def is_guarded(folder: Path) -> bool:
    """Whether this process is inside `guarding` for that very folder."""
    return folder.absolute() in _GUARDS


def check_guard(path: Path) -> None:
    """Raise what the guards of the folders above `path` raise."""
    if _GUARDS:
        for folder in path.absolute().parents:
            if folder in _GUARDS:
                _GUARDS[folder]()


def leftovers(folder: Path, name: str | None = None) -> list[Path]:
    """What processes that were killed while they wrote left in `folder` (in the place of the file `name`).

    A process that is writing has such a file, too: only who may write alone can tell that nobody does.
    """
    found = ((entry, _SCRATCH.fullmatch(entry.name)) for entry in folder.iterdir())
    return sorted(entry for entry, one in found if one and name in (None, one["name"]))


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete the `leftovers`. The caller holds the lock of what is written there."""
    with storing(folder):
        for scratch in leftovers(folder, name):
            if scratch.is_dir() and not scratch.is_symlink():
                shutil.rmtree(scratch)
            else:
                scratch.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data`, atomically."""
    write_atomically(path, lambda stream: _write_all(stream, data))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Write `data` as indented JSON, atomically."""
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Parse a JSON file; `StoreError` with the path when it is damaged or may not be read.

    See `bibench.foundation.typed_json` for what is in it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(unreadable(path, error) or f"{path} cannot be read ({error}); {RESTORE}") from error
    return parse_json(content, str(path), RESTORE)


def save_checkpoint(path: Path, data: dict[str, Any]) -> None:
    """Save tensors and plain data for `load_checkpoint`, atomically, with a checksum of all bytes."""
    import torch

    write_atomically(path, lambda stream: write_sealed(stream, lambda through: torch.save(data, through)))


def load_checkpoint(path: Path, device: str | torch.device = "cpu", *, compared: bool = False) -> dict[str, Any]:
    """Load what `save_checkpoint` wrote, or anybody's tensors and plain data.

    Never runs code from the file (``weights_only``). What carries a checksum is compared with it first.

    Args:
        compared: the caller knows a checksum of the file, and compared it.

    Raises:
        CheckpointError: it is missing or cannot be loaded; a `DamagedError` where a checksum differs.
    """
    import torch

    try:
        if not compared:
            _compare_carried(path)
        data = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {path} does not exist") from error
    except DamagedError:
        raise
    except Exception as error:
        if problem := unreadable(path, error):
            raise CheckpointError(f"checkpoint {problem}") from error
        reason = str(error).split("\n", 1)[0].split(". ", 1)[0][:200]  # what follows advises to run the file's code
        raise CheckpointError(
            f"checkpoint {path} is damaged, or holds more than tensors and plain data and was therefore "
            f"not opened ({type(error).__name__}: {reason}); of a model save the state_dict() alone; {RESTORE}"
        ) from error
    if not isinstance(data, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(data).__name__}, expected a dictionary")
    return data


def _compare_carried(path: Path) -> None:
    said = carried(path)
    if said is not None and said.told != said.found:
        raise DamagedError(
            f"checkpoint {path} is damaged, its bytes are not those that were written (SHA-256 {said.found[:12]}..., "
            f"expected {said.told[:12]}...); delete it or restore it"
        )


_SYSTEM = {
    errno.EACCES: "you may not read it; change its permissions (chmod u+r) or ask its owner",
    errno.EPERM: "you may not read it; change its permissions (chmod u+r) or ask its owner",
    errno.EISDIR: "a folder is in its place; move that away",
    errno.ENOTDIR: "a file is in the place of a folder above it; move that away",
    errno.ELOOP: "its symbolic links lead in a circle; mend them",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n) and try again",
    errno.ENFILE: "too many files are open on this machine; try again",
    errno.ENOMEM: "memory is short; free some and try again",
} | dict.fromkeys(
    (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.ENODEV, errno.EHOSTDOWN, errno.ENOTCONN),
    "the disk or the connection to it failed; check it and try again",
)
"""What keeps a file from being read that is not the file's fault, and the fix."""


def unreadable(path: Path, error: BaseException) -> str:
    """That `path` cannot be read and why, where the system says so; "" where what it holds is at fault."""
    number = _system_error(error)
    return "" if number is None else f"{path} cannot be read ({os.strerror(number)}): {_SYSTEM[number]}"


def _system_error(error: BaseException | None) -> int | None:
    """The number of the system's error that a library may have hidden behind its own, or named in words alone."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        if number is None and (told := re.search(r"\(os error (\d+)\)", str(error))):  # libraries written in Rust
            number = int(told[1])
        if number is None and isinstance(error, MemoryError):
            number = errno.ENOMEM
        if number in _SYSTEM:
            return number
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn operating-system errors of writing at `path` into a `StoreError` that names the fix."""
    try:
        yield
    except (OSError, RuntimeError) as raised:
        error = raised if isinstance(raised, OSError) else raised.__context__  # torch.save hides it behind its own
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            fix = "the disk is full; free space and run again, finished work is kept"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            fix = "the folder cannot be written; change its permissions or choose another one (--runs)"
        else:
            fix = "check the folder"
        raise StoreError(f"cannot write {path} ({error.strerror or error}): {fix}") from error


def _write_all(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)
