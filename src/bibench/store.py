"""The run folder: one directory per cell, whose state is what is on disk.

cell.json        what the cell is and the code it was made by (written first)
checkpoint.pt    training in progress
curve.csv        one row per epoch
model.pt         the trained weights
records.jsonl    its numbers, or the reason why there are none
failure.json     why it failed, with the traceback
done.json        written last: the cell is complete
tensorboard/     logs, if asked for
lock             held while a process works on it
superseded/      what earlier runs of the cell left
"""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bibench.cell import Cell
from bibench.errors import BiBenchError, StoreError, require
from bibench.files import read_json, storing, write_json
from bibench.records import RECORDS as RECORDS
from bibench.records import Record, write_file
from bibench.sealed import DONE as DONE

CELL, CHECKPOINT, CURVE, MODEL = "cell.json", "checkpoint.pt", "curve.csv", "model.pt"
FAILURE, LOCK, SUPERSEDED = "failure.json", "lock", "superseded"
TENSORBOARD = "tensorboard"

LEASE_SECONDS = 120.0
"""A lock that was not renewed for so long (its machine died) may be taken over."""


class Busy(StoreError):
    """Another process works on the cell."""


@dataclass(frozen=True)
class CellDirectory:
    """The directory of one cell."""

    runs: Path
    cell: Cell

    @property
    def path(self) -> Path:
        """The directory."""
        return self.runs / self.cell.path

    def file(self, name: str) -> Path:
        """One of its files."""
        return self.path / name

    def create(self) -> None:
        """Make the directory."""
        with storing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    @property
    def state(self) -> str:
        """``done``, ``failed``, ``unsupported``, ``interrupted`` (a checkpoint waits) or ``missing``."""
        if self.file(DONE).exists() and self.file(RECORDS).exists():  # without its numbers it is to be made again
            return "done"
        if self.file(FAILURE).exists():
            return str(self._failure().get("status", "failed"))
        return "interrupted" if self.file(CHECKPOINT).exists() else "missing"

    @property
    def reason(self) -> str:
        """Why it failed or is unsupported, in one line."""
        return str(self._failure().get("reason", "")) if self.file(FAILURE).exists() else ""

    def _failure(self) -> dict[str, Any]:
        return _described(self.file(FAILURE))

    def description(self) -> dict[str, Any]:
        """What cell.json says ({} when there is none); an error when it describes another cell."""
        if not self.file(CELL).exists():
            return {}
        data = read_json(self.file(CELL))
        if not isinstance(data, dict) or data.get("cell") != self.cell.to_dict():
            raise StoreError(f"{self.file(CELL)} does not describe {self.cell}; move the folder away")
        return data

    def describe(self, **facts: Any) -> None:
        """Write cell.json."""
        write_json(self.file(CELL), {"cell": self.cell.to_dict(), **facts})

    def write_records(self, records: list[Record]) -> None:
        """Write the cell's records."""
        write_file(self.file(RECORDS), records)

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the cell done; nothing is written afterwards."""
        write_json(self.file(DONE), summary)
        with storing(self.path):
            self.file(CHECKPOINT).unlink(missing_ok=True)

    def fail(self, status: str, reason: str, traceback: str, records: list[Record]) -> None:
        """Leave the reason and a record with it."""
        self.create()
        self.write_records(records)
        write_json(self.file(FAILURE), {"status": status, "reason": reason, "traceback": traceback})

    def supersede(self) -> None:
        """Move what an earlier run left out of the way, keeping it."""
        target = self.file(SUPERSEDED) / datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        with storing(self.path):
            target.mkdir(parents=True)
            for name in (DONE, FAILURE, RECORDS, CURVE, MODEL, CELL, TENSORBOARD):  # the marker first
                if self.file(name).exists():
                    shutil.move(str(self.file(name)), target / name)
            self.file(CHECKPOINT).unlink(missing_ok=True)

    def clear_failure(self) -> None:
        """Forget an earlier failure, or a marker without records, so that the cell may be tried again."""
        with storing(self.path):
            for name in (DONE, FAILURE, RECORDS):
                self.file(name).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cell's lock, which works across hosts on a shared folder; `Busy` if another holds it."""
        require("filelock", extra="bench", purpose="running cells")
        from filelock import Timeout

        self.create()
        lease = _lease(self.file(LOCK))
        busy = Busy(f"another process works on {self.cell} ({self.file(LOCK)})")
        if lease.is_locked:  # by this process; the lease itself would count how often
            raise busy
        with storing(self.path):
            try:
                lease.acquire(timeout=0)
            except Timeout as error:
                raise busy from error
        try:
            yield
        finally:
            lease.release()

    @property
    def is_locked(self) -> bool:
        """Whether somebody seems to work on the cell now."""
        try:
            if time.time() - self.file(LOCK).stat().st_mtime > LEASE_SECONDS:
                return False
            with self.locked():  # the lock of a process of this host that died is free
                return False
        except FileNotFoundError:
            return False
        except StoreError:
            return True


def cells_below(folder: Path) -> Iterator[tuple[Path, Cell]]:
    """The cells that have a directory anywhere below `folder`, in order, with the files that describe them."""
    for file in sorted(folder.rglob(CELL)):
        if SUPERSEDED not in file.relative_to(folder).parts:
            data = _described(file)
            try:
                cell = Cell.from_dict(data.get("cell", {}))
            except BiBenchError as error:
                raise StoreError(f"{file}: {error}; move the folder away") from error
            yield file, cell


def _described(file: Path) -> dict[str, Any]:
    """The object in a JSON file of a cell."""
    data = read_json(file)
    if not isinstance(data, dict):
        raise StoreError(f"{file} holds a {type(data).__name__}, expected an object; delete it or restore it")
    return data


@cache
def _lease(lock: Path) -> Any:
    """The lock at a path, one object for all attempts: it judges others dead by having watched them."""
    from filelock import SoftFileLease

    return SoftFileLease(str(lock), lease_duration=LEASE_SECONDS)
