"""Theoretical complexity as records: sizes, operations, compression and speed-up, without any training."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bibench.comparators.compressor import Compressor, method
from bibench.complexity import (
    BIBENCH,
    CONVENTIONS,
    Comparison,
    Complexity,
    Convention,
    complexity,
    compression,
    speedup,
)
from bibench.foundation.blame import told
from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import BiBenchError, ConversionError, ExampleInputsError, UnsupportedError
from bibench.foundation.finding import listed
from bibench.foundation.locks import exclusive
from bibench.models import MODELS
from bibench.nn.calls import on_meta
from bibench.operators import FULL_PRECISION
from bibench.records.provenance import environment
from bibench.records.record import Record, write_file
from bibench.suite.cell import Cell
from bibench.suite.store import RECORDS, CellDirectory
from bibench.tasks import TASKS
from bibench.train.cell import identity_fields, load_trained

FOLDER = Path("measurements", "complexity")


def measure_complexity(cells: Sequence[Cell], runs: Path, note: Callable[[str], None]) -> list[Record]:
    """Count every task × model × operator of `cells` once, and write its records into the run folder.

    Seeds do not matter; recipes neither, but they label the rows. Models are built on the meta device:
    no weight exists and nothing is computed; but where training decides what is left of a model, a trained
    cell of the run folder is counted. Measuring again replaces what was there.
    """
    found: list[Record] = []
    compared: dict[tuple[Choice, Choice], Comparison] = {}
    for cell in dict.fromkeys(replace(cell, seed=0) for cell in with_baselines(cells)):
        note(f"{cell.task} {cell.model} {cell.operator}")
        rows = _measure(cell, compared, runs)
        file = runs / FOLDER / cell.path.parent / RECORDS
        with exclusive(file):
            write_file(file, rows, checksum=True)
        found += rows
    return found


def with_baselines(cells: Sequence[Cell]) -> list[Cell]:
    """`cells`, each group of a task, a model and a recipe headed by its full-precision cell."""
    return list(
        dict.fromkeys(other for cell in cells for other in (replace(cell, operator=Choice(FULL_PRECISION)), cell))
    )


def compare(cell: Cell, convention: Convention = BIBENCH) -> Comparison:
    """The full-precision model of a cell, counted, with the options that the convention prescribes."""
    chosen = prescribed(cell.model, convention)
    with torch.device("meta"):
        task = TASKS[cell.task.name]().for_model(chosen.name)
        return Comparison(task.model(chosen.name, chosen.options), on_meta(task.example_inputs()))


def prescribed(model: Choice, convention: Convention) -> Choice:
    """`model` with the options of the convention that it has and that were not given."""
    known = MODELS[model.name].options()
    return choice(model, **{k: v for k, v in convention.model_options.items() if k in known and k not in model.options})


def _measure(cell: Cell, compared: dict[tuple[Choice, Choice], Comparison], runs: Path) -> list[Record]:
    began, start = datetime.datetime.now(datetime.UTC), time.perf_counter()
    numbers: dict[str, tuple[float, str]] = {}
    status = problem = ""
    try:
        for convention in CONVENTIONS.values():
            model = prescribed(cell.model, convention)
            if (cell.task, model) not in compared:
                compared[cell.task, model] = compare(cell, convention)
            numbers |= _numbers(cell, compared[cell.task, model], convention, runs)
    except (UnsupportedError, ConversionError) as error:
        status, problem = "unsupported", str(error)
    except ExampleInputsError as error:  # of a stranger's model, as below
        status, problem = "failed", str(error)
    except BiBenchError:  # a user's mistake, such as an option that does not fit
        raise
    except Exception as error:  # of a stranger's model or operator; the others have their numbers
        status, problem = "failed", told(error)
    facts = {
        **environment("cpu"),
        **identity_fields(cell),
        "started": began.isoformat(timespec="microseconds"),
        "seconds": round(time.perf_counter() - start, 3),
    }
    if status:
        more = {"value": None, "status": status, "reason": problem}
        return [_record(metric, **more, **facts) for metric in ("compression", "speedup")]
    return [_record(metric, value=value, unit=unit, **facts) for metric, (value, unit) in numbers.items()]


def _numbers(cell: Cell, comparison: Comparison, convention: Convention, runs: Path) -> dict[str, tuple[float, str]]:
    full = comparison.full
    own = full if cell.full_precision else _compressed(cell, comparison, runs)
    suffix = "" if convention is BIBENCH else f"_{convention.name}"
    found = dict(_sizes(own)) if convention is BIBENCH else {}
    found[f"operations{suffix}"] = own.operations(convention), "MAC"
    if not cell.full_precision:
        found[f"compression{suffix}"] = compression(full, own), ""
        found[f"speedup{suffix}"] = speedup(full, own, convention), ""
    return found


def _compressed(cell: Cell, comparison: Comparison, runs: Path) -> Complexity:
    """The cell's model as inference runs it; the trained one of its first finished seed where training decides."""
    try:
        return comparison.under(cell.operator.name, **cell.operator.options)
    except UnsupportedError:
        trained = _trained(cell, runs) if issubclass(method(cell.operator.name), Compressor) else None
        if trained is None:
            raise
        task = TASKS[cell.task.name]().for_model(cell.model.name)
        return complexity(load_trained(runs, trained, task), task.example_inputs())


def _trained(cell: Cell, runs: Path) -> Cell | None:
    names = (path.name[4:] for path in listed(runs / cell.path.parent, "seed*"))
    seeds = sorted(int(name) for name in names if name.isdecimal())
    cells = (replace(cell, seed=seed) for seed in seeds)
    return next((c for c in cells if CellDirectory(runs, c).state == "done"), None)


def _sizes(counted: Complexity) -> dict[str, tuple[float, str]]:
    return {
        "parameters": (counted.parameters, ""),
        "storage": (counted.storage_bytes, "B"),
        "macs": (counted.macs, "MAC"),
        "binary_macs": (counted.macs_by_bits().get((1, 1), 0), "MAC"),
        "bops": (counted.bops, "bit operations"),
    }


def _record(metric: str, **more: Any) -> Record:
    return Record(kind="complexity", metric=metric, **more)
