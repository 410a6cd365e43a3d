"""The plan of a suite: which cells exist, what is to do and why, and how long it will take.

Planning reads no data and trains nothing: models are built on the meta device. What was found out of a cell without its
folder is remembered (`bibench.suite.known`), so that looking at a run folder again takes no PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bibench.foundation.errors import BiBenchError, CheckpointError
from bibench.records.record import Record, read, read_compared
from bibench.records.sealed import compare, told
from bibench.suite.cell import Cell
from bibench.suite.known import answer
from bibench.suite.store import CELL, MODEL, RECORDS, CellDirectory, described_epochs

if TYPE_CHECKING:
    from bibench.execution.geometry import Geometry
    from bibench.tasks import Task

_PENDING = {"missing", "interrupted", "running"}
RERUN = {
    "missing": _PENDING,
    "failed": _PENDING | {"failed", "unsupported"},
    "stale": _PENDING | {"stale"},
    "all": _PENDING | {"failed", "unsupported", "stale", "done"},
}
"""Which states each rerun policy trains again; a running cell is waited for."""


@dataclass
class PlanRow:
    """One cell of the plan. `hours` is None when there is nothing to go by; `basis` says what it rests on."""

    cell: Cell
    state: str
    reason: str = ""
    todo: bool = False
    hours: float | None = None
    basis: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            **self.cell.to_dict(),
            "state": self.state,
            "reason": self.reason,
            "todo": self.todo,
            "hours": self.hours,
            "basis": self.basis,
        }


def make_plan(
    cells: Sequence[Cell],
    runs: Path,
    *,
    data_root: Path | None = None,
    download: bool = False,
    rerun: str = "missing",
    probe: bool = False,
    weights: bool = False,
    hours: bool = True,
) -> list[PlanRow]:
    """Look at every cell: its state on disk, whether its code changed, whether it can run at all.

    A finished cell whose files are not those that it was finished with has failed, for this reason. With `weights` that
    is also found out of the model files that cells to do start from, which are read for it, and of all where failed
    cells are trained again. Without `hours` nothing is said of the time.
    """
    if rerun not in RERUN:
        raise BiBenchError(f"--rerun must be one of {', '.join(RERUN)}; got {rerun!r}")
    geometry, estimate, data = _Geometry(), _Estimates(runs), _Data(data_root, download)
    rows: dict[Cell, PlanRow] = {}
    for cell in cells:
        row = rows[cell] = _look(cell, runs, geometry, rows)
        row.todo = row.state in RERUN[rerun]
        if row.todo and (missing := data.missing(cell.task.name)):
            row.state, row.reason, row.todo = "no data", missing, False
    if weights:
        _compare_weights(rows, runs, rerun)
    for cell, row in rows.items():
        if hours and (row.todo or row.state == "no data"):
            row.hours, row.basis = _shared(row, runs, geometry, rows) or estimate(cell, geometry)
            if row.hours is None and probe:
                from bibench.execution.probing import probed

                row.hours, row.basis = probed(cell)
    return list(rows.values())


def _compare_weights(rows: dict[Cell, PlanRow], runs: Path, rerun: str) -> None:
    """Finished cells whose model file is damaged have failed."""
    again = "failed" in RERUN[rerun]
    needed = {c for cell, row in rows.items() if row.todo for c in (cell.baseline, cell.trained_as)}
    for cell, row in rows.items():
        if row.state in ("done", "stale") and not row.todo and (again or cell in needed):
            from bibench.train.stored import compare_model

            try:
                compare_model(CellDirectory(runs, cell).file(MODEL))
            except CheckpointError as error:
                row.state, row.reason, row.todo = "failed", str(error), again


def _shared(row: PlanRow, runs: Path, geometry: _Geometry, rows: dict[Cell, PlanRow]) -> tuple[float, str] | None:
    """No training, where that of another cell serves, which is there or comes first."""
    cell = row.cell.trained_as
    if cell is None:
        return None
    planned = rows.get(cell)
    comes = planned is not None and (planned.todo or planned.state == row.state)
    if comes or (planned or _look(cell, runs, geometry, rows)).state == "done":
        return 0.0, f"evaluation alone: trained as {cell.task}"
    return None


def _look(cell: Cell, runs: Path, geometry: _Geometry, earlier: dict[Cell, PlanRow]) -> PlanRow:
    directory = CellDirectory(runs, cell)
    description, state, reason = directory.description(), directory.state, directory.reason
    if directory.is_locked and state != "done":
        return PlanRow(cell, "running", "another process works on it")
    if state in ("missing", "interrupted") and (problem := geometry.unsupported(cell)):
        return PlanRow(cell, "unsupported", problem)
    if state != "done":
        return PlanRow(cell, state, reason)
    if changed := _changes(cell, description, runs, earlier):
        return PlanRow(cell, "stale", changed)
    damage = _damage(directory)
    return PlanRow(cell, "failed" if damage else state, damage)


def _damage(directory: CellDirectory) -> str:
    """What is wrong with the small files of a finished cell, or an empty string."""
    try:
        compare(directory.path, CELL)
        if "files" not in compare(directory.path, RECORDS):
            read_compared(directory.file(RECORDS))
    except BiBenchError as error:
        return str(error)
    return ""


def _weights(directory: CellDirectory) -> str | None:
    """The fingerprint of a finished cell's weights; None where nothing tells it."""
    try:
        return told(directory.path).get("weights")
    except BiBenchError:  # the plan says it of that cell
        return None


