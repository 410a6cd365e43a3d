"""Fingerprints of the code that makes a cell, so that a finished cell can be told to be stale."""

from __future__ import annotations

from functools import cache
from typing import Any

from bibench import conversion, layers
from bibench.cell import Cell
from bibench.compressor import method
from bibench.models import MODELS
from bibench.provenance import code_fingerprint
from bibench.tasks import TASKS


def code_of(cell: Cell) -> dict[str, str]:
    """Fingerprint by part: training, task, model, operator, conversion."""
    return {
        "training": _training(),
        "task": _fingerprint("task", cell.task.name),
        "model": _fingerprint("model", cell.model.name),
        "operator": _fingerprint("operator", cell.operator.name),
        "conversion": code_fingerprint(conversion.binarize, layers.BinaryLayer),
    }


@cache
def _training() -> str:
    from bibench.train.cell import train_cell  # here: it imports this module
    from bibench.train.loop import Training

    return code_fingerprint(Training, train_cell)


@cache
def _fingerprint(kind: str, name: str) -> str:
    found = {"task": TASKS.__getitem__, "model": MODELS.__getitem__, "operator": method}
    entry: Any = found[kind](name)
    return code_fingerprint(entry.builder if kind == "model" else entry)
