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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, TypeVar

from bibench import leases
from bibench.cell import Cell, Described
from bibench.errors import BiBenchError, StoreError
from bibench.files import (
    RESTORE,
    check_guard,
    guarding,
    is_guarded,
    leftovers,
    read_json,
    remove_leftovers,
    storing,
    write_json,
)
from bibench.finding import SUPERSEDED, results, warn_left_out
from bibench.records import RECORDS as RECORDS
from bibench.records import Record, write_file
from bibench.sealed import DONE as DONE
from bibench.typed_json import conform

T = TypeVar("T")

CELL, CHECKPOINT, CURVE, MODEL = "cell.json", "checkpoint.pt", "curve.csv", "model.pt"
FAILURE, LOCK = "failure.json", "lock"
TENSORBOARD = "tensorboard"

LEASE_SECONDS = 120.0
"""A lock that was not renewed for so long (its machine died) may be taken over."""


class TrainedBy(TypedDict, total=False):
    """A recipe, as far as it is read again."""

    epochs: int


class Description(TypedDict):
    """cell.json."""

    cell: Described
    code: NotRequired[dict[str, str]]
    initial_weights: NotRequired[str]
    baseline_weights: NotRequired[str]
    trained_as: NotRequired[str]
    recipe: NotRequired[TrainedBy]


class Failure(TypedDict):
    """failure.json."""

    status: Literal["failed", "unsupported"]
    reason: str
    traceback: NotRequired[str]


class Summary(TypedDict, total=False):
    """done.json."""

    weights: str
    score: float | None
    train_seconds: float
    seconds: float
    files: dict[str, str]
    sha256: str


class Busy(StoreError):
    """Another process works on the cell."""


class Lost(Busy):
    """Another process took the cell over while this one worked on it."""