def _changes(cell: Cell, then: dict[str, Any], runs: Path, earlier: dict[Cell, PlanRow]) -> str:
    """What changed since a finished cell was trained, or an empty string."""
    now = answer(str(cell), "code", lambda: _code_of(cell))
    changed = [part for part, digest in now.items() if then.get("code", {}).get(part) != digest]
    if changed:
        return f"changed since: {', '.join(changed)} code"
    baseline = cell.baseline
    if baseline is not None and cell.starts_from_baseline:
        known = _weights(CellDirectory(runs, baseline))
        if known is not None and known != then.get("baseline_weights"):
            return "its full-precision baseline was trained anew"
        if baseline in earlier and earlier[baseline].state == "stale":
            return "its full-precision baseline is stale"
    return _shared_changes(cell, runs, earlier) if then.get("trained_as") else ""


def _code_of(cell: Cell) -> dict[str, str]:
    from bibench.train.code import code_of

    return code_of(cell)


def _shared_changes(cell: Cell, runs: Path, earlier: dict[Cell, PlanRow]) -> str:
    """What changed about the training that a finished cell took over; one that is gone takes nothing with it."""
    other = cell.trained_as
    if other is None:
        return ""
    theirs, ours = (_weights(CellDirectory(runs, c)) for c in (other, cell))
    if theirs is None or ours is None:
        return ""
    if theirs != ours:
        return f"the training it shares with task {other.task} was done anew"
    changed = _changes(other, CellDirectory(runs, other).description(), runs, earlier)
    return f"the training it shares with task {other.task} is stale" if changed else ""


class _Data:
    """What is missing of the data of tasks: asked once, of those that are to be trained."""

    def __init__(self, root: Path | None, download: bool) -> None:
        self._root, self._download = root, download
        self._found: dict[str, str] = {}

    def missing(self, task: str) -> str:
        """What is missing and where to get it, or an empty string."""
        if task not in self._found:
            there = answer(task, "made here", lambda: self._is_made_here(task))
            self._found[task] = "" if there else self._task(task).missing()
        return self._found[task]

    def _is_made_here(self, task: str) -> bool:
        made = self._task(task)
        return made.embedded and not made.missing()

    def _task(self, name: str) -> Task:
        from bibench.tasks import TASKS

        return TASKS[name](self._root, download=self._download)


class _Geometry:
    """`Geometry`, made when something is asked that is not known."""

    def __init__(self) -> None:
        self._made: Geometry | None = None

    def _asked(self) -> Geometry:
        from bibench.execution.geometry import Geometry

        self._made = self._made or Geometry()
        return self._made

    def unsupported(self, cell: Cell) -> str:
        """Why the combination cannot work, or an empty string."""
        return answer(str(cell), "unsupported", lambda: self._asked().unsupported(cell))

    def macs(self, cell: Cell) -> int:
        """Multiply-accumulates of one example, 0 if nothing is known."""
        return answer(str(cell), "MACs", lambda: self._asked().macs(cell))


class _Estimates:
    """Training times from earlier records of the same machine."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    @cached_property
    def _records(self) -> list[Record]:
        with warnings.catch_warnings(action="ignore"):  # of what is damaged, which the plan says
            return read([self._runs]) if self._runs.is_dir() else []

    @cached_property
    def _times(self) -> list[Record]:
        import torch

        from bibench.records.provenance import environment

        here = environment("cuda" if torch.cuda.is_available() else "cpu")
        return [
            r
            for r in self._records
            if r.metric == "train_seconds" and r.cpu == here["cpu"] and r.accelerator == here["accelerator"]
        ]

    @cached_property
    def _macs(self) -> dict[str, float]:
        return {r.cell: r.value or 0 for r in self._records if r.metric == "macs"} if self._times else {}

    def __call__(self, cell: Cell, geometry: _Geometry) -> tuple[float | None, str]:
        like = [r for r in self._times if r.task == str(cell.task) and r.operator == str(cell.operator)]
        same = [r.value or 0 for r in like if r.model == str(cell.model) and r.recipe == str(cell.recipe)]
        if same:
            return sum(same) / len(same) / 3600, f"mean of {len(same)} finished seed(s)"
        once = [r for r in self._times if not r.trained_as]
        for records, words in ((like, "this operator and task"), (once, "other cells")):
            rates = [(r.value or 0) / w for r in records if (w := self._work(r))]
            if rates and (work := geometry.macs(cell) * _examples(cell)):
                rate = sorted(rates)[len(rates) // 2]
                return rate * work / 3600, f"scaled by MACs × examples from {len(rates)} finished run(s) of {words}"
        return None, "no finished run to go by; --probe measures a few steps"

    def _work(self, record: Record) -> float:
        from bibench.tasks import TASKS

        description = self._runs / record.cell / CELL
        if record.task not in TASKS or not description.exists():
            return 0.0
        return self._macs.get(record.cell, 0) * TASKS[record.task].train_examples * described_epochs(description)


def _examples(cell: Cell) -> int:
    from bibench.tasks import TASKS

    return TASKS[cell.task.name].train_examples * cell.resolved_recipe().epochs
