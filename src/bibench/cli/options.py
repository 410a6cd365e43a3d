"""Options that several verbs share, and what they mean."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bibench.cli.output import notes
from bibench.foundation.choice import split_list
from bibench.foundation.errors import BiBenchError
from bibench.foundation.registry import load_file
from bibench.report.tables import FORMATS
from bibench.suite.filters import Filters

SuiteName = Annotated[str, typer.Argument(help="A suite; see: bibench list suites")]
Runs = Annotated[Path, typer.Option("--runs", help="Run folder that the results are written into.")]
RunFolder = Annotated[Path, typer.Argument(metavar="[RUNS]", help="Run folder that is looked at.")]
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
_FILTERS = {"tasks": Tasks, "models": Models, "operators": Operators, "seeds": Seeds, "recipe": RecipeName}
_KEYWORD = inspect.Parameter.KEYWORD_ONLY

Load = Annotated[
    list[Path] | None, typer.Option("--load", help="Python file with operators, models or tasks of your own.")
]
Format = Annotated[str, typer.Option("--format", help="table, json, csv, markdown or latex.")]
"""`bibench.cli.formats` adds its short form ``--json``."""
Protocol = Annotated[
    str, typer.Option("--protocol", help="How scores are averaged: bibench, or paper as the paper does.")
]
Accelerator = Annotated[str, typer.Option("--accelerator", help="What computes here: auto, cpu, cuda, cuda:1, mps ...")]
RandomSeed = Annotated[int, typer.Option("--random-seed", min=0, help="Seed of what is drawn at random.")]
Rerun = Annotated[str, typer.Option("--rerun", help="What to train again: missing, failed, stale or all.")]


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """`command` as Typer is to see it: in the place of its parameter ``wanted: Filters`` the options of `_FILTERS`.

    Each option may be repeated or hold a list with commas.
    """

    @functools.wraps(command)
    def run(**given: Any) -> None:
        command(wanted=filters(*(given.pop(name) for name in _FILTERS)), **given)

    options = [inspect.Parameter(name, _KEYWORD, annotation=of, default=None) for name, of in _FILTERS.items()]
    signature = inspect.signature(command, eval_str=True)
    own = signature.parameters.values()
    shown = [one for given in own for one in (options if given.name == "wanted" else [given])]
    run.__signature__ = signature.replace(parameters=[one.replace(kind=_KEYWORD) for one in shown])  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    return run


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
    with notes():
        return tuple(str(load_file(file)) for file in files or ())


def check_device(device: str) -> None:
    """Raise `BiBenchError` when this machine does not have `device`."""
    import torch

    if device == "auto":
        return
    if "," in device:
        raise BiBenchError(
            f"--accelerator {device}: a cell trains on one device; name one of them, or leave it out: "
            "as many --workers take the GPUs in turns, a cell each"
        )
    kind, _, index = device.partition(":")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if not (index or "0").isdecimal() or int(index or 0) >= there.get(kind, 0):
        has = ", ".join(f"{name}:{i}" if i else name for name, count in there.items() for i in range(count))
        raise BiBenchError(f"--accelerator {device}: this machine has {has}; choose one of them, or auto")


def resolve_device(device: str) -> str:
    """`device`, checked; ``auto`` is the GPU if there is one."""
    import torch

    check_device(device)
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def check_format(format: str, formats: Sequence[str] = FORMATS, why: str = "") -> None:
    """Raise `BiBenchError` for a ``--format`` other than table and `formats`; `why` they are not all."""
    if format not in ("table", *formats):
        known = ["table", *formats]
        because = f": {why}" if why and format in FORMATS else ""
        raise BiBenchError(f"--format must be {', '.join(known[:-1])} or {known[-1]}; got {format!r}{because}")


def records_of(given: Sequence[Path] | None) -> list[Path]:
    """What `RecordsOf` names: without anything the folder that ``bibench run`` writes to."""
    return list(given) if given else [RUNS]


def positive_numbers(option: str, texts: Sequence[str] | None, example: str = "1,2") -> list[int]:
    """The positive numbers that an option lists, each once; `BiBenchError` for anything else."""
    found = flat(texts)
    for text in found:
        if not text.isdecimal() or not 0 < int(text) < 1_000_000:
            raise BiBenchError(f"{option}: {text!r} is no positive number; expected as in: {example}")
    return list(dict.fromkeys(int(text) for text in found))


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
