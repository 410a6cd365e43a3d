"""The plan of what lies in run folders: which of their cells are done, stale, failed or were interrupted."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bibench.cell import Cell
from bibench.choice import choice
from bibench.data.location import data_root as find_data_root
from bibench.errors import BiBenchError, UnknownNameError
from bibench.files import read_json
from bibench.operators import FULL_PRECISION
from bibench.plan import PlanRow, make_plan
from bibench.store import CELL, SUPERSEDED
from bibench.suite import SUITES, Filters, cells


def plan_of(runs: Sequence[Path], suite: str | None, wanted: Filters, data_root: Path | None) -> list[PlanRow] | None:
    """The state of every cell of the suite, or of every cell that has a folder; None for records alone.

    Also where a cell is of something that is not known here (it came with --load): its records still count.
    """
    folders = [path for path in runs if path.is_dir()]
    if suite is not None:
        chosen = cells(SUITES[suite], wanted)
        if len(folders) != 1:
            raise BiBenchError(f"--suite {suite} looks into one run folder; got {len(folders)}")
        return make_plan(chosen, folders[0], data_root=find_data_root(data_root))
    try:
        found = [
            row
            for folder in folders
            for row in make_plan(_fitting(_cells_below(folder), wanted), folder, data_root=find_data_root(data_root))
        ]
    except UnknownNameError as error:
        sys.stderr.write(f"note: {error}. Coverage is told by the records alone; --load the file that defines it\n")
        return None
    return found if found and len(folders) == len(runs) else None


def _cells_below(folder: Path) -> Iterator[Cell]:
    """The cells that have a folder below a run folder and whose task, model and operator are known here."""
    for file in sorted(folder.rglob(CELL)):
        if SUPERSEDED in file.relative_to(folder).parts:
            continue
        data = read_json(file)
        cell = Cell.from_dict(data.get("cell", {}) if isinstance(data, dict) else {})
        cell.validate()
        yield cell


def _fitting(found: Iterator[Cell], wanted: Filters) -> list[Cell]:
    """The cells that the filters name, with their baselines, as `select` does for records."""
    axes = {"task": wanted.tasks, "model": wanted.models, "operator": wanted.operators}
    asked = {axis: [choice(n) for n in names] for axis, names in axes.items() if names}
    if wanted.recipe:
        asked["recipe"] = [choice(wanted.recipe)]
    if "operator" in asked:
        asked["operator"].append(choice(FULL_PRECISION))
    return [
        cell
        for cell in found
        if all(any(getattr(cell, axis).fits(a) for a in names) for axis, names in asked.items())
        and (not wanted.seeds or cell.seed in wanted.seeds)
    ]
