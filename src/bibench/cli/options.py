"""Options that several verbs share, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from bibench.choice import split_list
from bibench.errors import BiBenchError
from bibench.registry import load_file
from bibench.suite import Filters

SuiteName = Annotated[str, typer.Argument(help="A suite; see: bibench list suites")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder of the results.")]
RUNS = Path("runs")
"""The run folder unless another is named."""

RecordsOf = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[RUNS]...",
        help="Run folders, records files, or published: the paper's own results \\[default: runs].",
        show_default=False,
    ),
]
DataRoot = Annotated[Path | None, typer.Option("--data-root", help="Folder of the data sets (default: $BIBENCH_DATA).")]
Download = Annotated[bool, typer.Option("--download", help="Download missing data where that is possible.")]
Operators = Annotated[
    list[str] | None, typer.Option("--operators", help="Only these, as in: bnn,recu\\[scale_init=weight]")
]
Tasks = Annotated[list[str] | None, typer.Option("--tasks", help="Only these tasks.")]
Models = Annotated[list[str] | None, typer.Option("--models", help="Only these models, as in: resnet20\\[width=8]")]
Seeds = Annotated[list[str] | None, typer.Option("--seeds", help="Only these seeds, as in: 0,1 or 0-4")]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", help="Another recipe, as in: paper\\[epochs=50], or some of several."),
]
Load = Annotated[
    list[Path] | None, typer.Option("--load", help="Python file with operators, models or tasks of your own.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Format = Annotated[str, typer.Option("--format", help="table, json or csv")]
Protocol = Annotated[
    str, typer.Option("--protocol", help="How scores are averaged: bibench, or paper as the paper does.")
]
Rerun = Annotated[str, typer.Option("--rerun", help="What to train again: missing, failed, stale or all.")]


def filters(
    tasks: Sequence[str] | None,
    models: Sequence[str] | None,
    operators: Sequence[str] | None,
    seeds: Sequence[str] | None,
    recipe: str | None,
) -> Filters:
    """The filters of a command line; each option may be repeated or hold a list with commas."""
    return Filters(
        tasks=flat(tasks),
        models=flat(models),
        operators=flat(operators),
        seeds=[n for part in flat(seeds) for n in _numbers(part)],
        recipe=recipe,
    )


def load_files(files: Sequence[Path] | None) -> tuple[str, ...]:
    """Import the files of ``--load``; their paths, for worker processes to do the same."""
    return tuple(str(load_file(file)) for file in files or ())


def check_device(device: str) -> None:
    """Raise `BiBenchError` when this machine does not have `device`."""
    import torch

    if device == "auto":
        return
    if "," in device:
        raise BiBenchError(
            f"--device {device}: a cell trains on one device; name one of them, or leave it out: "
            "as many --workers take the GPUs in turns, a cell each"
        )
    kind, _, index = device.partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if not (index or "0").isdecimal() or int(index or 0) >= there.get(kind, 0):
        has = ", ".join(f"{name}:{i}" if i else name for name, count in there.items() for i in range(count))
        raise BiBenchError(f"--device {device}: this machine has {has}; choose one of them, or auto")


def resolve_device(device: str) -> str:
    """`device`, checked; ``auto`` is the GPU if there is one."""
    import torch

    check_device(device)
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_format(format: str) -> None:
    """Raise `BiBenchError` for a value of `Format` other than its three."""
    if format not in ("table", "json", "csv"):
        raise BiBenchError(f"--format must be table, json or csv; got {format!r}")


def records_of(given: Sequence[Path] | None) -> list[Path]:
    """What `RecordsOf` names: without anything the folder that ``bibench run`` writes to."""
    return list(given) if given else [RUNS]


def flat(values: Sequence[str] | None) -> list[str]:
    """All parts of an option that may be repeated or hold a list with commas."""
    return [part for value in values or () for part in split_list(value)]


def _numbers(text: str) -> range:
    first, dash, last = text.partition("-")
    try:
        low, high = int(first), int(last if dash else first)
    except ValueError:
        raise BiBenchError(f"--seeds: {text!r} is neither a number nor a range such as 0-4") from None
    if high < low:
        raise BiBenchError(f"--seeds: {text!r} ends before it begins")
    return range(low, high + 1)
