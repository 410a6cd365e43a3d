"""The one way to a cell's ``model.pt``: it is compared with what done.json says before anything in it is used.

Cells of today are told by the SHA-256 of the file. Older ones are told by the checksums that a zip archive has of its
parts, and by the fingerprint of the weights. A ``model.pt`` that was copied from its folder carries its own checksum.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from torch import Tensor

from bibench.foundation.errors import CheckpointError, DamagedError, StoreError
from bibench.foundation.files import load_checkpoint
from bibench.records.sealed import DONE, FIX, compare
from bibench.suite.store import MODEL
from bibench.train.weights import digest_of_state


def read_model(path: Path) -> dict[str, Any]:
    """What the model file of a cell holds: the state dict ``model``, the cell, and ``progress``.

    Raises:
        CheckpointError: it is missing or cannot be loaded; a `DamagedError` where it, or done.json beside it, is not
            what the cell was finished with.
    """
    said = _compared(path) if path.name == MODEL and path.exists() else {}
    if MODEL in said.get("files", {}):
        return load_checkpoint(path, compared=True)
    saved = load_checkpoint(path)
    if said and (problem := _unsound(path)):
        raise DamagedError(f"{path} is damaged ({problem}); {FIX}")
    found, known = _fingerprint(saved.get("model")), said.get("weights")
    if found and known and found != known:
        raise DamagedError(f"{path} is damaged: its weights have the fingerprint {found}, {DONE} says {known}; {FIX}")
    return saved


def compare_model(path: Path) -> None:
    """As `read_model`, but a file whose checksum is known is not loaded."""
    if MODEL not in _compared(path).get("files", {}):
        read_model(path)


def _compared(path: Path) -> dict[str, Any]:
    try:
        return compare(path.parent, MODEL)
    except StoreError as error:  # that cell's files may not be read, which does not concern where this one writes
        raise CheckpointError(str(error)) from error


def _unsound(path: Path) -> str:
    """What is wrong with the parts of a zip archive, each of which has a checksum, or an empty string."""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except Exception as error:  # whatever the library makes of flags and lengths that are none
        return str(error)
    return f"{part} in it has another checksum than it says" if part else ""


def _fingerprint(state: Any) -> str:
    tensors = isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())
    return digest_of_state(state) if tensors else ""
