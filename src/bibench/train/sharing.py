"""One training for two tasks: what a cell takes over from the finished cell of the task it is trained as.

A task says that it is trained as another one (`Task.trained_as`). Before anything is taken over, that is proved for the
cell at hand: the other was made by the present code, from the same initial and full-precision weights, with the same
recipe and the same batches in the same order. So the result is that of a training of its own, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bibench.data.batches import Batches
from bibench.foundation.errors import DamagedError, StoreError
from bibench.records.provenance import environment
from bibench.records.record import Record, digest_of_numbers, read_file
from bibench.records.sealed import DONE, FIX, compare
from bibench.suite.cell import Cell
from bibench.suite.store import CURVE, MODEL, RECORDS, Busy, CellDirectory
from bibench.train.loop import digest_of, order_of

DIVERGED = "diverged"


@dataclass(frozen=True)
class Trained:
    """What is known of a training, whichever cell did it.

    Attributes:
        rows: its numbers, each as the fields of a record that are not those of all records of the cell.
        data_order: fingerprint of all batches.
    """

    rows: tuple[dict[str, Any], ...]
    data_order: str
    precision: str
    diverged: bool

    @property
    def seconds(self) -> float:
        """How long it took."""
        return next(float(row["value"]) for row in self.rows if row["metric"] == "train_seconds")


@dataclass(frozen=True)
class Shared:
    """The finished training of another cell: its weights, its curve (text of the file) and what it told."""

    cell: Cell
    weights: Path
    curve: str
    trained: Trained


def refuse_while_running(runs: Path, cell: Cell) -> None:
    """Raise `Busy` while another process works on the cell whose training would serve this one."""
    other = cell.trained_as
    if other is not None and CellDirectory(runs, other).is_locked:
        raise Busy(f"another process works on {other}, whose training serves {cell}")


def find(
    runs: Path,
    cell: Cell,
    initial_weights: str,
    baseline_weights: str,
    batches: Batches,
    code_of: Callable[[Cell], dict[str, str]],
) -> Shared | None:
    """The finished training that serves `cell`, which starts from these weights and is served `batches`; or None.

    `code_of` gives the fingerprints of the present code.

    Raises:
        DamagedError: there is one, but its curve or its numbers are not those that it was finished with.
    """
    other = cell.trained_as
    if other is None:
        return None
    directory = CellDirectory(runs, other)
    if directory.state != "done" or not all(directory.file(name).exists() for name in (MODEL, CURVE, RECORDS)):
        return None
    start = {"code": code_of(other), "initial_weights": initial_weights, "baseline_weights": baseline_weights}
    try:
        said = compare(directory.path, CURVE)
        then, records = directory.description(), read_file(directory.file(RECORDS))
    except StoreError as error:  # of that cell; this one's folder can be written
        raise DamagedError(str(error)) from error
    order = order_of([digest_of(batches, epoch) for epoch in range(cell.resolved_recipe().epochs)])
    score = next((r for r in records if r.kind == "score"), None)
    if score is None or score.data_order != order or any(then.get(name) != value for name, value in start.items()):
        return None
    numbers = digest_of_numbers(records)
    if said.get("numbers", numbers) != numbers or said.get("score", score.value) != score.value:
        file = directory.file(RECORDS)
        raise DamagedError(f"{file} is damaged: its numbers are not those that {DONE} tells of; {FIX}")
    trained = Trained(_rows(records), order, score.precision, DIVERGED in score.flags.split(","))
    curve = directory.file(CURVE).read_text(encoding="utf-8")
    return Shared(other, directory.file(MODEL), curve, trained)


def _rows(records: Sequence[Record]) -> tuple[dict[str, Any], ...]:
    """What was not measured on the test split, with the machine that it was measured on."""
    names = ("kind", "metric", "value", "split", "unit", *environment())
    return tuple({name: getattr(r, name) for name in names} for r in records if r.split != "test")
