"""The plan of what lies in run folders: which of their cells are done, stale, failed or were interrupted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bibench.cli.output import notes
from bibench.data.location import data_root as find_data_root
from bibench.execution.plan import PlanRow, make_plan
from bibench.foundation.errors import BiBenchError, UnknownNameError
from bibench.records.record import Record
from bibench.statistics.coverage import told_by
from bibench.suite.cell import Cell
from bibench.suite.definition import SUITES, cells
from bibench.suite.filters import Filters
from bibench.suite.store import cells_below


def plan_of(
    runs: Sequence[Path],
    suite: str | None,
    wanted: Filters,
    data_root: Path | None,
    records: Sequence[Record] = (),
) -> list[PlanRow] | None:
    """The state of every cell of the suite, or of every cell that has a folder; None for records alone.

    Also where a cell is of something that is not known here (it came with --load): its records still count. Of a suite
    without a run folder, as of what was published, the `records` tell which cells are there.
    """
    folders = [path for path in runs if path.is_dir()]
    if suite is not None:
        chosen = cells(SUITES[suite], wanted)
        if not folders:
            return told_by(records, chosen)
        if len(folders) != 1:
            raise BiBenchError(f"--suite {suite} looks into one run folder; got {len(folders)}")
        with notes():
            return make_plan(chosen, folders[0], data_root=find_data_root(data_root))
    try:
        with notes():
            found = [
                row
                for folder in folders
                for place, chosen in _cells(folder, wanted).items()
                for row in make_plan(chosen, place, data_root=find_data_root(data_root))
            ]
    except UnknownNameError as error:
        sys.stderr.write(f"note: {error} Coverage is told by the records alone; --load the file that defines it\n")
        return None
    return found if found and len(folders) == len(runs) else None


def _cells(folder: Path, wanted: Filters) -> dict[Path, list[Cell]]:
    """The cells below a folder that the filters name, by the run folder that each lies in, which may be a part of it.

    An `UnknownNameError` where one is of something unknown here.
    """
    found = list(cells_below(folder))
    places: dict[Path, list[Cell]] = {}
    seen: set[Cell] = set()
    for place, cell in sorted(((_run_folder(file, cell, folder), cell) for file, cell in found), key=_depth):
        cell.validate()
        if cell not in seen and wanted.include(cell):
            seen.add(cell)
            places.setdefault(place, []).append(cell)
    return places


def _run_folder(file: Path, cell: Cell, folder: Path) -> Path:
    """Where a cell's own path begins, so that its state is looked for where it is; `folder` if it was renamed."""
    own = len(cell.path.parts)
    return Path(*file.parent.parts[:-own]) if file.parent.parts[-own:] == cell.path.parts else folder


def _depth(found: tuple[Path, Cell]) -> int:
    return len(found[0].parts)
