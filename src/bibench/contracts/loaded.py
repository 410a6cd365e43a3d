"""What of a plan is a user's own or a plug-in's: whose contracts nobody proved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from bibench.comparators.compressor import COMPRESSORS
from bibench.contracts.base import KINDS
from bibench.foundation.choice import Choice, choice
from bibench.suite.cell import Cell
from bibench.tasks import TASKS

GLANCED_AT = ("operator", "compressor", "model")
"""Kinds that are also looked at where they are not used; tasks would read data for it."""


class Entry(NamedTuple):
    """An entry of a catalogue as it is chosen, with its options, and the file that it is from."""

    kind: str
    chosen: str
    file: Path

    def __str__(self) -> str:
        return f"{self.kind} {self.chosen!r}"


def used(operators: Iterable[Choice], models: Iterable[Choice] = (), tasks: Iterable[str] = ()) -> list[Entry]:
    """Those of the named that are none of BiBench's own, each once; tasks with those they are trained as."""
    chosen = [("compressor" if o.name in COMPRESSORS else "operator", o) for o in operators]
    chosen += [("model", model) for model in models]
    names = [name for task in tasks for name in (task, TASKS[task].trained_as) if name]
    chosen += [("task", Choice(name)) for name in names]
    found = [(kind, str(one), KINDS[kind].users_file(one.name)) for kind, one in dict.fromkeys(chosen)]
    return [Entry(kind, text, file) for kind, text, file in found if file is not None]


def used_by(cells: Sequence[Cell]) -> list[Entry]:
    """What the cells use, and what their baselines do."""
    return used((c.operator for c in cells), (c.model for c in cells), (c.task.name for c in cells))


def unused(entries: Sequence[Entry], files: Iterable[str]) -> list[Entry]:
    """What the loaded `files` define beside these entries."""
    known = {(entry.kind, choice(entry.chosen).name) for entry in entries}
    return [
        Entry(kind, name, Path(file))
        for file in files
        for kind in GLANCED_AT
        for name in KINDS[kind].names_from(file)
        if (kind, name) not in known
    ]