@dataclass(frozen=True)
class CellDirectory:
    """The directory of one cell.

    What writes to it holds its lock: that of `locked` around it, or else one for this write alone. So it raises `Busy`
    while another process works on the cell, and `Lost` when that took the lock from this one.
    """

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
        if self._has(DONE) and self._has(RECORDS):  # without its numbers it is to be made again
            return "done"
        if self._has(FAILURE):
            return self._failure()["status"]
        return "interrupted" if self._has(CHECKPOINT) else "missing"

    @property
    def reason(self) -> str:
        """Why it failed or is unsupported, in one line."""
        return self._failure()["reason"] if self._has(FAILURE) else ""

    def _has(self, name: str) -> bool:
        """Whether it has a file; a `StoreError` where its folder is closed, which is not to be taken for missing."""
        try:
            return self.file(name).exists()
        except OSError as error:
            raise StoreError(f"{self.path} cannot be looked into ({error.strerror}); make it readable") from error

    def _failure(self) -> Failure:
        return _holds(self.file(FAILURE), Failure)

    def summary(self) -> Summary:
        """What done.json says."""
        return _holds(self.file(DONE), Summary)

    def description(self) -> dict[str, Any]:
        """What cell.json says ({} when there is none); an error when it describes another cell."""
        if not self._has(CELL):
            return {}
        data = read_json(self.file(CELL))
        if not isinstance(data, dict) or data.get("cell") != self.cell.to_dict():
            raise StoreError(f"{self.file(CELL)} does not describe {self.cell}; move the folder away")
        return dict(conform(data, Description, str(self.file(CELL)), RESTORE))

    def describe(self, **facts: Any) -> None:
        """Write cell.json."""
        with self._writing():
            write_json(self.file(CELL), {"cell": self.cell.to_dict(), **facts})

    def write_records(self, records: list[Record]) -> None:
        """Write the cell's records."""
        with self._writing():
            write_file(self.file(RECORDS), records)

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the cell done; nothing is written afterwards."""
        with self._writing():
            write_json(self.file(DONE), summary)
            self._remove(CHECKPOINT)

    def fail(self, status: str, reason: str, traceback: str, records: list[Record]) -> None:
        """Leave the reason and a record with it."""
        with self._writing():
            self.write_records(records)
            write_json(self.file(FAILURE), {"status": status, "reason": reason, "traceback": traceback})

    def supersede(self) -> None:
        """Move what an earlier run left out of the way, keeping it."""
        stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        with self._writing(), storing(self.path):
            unfinished = self.file(SUPERSEDED) / f".{stamp}"
            unfinished.mkdir(parents=True)
            self._supersede_into(unfinished)

    def _supersede_into(self, unfinished: Path) -> None:
        """The folder is hidden until all is in it: where the process is killed before, who comes next ends this."""
        for name in (DONE, FAILURE, RECORDS, CURVE, MODEL, CELL, TENSORBOARD):  # the marker first
            if self.file(name).exists():
                shutil.move(str(self.file(name)), unfinished / name)
        self.file(CHECKPOINT).unlink(missing_ok=True)
        unfinished.rename(unfinished.with_name(unfinished.name[1:]))

    def clear_failure(self) -> None:
        """Forget an earlier failure, or a marker without records, so that the cell may be tried again."""
        with self._writing():
            self._remove(DONE, FAILURE, RECORDS)

    def discard_checkpoint(self) -> None:
        """Forget the training in progress."""
        with self._writing():
            self._remove(CHECKPOINT)

    def _remove(self, *names: str) -> None:
        with storing(self.path):
            for name in names:
                self.file(name).unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if is_guarded(self.path):
            check_guard(self.file(LOCK))
            yield
        else:
            with self.locked():
                yield

    @property
    def has_leftovers(self) -> bool:
        """Whether a process that was killed left something beside a result, which `locked` removes."""
        if not self.path.is_dir():
            return False
        finished = self.state == "done" and self.file(CHECKPOINT).exists()
        return finished or bool(leftovers(self.path)) or bool(self._unfinished())

    def _unfinished(self) -> list[Path]:
        return sorted(self.file(SUPERSEDED).glob(".*Z"))

    def _tidy(self) -> None:
        """Remove, or bring to its end, what a process that was killed left."""
        remove_leftovers(self.path)
        with storing(self.path):
            for folder in self._unfinished():
                if next(folder.iterdir(), None) is None:  # killed before anything was moved
                    folder.rmdir()
                else:
                    self._supersede_into(folder)
        if self.file(DONE).exists() and self.file(RECORDS).exists():
            self._remove(CHECKPOINT)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the cell's lock, which works across hosts on a shared folder; `Busy` if another holds it.

        Every writing below the folder asks first whether the lock still is this process's, and raises `Lost` if not.
        """
        self.create()
        lock = self.file(LOCK)
        with storing(lock):
            lease = leases.take(lock, LEASE_SECONDS)
        if lease is None:
            raise Busy(f"another process works on {self.cell} ({lock})")

        def check() -> None:
            if not lease.is_ours():
                raise Lost(
                    f"another process took over {self.cell}: this one did not renew {lock} for {LEASE_SECONDS:.0f} s "
                    "(was it stopped, or its machine asleep?) and writes nothing more there"
                )

        try:
            with guarding(self.path, check):
                self._tidy()
                yield
        finally:
            with storing(lock):
                lease.release()

    @property
    def is_locked(self) -> bool:
        """Whether somebody works on the cell now, so that `locked` would raise `Busy`."""
        with storing(self.file(LOCK)):
            return leases.is_held(self.file(LOCK), LEASE_SECONDS)


def cells_below(folder: Path) -> Iterator[tuple[Path, Cell]]:
    """The cells that have a directory anywhere below `folder`, in order, with the files that describe them.

    Links are followed, each real file is read once, and what cannot be read is warned of, as by `records.read`.
    """
    for file in results(folder, CELL):
        try:
            cell = described_cell(file)
        except StoreError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            warn_left_out(str(error))
            continue
        yield file, cell


def described_cell(file: Path) -> Cell:
    """The cell that a file cell.json describes."""
    try:
        return Cell.from_dict(_holds(file, Description)["cell"])
    except StoreError:
        raise
    except BiBenchError as error:
        raise StoreError(f"{file}: {error}; move the folder away") from error


def described_epochs(file: Path) -> int:
    """The epochs of the recipe in a file cell.json, 0 if it has none."""
    return _holds(file, Description).get("recipe", {}).get("epochs", 0)


def _holds(file: Path, kind: type[T]) -> T:
    """The object of `kind` in a JSON file of a cell."""
    return conform(read_json(file), kind, str(file), RESTORE)
