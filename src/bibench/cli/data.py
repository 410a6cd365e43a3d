"""``bibench data check`` and ``data where``: what is there of the data sets, before anyone trains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from bibench.cli.exit_codes import FAILED
from bibench.cli.options import DataRoot, Format, Load, check_format, load_files
from bibench.cli.output import console, print_json, table
from bibench.data.layout import tree_size
from bibench.data.location import CACHE, DATA_ROOT, cache_dir
from bibench.data.location import data_root as find_data_root

if TYPE_CHECKING:
    from bibench.data.layout import Found
    from bibench.tasks.base import Task
    from bibench.tasks.data_check import DataReport
    from bibench.tasks.image_classification import ImageClassification


def check(
    tasks: Annotated[
        list[str],
        typer.Argument(help="Tasks, or corrupted test sets; see: bibench data where", metavar="TASK..."),
    ],
    data_root: DataRoot = None,
    read: Annotated[bool, typer.Option("--read", help="Read every example once, and hash files of any size.")] = False,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Say what is found of the data of TASK..., what is missing, and where to get it.

    Published corrupted test sets (cifar10_c, imagenet_c) are named as tasks are.

    Exit code 0 when the data of all that is named is usable, 1 when that of any is not, 2 for a user error.
    """
    check_format(format)
    load_files(load)
    root = find_data_root(data_root)
    reports = [_report(name, root, read) for name in tasks]
    if format == "json":
        print_json([report.to_dict() for report in reports])
    else:
        out = console()
        for report in reports:
            _print(out, report)
    if not all(report.usable for report in reports):
        raise typer.Exit(FAILED)


def _report(name: str, root: Path | None, read: bool) -> DataReport:
    from bibench.foundation.errors import UnknownNameError
    from bibench.tasks import TASKS
    from bibench.tasks.data_check import check_corrupted, check_data, corrupted_sets

    if (corrupted := corrupted_sets()).get(name) and name not in TASKS:
        return check_corrupted(corrupted[name](root), read=read)
    try:
        return check_data(TASKS[name](root), read=read)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error} Corrupted test sets: {', '.join(corrupted)}.") from None


def where(data_root: DataRoot = None, load: Load = None, format: Format = "table") -> None:
    """Show the data root, the cache, and which tasks find their data there; published corrupted test sets, too."""
    from bibench.tasks import TASKS
    from bibench.tasks.data_check import corrupted_sets

    check_format(format)
    load_files(load)
    root, cache = find_data_root(data_root), cache_dir()
    given = "--data-root" if data_root else f"${DATA_ROOT}" if os.environ.get(DATA_ROOT) else ""
    files, size = tree_size(cache) if cache.is_dir() else (0, 0)
    rows = [_availability(TASKS[name](root)) for name in TASKS]
    corrupted = [_corrupted(cls, root) for cls in corrupted_sets().values()]
    if format == "json":
        places = {"data_root": str(root) if root else None, "cache": str(cache), "cache_bytes": size}
        print_json({**places, "tasks": rows, "corrupted": corrupted})
        return
    out = console()
    out.print(f"Data root: {root} (from {given})" if root else f"Data root: none; pass --data-root or set ${DATA_ROOT}")
    moved = f"from ${CACHE}" if os.environ.get(CACHE) else f"${CACHE} moves it"
    out.print(f"Cache: {cache} ({moved}), {files} files, {amount(size)}")
    out.print()
    _print_embedded(out, [row for row in rows if row["data"] == "embedded"])
    _print_yours(out, [row for row in rows if row["data"] == "yours"], root)
    _print_corrupted(out, corrupted)
    out.print("What to fetch from where, and what exactly is there: bibench data check TASK")


def _availability(task: Task) -> dict[str, Any]:
    from bibench.foundation.errors import BiBenchError
    from bibench.tasks.data_check import folders

    problem, looked_for = "", []
    try:
        looked_for = folders(type(task))
        problem = task.missing()
    except (BiBenchError, OSError) as error:
        problem = str(error)
    return {
        "task": task.name,
        "title": task.title,
        "data": "embedded" if task.embedded else "yours",
        "stands_in_for": task.stands_in_for,
        "folders": looked_for,
        "usable": not problem,
        "problem": problem,
    }


def _corrupted(cls: type[ImageClassification], root: Path | None) -> dict[str, Any]:
    """By what is there at all: counting four million pictures is left to the check."""
    published = cls.corrupted
    assert published is not None
    lacking = published.lacking(root) if root else []
    there = root is not None and (root / published.folder).is_dir()
    shown = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
    return {
        "name": published.name,
        "task": cls.name,
        "folder": published.folder,
        "usable": there and not lacking,
        "problem": "" if there and not lacking else f"lacks {shown}" if there else "not there",
    }


def _print_embedded(out: Console, rows: list[dict[str, Any]]) -> None:
    cells = ((row["task"], row["stands_in_for"], _yes(row), row["problem"]) for row in rows)
    title = "Embedded: made on this machine from what is installed, no data root needed"
    out.print(table(title, ("task", "stands in for", "usable", "why not"), cells))


def _print_yours(out: Console, rows: list[dict[str, Any]], root: Path | None) -> None:
    def why(row: dict[str, Any]) -> str:
        nothing = row["folders"] and not any(root and (root / folder).exists() for folder in row["folders"])
        return "not there" if nothing and not row["usable"] else str(row["problem"])

    cells = ((row["task"], " or ".join(row["folders"]), _yes(row), why(row) if root else "") for row in rows)
    title = "Your data sets: looked for below the data root" + ("" if root else ", and there is none")
    out.print(table(title, ("task", "folder", "usable", "why not"), cells))


def _print_corrupted(out: Console, rows: list[dict[str, Any]]) -> None:
    cells = ((row["name"], row["task"], row["folder"], _yes(row), row["problem"]) for row in rows)
    title = "Published corrupted test sets: bibench measure corruptions takes them, or makes its own where they are not"
    out.print(table(title, ("name", "of task", "folder", "usable", "why not"), cells))


def _yes(row: dict[str, Any]) -> str:
    return "yes" if row["usable"] else "no"


def _print(out: Console, report: DataReport) -> None:
    if report.embedded:
        place = f"made in {cache_dir()}" if report.found else "made in memory"
    else:
        place = f"below {report.data_root}" if report.data_root else "no data root given"
    if report.found:
        columns = ("what", "state", "files", "size", "checksum", "")
        rows = [
            (piece.path, piece.state, piece.files, amount(piece.size), piece.checksum, _remark(piece))
            for piece in report.found
        ]
        out.print(table(f"{report.title} ({report.task}), {place}", columns, rows, numeric=("files", "size")))
    else:
        out.print(f"{report.title} ({report.task}), {place}", style="bold")
    if report.entries:
        out.print(f"The data root holds: {', '.join(report.entries)}")
    if report.examples:
        out.print("Read: " + ", ".join(f"{count:,} examples of {split}" for split, count in report.examples.items()))
    out.print("Usable." if report.usable else f"Not usable: {report.problem}", soft_wrap=True)
    out.print(f"Source: {report.source or 'not stated'}")
    out.print(f"Licence: {report.licence or 'not stated'}")
    out.print()


def _remark(piece: Found) -> str:
    return "; ".join(text for text in (piece.what, piece.detail) if text)


def amount(size: int | None) -> str:
    """Bytes as kB, MB or GB, whatever reads best."""
    if size is None:
        return ""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
