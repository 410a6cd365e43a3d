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
    from bibench.train.cell import train_cell  # here: it imports this module
    from bibench.train.loop import Training

    pieces: dict[str, tuple[Any, ...]] = {
        "training": (Training, train_cell),
        "task": (TASKS[cell.task.name],),
        "model": (MODELS[cell.model.name].builder,),
        "operator": (method(cell.operator.name),),
        "conversion": (conversion.binarize, layers.BinaryLayer),
    }
    return {part: _fingerprint(objects) for part, objects in pieces.items()}


@cache
def _fingerprint(objects: tuple[Any, ...]) -> str:
    """Once for each class or function, not for each name: loaded again, a name means another object, and other code.

    What was imported does not change when its file does, so neither does its fingerprint.
    """
    return code_fingerprint(*objects)
