"""Files that are whole or absent: atomic writing, and the errors of full or read-only disks."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from bibench.checksums import carried, write_sealed
from bibench.errors import CheckpointError, DamagedError, StoreError


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it over `path`.

    A process that dies in between leaves the old file as it was. Raises `StoreError` when the folder
    cannot be written or the disk is full.
    """
    with storing(path):
        scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        try:
            with scratch.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


def remove_leftovers(folder: Path) -> None:
    """Delete what processes that were killed while they wrote left in `folder`."""
    with storing(folder):
        for scratch in folder.glob(".*-????????"):
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
    """Parse a JSON file; `StoreError` with the path when it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise StoreError(f"{path} cannot be read ({error}); delete it or restore it") from error


def save_checkpoint(path: Path, data: dict[str, Any]) -> None:
    """Save tensors and plain data for `load_checkpoint`, atomically, with a checksum of all bytes."""
    write_atomically(path, lambda stream: write_sealed(stream, lambda through: torch.save(data, through)))


def load_checkpoint(path: Path, device: str | torch.device = "cpu", *, compared: bool = False) -> dict[str, Any]:
    """Load what `save_checkpoint` wrote, or anybody's tensors and plain data.

    Never runs code from the file (``weights_only``). What carries a checksum is compared with it first.

    Args:
        compared: the caller knows a checksum of the file, and compared it.

    Raises:
        CheckpointError: it is missing or cannot be loaded; a `DamagedError` where a checksum differs.
    """
    try:
        if not compared:
            _compare_carried(path)
        data = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"checkpoint {path} does not exist") from error
    except DamagedError:
        raise
    except Exception as error:
        reason = str(error).split("\n", 1)[0].split(". ", 1)[0][:200]  # what follows advises to run the file's code
        raise CheckpointError(
            f"checkpoint {path} is damaged, or holds more than tensors and plain data and was therefore "
            f"not opened ({type(error).__name__}: {reason}); delete it or restore it"
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
