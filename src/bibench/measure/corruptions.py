"""Trained cells on corrupted test images: a record for each corruption and severity, and for the clean images."""

from __future__ import annotations

import datetime
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bibench.data.batches import TensorBatches
from bibench.data.corruptions import CORRUPTIONS
from bibench.data.corruptions.frost import official_folder
from bibench.data.corruptions.sets import CleanSet, Corrupted, generated
from bibench.data.parts import Bytes, parts, passing
from bibench.foundation.errors import BiBenchError, DataError, UnsupportedError
from bibench.foundation.locks import exclusive
from bibench.records.flags import joined
from bibench.records.provenance import environment
from bibench.records.record import Record, read_compared, write_file
from bibench.suite.cell import Cell
from bibench.suite.filters import Filters
from bibench.suite.store import DONE, RECORDS, CellDirectory, cells_below
from bibench.tasks import TASKS
from bibench.tasks.image_classification import ImageClassification
from bibench.train.cell import COLLAPSE, identity_fields, load_trained

FOLDER = Path("measurements", "corruptions")
KIND, CLEAN = "corruption", "none"
SOURCES = ("auto", "official", "generated")
BATCH = 256
TOGETHER = 16
"""Cells whose models are in memory at once; a set too large to be kept is made once for as many."""
SHOWN = 16
"""Digits of a checksum in a record."""


@dataclass(frozen=True)
class Request:
    """What to measure on.

    Args:
        source: ``official`` files, ``generated`` images, or ``auto``: official where the data root has them.
        again: whether to measure what has been measured on the same weights and images.
    """

    runs: Path
    corruptions: tuple[str, ...] = CORRUPTIONS
    source: str = "auto"
    seed: int = 0
    data_root: Path | None = None
    device: str = "cpu"
    threads: int | None = None
    again: bool = False


def finished_cells(runs: Path, wanted: Filters) -> list[Cell]:
    """The finished cells of image classification below a run folder, full precision always included."""
    cells = []
    for file, cell in cells_below(runs):
        if not file.with_name(DONE).exists() or not wanted.include(cell):
            continue
        if issubclass(TASKS[cell.task.name], ImageClassification):
            directory = CellDirectory(runs, cell)
            directory.description()  # it must describe itself
            if directory.file(DONE).exists():
                cells.append(cell)
            else:  # of a run folder inside this one, perhaps behind a link
                warnings.warn(f"{file.parent} belongs to another run folder; measure it there", stacklevel=2)
    return cells


def measure_corruptions(cells: Sequence[Cell], request: Request, note: Callable[[str], None]) -> list[Record]:
    """Evaluate every cell; a cell that cannot be is a row with its reason, and the others go on.

    A set of images is made, or read, for all cells that it is asked for. Records go to
    ``RUNS/measurements/corruptions/<cell>/records.jsonl`` after each, so that an interrupted measurement continues.
    """
    records: list[Record] = []
    for name in dict.fromkeys(cell.task.name for cell in cells):
        chosen = [cell for cell in cells if cell.task.name == name]
        task = TASKS[name](request.data_root)
        assert isinstance(task, ImageClassification)
        try:
            clean = _clean(task, request.threads)
        except UnsupportedError as error:
            records += [_refused(cell, request, "unsupported", str(error)) for cell in chosen]
            continue
        conditions = _conditions(task, clean, request)
        for first in range(0, len(chosen), TOGETHER):
            group = [_Measured(cell, task, request) for cell in chosen[first : first + TOGETHER]]
            for measured in group:
                note(f"{measured.cell}")
            for condition in conditions:
                _judge(group, condition, torch.from_numpy(clean.labels), note)
            records += [record for measured in group for record in measured.records()]
    return records


def _clean(task: ImageClassification, threads: int | None) -> CleanSet:
    task.prepare()
    images, labels, files = task.test_images()
    made = parts(images.shape, lambda first, last: images[first:last].numpy(), threads)
    return CleanSet(task.name, *passing(images.shape, made), labels.numpy(), files)


def _conditions(task: ImageClassification, clean: CleanSet, request: Request) -> list[Corrupted]:
    """The clean images, then every corruption at every severity; nothing is made before it is read."""
    known = partial(_as_it_is, clean)
    conditions = [Corrupted(CLEAN, 0, (), clean.checksum, known)]
    folder = _official_folder(task, request)
    frost = official_folder(request.data_root)
    for corruption in request.corruptions:
        if folder is not None:
            assert task.corrupted is not None
            conditions += task.corrupted.open(folder, corruption, clean, request.threads)
        else:
            conditions += generated(clean, corruption, seed=request.seed, frost=frost, threads=request.threads)
    return conditions


def _as_it_is(clean: CleanSet) -> tuple[Bytes, str]:
    return clean.images, clean.checksum


def _official_folder(task: ImageClassification, request: Request) -> Path | None:
    if request.source == "generated":
        return None
    published, root = task.corrupted, request.data_root
    folder = root / published.folder if root is not None and published is not None else None
    if folder is not None and published is not None and published.there(folder):
        return folder
    if request.source == "official":
        where = folder or f"task {task.name!r}, which has no published corrupted set or no data root"
        raise DataError(f"--source official: nothing of it found in {where}; use generated images, or fetch them")
    return None


