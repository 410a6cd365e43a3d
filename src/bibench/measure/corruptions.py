"""Trained cells on corrupted test images: a record for each corruption and severity, and for the clean images."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from bibench.cell import Cell
from bibench.choice import choice
from bibench.data.batches import TensorBatches
from bibench.data.corruptions import CORRUPTIONS, SEVERITIES
from bibench.data.corruptions.frost import official_folder
from bibench.data.corruptions.sets import Corrupted, generated, has_official, official
from bibench.data.location import checksum
from bibench.errors import BiBenchError, DataError, UnsupportedError
from bibench.files import read_json, storing, write_text
from bibench.provenance import environment
from bibench.records import Record, read_file
from bibench.store import CELL, DONE, RECORDS, SUPERSEDED, CellDirectory
from bibench.suite import Filters
from bibench.tasks import TASKS
from bibench.tasks.image_classification import ImageClassification
from bibench.train.cell import COLLAPSE, identity_fields, load_trained

FOLDER = Path("measurements", "corruptions")
KIND, CLEAN = "corruption", "none"
SOURCES = ("auto", "official", "generated")
BATCH = 256


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
    for file in sorted(runs.rglob(CELL)):
        if SUPERSEDED in file.relative_to(runs).parts or not file.with_name(DONE).exists():
            continue
        data = read_json(file)
        cell = Cell.from_dict(data.get("cell", {}) if isinstance(data, dict) else {})
        if _is_wanted(cell, wanted) and issubclass(TASKS[cell.task.name], ImageClassification):
            CellDirectory(runs, cell).description()  # it must describe itself and lie where it belongs
            cells.append(cell)
    return cells


def _is_wanted(cell: Cell, wanted: Filters) -> bool:
    recipes = (wanted.recipe,) if wanted.recipe else ()
    operators = () if cell.full_precision else wanted.operators
    axes = ((wanted.tasks, cell.task), (wanted.models, cell.model), (operators, cell.operator), (recipes, cell.recipe))
    fitting = all(not names or any(have.fits(choice(name)) for name in names) for names, have in axes)
    return fitting and (not wanted.seeds or cell.seed in wanted.seeds)


def measure_corruptions(cells: Sequence[Cell], request: Request, note: Callable[[str], None]) -> list[Record]:
    """Evaluate every cell; a cell that cannot be is a row with its reason, and the others go on.

    Records go to ``RUNS/measurements/corruptions/<cell>/records.jsonl`` as soon as the cell is through.
    """
    records: list[Record] = []
    for name in dict.fromkeys(cell.task.name for cell in cells):
        chosen = [cell for cell in cells if cell.task.name == name]
        task = TASKS[name](request.data_root)
        assert isinstance(task, ImageClassification)
        try:
            sets = _Sets(task, request, note)
        except UnsupportedError as error:
            records += [_refused(cell, request, "unsupported", str(error)) for cell in chosen]
            continue
        for cell in chosen:
            note(f"{cell}")
            records += _measured(cell, task, sets, request)
    return records


class _Sets:
    """The test set of a task in all asked corruptions, opened once for all cells."""

    def __init__(self, task: ImageClassification, request: Request, note: Callable[[str], None]) -> None:
        task.prepare()
        images, self.labels = task.test_images()
        self.images = np.ascontiguousarray(images.numpy())
        self._checksum = checksum(self.images.data)
        self._task, self._request, self._note = task, request, note
        self._official = self._official_folder()
        self.corrupted = [self._open(corruption) for corruption in request.corruptions]

    def _official_folder(self) -> Path | None:
        name, root = self._task.corrupted_folder, self._request.data_root
        folder = root / name if root is not None and name else None
        there = folder is not None and has_official(folder)
        if self._request.source == "official" and not there:
            where = folder or f"task {self._task.name!r}, which has no published corrupted set,"
            raise DataError(f"--source official: no .npy files found in {where}; use generated images, or fetch them")
        return folder if there and self._request.source != "generated" else None

    def _open(self, corruption: str) -> Corrupted:
        if self._official is not None:
            return official(self._official, corruption, self.labels.numpy(), self.images.shape[1])
        self._note(f"{self._task.name}: {corruption}")
        frost = official_folder(self._request.data_root)
        settings = {"seed": self._request.seed, "frost": frost, "threads": self._request.threads}
        return generated(self.images, corruption, name=self._task.name, **settings)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[_Condition]:
        yield _Condition(CLEAN, 0, self._checksum[:16], [], lambda: torch.from_numpy(self.images))
        for one in self.corrupted:
            for severity in SEVERITIES:
                yield _Condition(
                    one.corruption, severity, one.checksum[:16], one.flags, partial(_images, one, severity)
                )


class _Condition(NamedTuple):
    """One evaluation: on what, and a function that reads the images."""

    corruption: str
    severity: int
    data: str
    flags: list[str]
    read: Callable[[], Tensor]

    @property
    def key(self) -> tuple[str, int]:
        return self.corruption, self.severity


def _images(corrupted: Corrupted, severity: int) -> Tensor:
    return torch.from_numpy(corrupted.at(severity))


def _measured(cell: Cell, task: ImageClassification, sets: _Sets, request: Request) -> list[Record]:
    file = request.runs / FOLDER / cell.path / RECORDS
    wanted = {CLEAN, *request.corruptions}
    rows = _known(cell, file, request)
    if request.again:
        rows = {key: row for key, row in rows.items() if row.corruption not in wanted}
    try:
        asked = [c for c in sets if (old := rows.get(c.key)) is None or old.data != c.data]
        if asked:
            model = load_trained(request.runs, cell, task).to(request.device)
            for condition in asked:
                rows[condition.key] = _judged(cell, task, model, sets.labels, condition, request)
    except Exception as error:  # of a stranger's operator or a damaged file; the other cells go on
        reason = str(error) if isinstance(error, BiBenchError) else f"{type(error).__name__}: {error}"
        rows[CLEAN, 0] = _refused(
            cell, request, "unsupported" if isinstance(error, UnsupportedError) else "failed", reason
        )
    with storing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(record.to_line() + "\n" for record in rows.values()))
    return [record for record in rows.values() if record.corruption in wanted]


def _known(cell: Cell, file: Path, request: Request) -> dict[tuple[str, int | None], Record]:
    """What was measured on the weights as they are now."""
    done = CellDirectory(request.runs, cell).file(DONE)
    if not file.exists() or file.stat().st_mtime_ns < done.stat().st_mtime_ns:
        return {}
    return {(r.corruption, r.severity): r for r in read_file(file) if r.status == "ok"}


def _judged(
    cell: Cell, task: ImageClassification, model: nn.Module, labels: Tensor, condition: _Condition, request: Request
) -> Record:
    began = time.perf_counter()
    batches = TensorBatches(condition.read(), labels, batch_size=BATCH, transform=task.to_inputs(), seed=None)
    with torch.inference_mode():
        judged = task.evaluate(model, batches, torch.device(request.device))
    collapsed = judged.commonest_answer is not None and judged.commonest_answer >= COLLAPSE
    return _record(
        cell,
        request,
        judged.metrics[task.metric],
        corruption=condition.corruption,
        severity=condition.severity,
        data=condition.data,
        flags=",".join([*["collapsed"] * collapsed, *condition.flags]),
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
        **identity_fields(cell),
        **environment(request.device),
        **more,
    )
