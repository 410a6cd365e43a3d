"""The plan of a suite: which cells exist, what is to do and why, and how long it will take.

Planning reads no data and trains nothing: models are built on the meta device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bibench.comparators.compressor import compressor_of
from bibench.execution.estimating import Estimate, Estimates, probed
from bibench.foundation.choice import Choice
from bibench.foundation.errors import (
    BiBenchError,
    CheckpointError,
    ConversionError,
    DefinitionError,
    ExampleInputsError,
    UnsupportedError,
)
from bibench.nn.auditing import build
from bibench.nn.calls import Call, on_meta, trace
from bibench.nn.tracing.inputs import first_of
from bibench.records.record import read_compared
from bibench.records.sealed import compare, told
from bibench.suite.cell import Cell
from bibench.suite.store import CELL, MODEL, RECORDS, CellDirectory
from bibench.tasks import TASKS
from bibench.train.code import code_of
from bibench.train.stored import compare_model

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
    """One cell of the plan.

    `hours` of one worker, likely between `low` and `high`, are None when there is nothing near enough to go by; `basis`
    says what they rest on, or what to measure, and `device` on what they were measured.
    """

    cell: Cell
    state: str
    reason: str = ""
    todo: bool = False
    hours: float | None = None
    low: float | None = None
    high: float | None = None
    basis: str = ""
    device: str = ""

    def cost(self, found: Estimate) -> None:
        """Take over an estimate."""
        self.hours, self.low, self.high, self.basis = found.hours, found.low, found.high, found.basis
        self.device = found.device

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            **self.cell.to_dict(),
            "state": self.state,
            "reason": self.reason,
            "todo": self.todo,
            "hours": self.hours,
            "low": self.low,
            "high": self.high,
            "basis": self.basis,
            "device": self.device,
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
) -> list[PlanRow]:
    """Look at every cell: its state on disk, whether its code changed, whether it can run at all.

    A finished cell whose files are not those that it was finished with has failed, for this reason. With `weights` that
    is also found out of the model files that cells to do start from, which are read for it, and of all where failed
    cells are trained again.
    """
    if rerun not in RERUN:
        raise BiBenchError(f"--rerun must be one of {', '.join(RERUN)}; got {rerun!r}")
    geometry, estimate = _Geometry(), Estimates(runs)
    missing_data = {name: TASKS[name](data_root, download=download).missing() for name in {c.task.name for c in cells}}
    rows: dict[Cell, PlanRow] = {}
    for cell in cells:
        row = rows[cell] = _look(cell, runs, geometry, rows)
        row.todo = row.state in RERUN[rerun]
        if row.todo and missing_data[cell.task.name]:
            row.state, row.reason, row.todo = "no data", missing_data[cell.task.name], False
    if weights:
        _compare_weights(rows, runs, rerun)
    for cell, row in rows.items():
        if row.todo or row.state == "no data":
            row.cost(_shared(row, runs, geometry, rows) or estimate(cell, geometry.macs))
            if row.hours is None and probe:
                row.cost(probed(cell))
    return list(rows.values())


def _compare_weights(rows: dict[Cell, PlanRow], runs: Path, rerun: str) -> None:
    """Finished cells whose model file is damaged have failed."""
    again = "failed" in RERUN[rerun]
    needed = {c for cell, row in rows.items() if row.todo for c in (cell.baseline, cell.trained_as)}
    for cell, row in rows.items():
        if row.state in ("done", "stale") and not row.todo and (again or cell in needed):
            try:
                compare_model(CellDirectory(runs, cell).file(MODEL))
            except CheckpointError as error:
                row.state, row.reason, row.todo = "failed", str(error), again


def _shared(row: PlanRow, runs: Path, geometry: _Geometry, rows: dict[Cell, PlanRow]) -> Estimate | None:
    """No training, where that of another cell serves, which is there or comes first."""
    cell = row.cell.trained_as
    if cell is None:
        return None
    planned = rows.get(cell)
    comes = planned is not None and (planned.todo or planned.state == row.state)
    if comes or (planned or _look(cell, runs, geometry, rows)).state == "done":
        return Estimate(0.0, 0.0, 0.0, f"evaluation alone: trained as {cell.task}")
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
    now = code_of(cell)
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


@dataclass(frozen=True)
class _Traced:
    """A model on the meta device with the calls of its layers."""

    model: nn.Module
    calls: dict[nn.Module, Call]

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one example."""
        return sum(build(self.model, self.calls, {}).macs_by_bits().values())

    def unsupported(self, operator: Choice) -> str:
        """Why the operator cannot serve the model, or an empty string."""
        try:
            with torch.device("meta"):
                compressor_of(operator).check(self.model, self.calls)
        except DefinitionError:  # as below
            pass
        except BiBenchError as error:
            return _by_nature(error, operator)
        except Exception:  # of a stranger's operator; training will tell
            pass
        return ""


class _Geometry:
    """Models on the meta device; those that several tasks train alike are traced once."""

    def __init__(self) -> None:
        self._models: dict[tuple[Choice, Choice], _Traced | str] = {}
        self._traced: dict[Any, _Traced] = {}
        self._problems: dict[tuple[int, Choice], str] = {}

    def _model(self, cell: Cell) -> _Traced | str:
        """What is known of the cell's model, or why it cannot be built."""
        key = (cell.task, cell.model)
        if key not in self._models:
            try:
                self._models[key] = self._trace(cell)
            except ExampleInputsError:  # of a stranger's model, which may need values; training will tell
                self._models[key] = ""
            except BiBenchError as error:
                self._models[key] = _by_nature(error, cell.model)
            except Exception:  # as above
                self._models[key] = ""
        return self._models[key]

    def _trace(self, cell: Cell) -> _Traced:
        with torch.device("meta"), _WithoutInitialization():
            task = TASKS[cell.task.name]()
            model, inputs = task.model(cell.model.name, cell.model.options), on_meta(first_of(task.example_inputs()))
            tensors = [*model.named_parameters(), *enumerate(_tensors(inputs))]
            alike = cell.model, repr(model), tuple((name, x.shape, x.dtype) for name, x in tensors)
            if alike not in self._traced:
                self._traced[alike] = _Traced(model, trace(model, inputs))
        return self._traced[alike]

    def unsupported(self, cell: Cell) -> str:
        """Why the combination cannot work, or an empty string."""
        traced = self._model(cell)
        if isinstance(traced, str):
            return traced
        if cell.full_precision:
            return ""
        key = id(traced), cell.operator
        if key not in self._problems:
            self._problems[key] = traced.unsupported(cell.operator)
        return self._problems[key]

    def macs(self, cell: Cell) -> int:
        """Multiply-accumulates of one example, 0 if nothing is known."""
        traced = self._model(cell)
        return 0 if isinstance(traced, str) else traced.macs


class _WithoutInitialization(TorchFunctionMode):
    """Leaves tensors as they come: on the meta device they have no values, and initializing costs a third of a plan."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if getattr(func, "__module__", "") == "torch.nn.init" or name in ("uniform_", "normal_", "fill_", "zero_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _by_nature(error: BiBenchError, chosen: Choice) -> str:
    """The reason why what was `chosen` cannot work; raises the error if one of its options is to blame."""
    if chosen.items and not isinstance(error, UnsupportedError | ConversionError):
        raise error
    return str(error)


def _tensors(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, dict):
        inputs = list(inputs.values())
    return [inputs] if isinstance(inputs, Tensor) else [x for item in inputs for x in _tensors(item)]