def _judge(group: Sequence[_Measured], condition: Corrupted, labels: Tensor, note: Callable[[str], None]) -> None:
    """Judge those that lack `condition`, whose images are read only if there are any, and once for all."""
    if not any(measured.lacks(condition, condition.known) for measured in group):
        return
    note(f"{group[0].cell.task}: {condition.corruption}" + f" {condition.severity}" * (condition.severity > 0))
    images, data = condition.read()
    for measured in group:
        if measured.lacks(condition, data):
            measured.judge(condition, torch.from_numpy(images), labels, data[:SHOWN])


class _Measured:
    """A cell and what is known of it; its model is loaded when it is first needed."""

    def __init__(self, cell: Cell, task: ImageClassification, request: Request) -> None:
        self.cell, self._task, self._request = cell, task, request
        self._file = request.runs / FOLDER / cell.path / RECORDS
        self._wanted = {CLEAN, *request.corruptions}
        self._model: nn.Module | None = None
        self._broken = False
        self._made: set[tuple[str, int | None]] = set()
        self._weights = self._trained()
        try:
            self._rows = self._known()
        except BiBenchError as error:
            self._rows = {}
            self._break(error)

    def _known(self) -> dict[tuple[str, int | None], Record]:
        """What was measured on the weights as they are now."""
        if not self._file.exists() or self._file.stat().st_mtime_ns < self._trained():
            return {}
        rows = {(r.corruption, r.severity): r for r in read_compared(self._file) if r.status == "ok"}
        again = self._wanted if self._request.again else ()
        return {key: row for key, row in rows.items() if row.corruption not in again}

    def _trained(self) -> int:
        """When the cell was finished; 0 while it is trained anew."""
        done = CellDirectory(self._request.runs, self.cell).file(DONE)
        return done.stat().st_mtime_ns if done.exists() else 0

    def lacks(self, condition: Corrupted, data: str) -> bool:
        """Whether it was not judged on images of that checksum."""
        row = self._rows.get((condition.corruption, condition.severity))
        return not self._broken and (row is None or row.data != data[:SHOWN])

    def judge(self, condition: Corrupted, images: Tensor, labels: Tensor, data: str) -> None:
        """Add a row; of a cell that cannot be judged, only one that says why."""
        try:
            if self._model is None:
                self._model = load_trained(self._request.runs, self.cell, self._task).to(self._request.device)
            row = _judged(self.cell, self._task, self._model, images, labels, condition, data, self._request)
            self._rows[condition.corruption, condition.severity] = row
            self._made.add((condition.corruption, condition.severity))
        except Exception as error:  # of a stranger's operator or a damaged file; the other cells go on
            self._break(error)
        self._store()

    def _break(self, error: Exception) -> None:
        self._broken = True
        reason = str(error) if isinstance(error, BiBenchError) else f"{type(error).__name__}: {error}"
        status = "unsupported" if isinstance(error, UnsupportedError) else "failed"
        self._rows[CLEAN, 0] = _refused(self.cell, self._request, status, reason)
        self._made.add((CLEAN, 0))

    def _store(self) -> None:
        """Write the rows, with what another process measured meanwhile."""
        with exclusive(self._file):
            if self._trained() != self._weights:
                self._rows = {}
                self._break(DataError(f"{self.cell} was trained anew while it was measured; measure it again"))
                return
            self._rows = self._known() | {key: self._rows[key] for key in self._rows if key in self._made}
            write_file(self._file, self._rows.values(), checksum=True)

    def records(self) -> list[Record]:
        """What was asked for."""
        return [row for row in self._rows.values() if row.corruption in self._wanted]


def _judged(
    cell: Cell,
    task: ImageClassification,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    condition: Corrupted,
    data: str,
    request: Request,
) -> Record:
    began = time.perf_counter()
    batches = TensorBatches(images, labels, batch_size=BATCH, transform=task.to_inputs(), seed=None)
    with torch.inference_mode():
        judged = task.evaluate(model, batches, torch.device(request.device))
    collapsed = judged.commonest_answer is not None and judged.commonest_answer >= COLLAPSE
    return _record(
        cell,
        request,
        judged.metrics[task.metric],
        corruption=condition.corruption,
        severity=condition.severity,
        data=data,
        flags=joined(*["collapsed"] * collapsed, *condition.flags, *cell.marks),
        seconds=round(time.perf_counter() - began, 3),
    )


def _refused(cell: Cell, request: Request, status: str, reason: str) -> Record:
    return _record(cell, request, None, status=status, reason=reason, corruption=CLEAN, severity=0)


def _record(cell: Cell, request: Request, value: float | None, **more: Any) -> Record:
    return Record(
        kind=KIND,
        metric=TASKS[cell.task.name].metric,
        value=value,
        split="test",
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        precision="32-true",
        **identity_fields(cell) | environment(request.device) | more,
    )
