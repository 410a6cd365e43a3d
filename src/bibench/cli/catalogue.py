"""``bibench list``, ``check`` and ``env``: what there is, whether it keeps its contracts, and on what it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from bibench.cli.exit_codes import FAILED
from bibench.cli.options import Format, Load, check_format, load_files
from bibench.cli.output import console, notes, print_json, table
from bibench.data.remembered import remembered
from bibench.foundation.errors import UnknownNameError
from bibench.foundation.registry import Registry

Row = dict[str, Any]


def _operators() -> list[Row]:
    from bibench.operators import OPERATORS, known_operators

    return [_method(OPERATORS, name) for name in known_operators()]


def _comparators() -> list[Row]:
    from bibench.comparators.compressor import COMPRESSORS
    from bibench.comparators.names import known_comparators
    from bibench.operators import OPERATORS

    return [_method(COMPRESSORS if name in COMPRESSORS else OPERATORS, name) for name in known_comparators()]


def _method(registry: Registry[Any], name: str) -> Row:
    entry = registry[name]
    return {
        "name": name,
        "title": entry.title,
        "profiles": ", ".join(["default", *getattr(entry, "profiles", ())]),
        "options": _options({k: v for k, v in entry.options().items() if k != "profile"}),
        "source": _place(registry.source(name)),
    }


def _models() -> list[Row]:
    from bibench.models import MODELS

    return [
        {
            "name": name,
            "family": MODELS[name].family,
            "options": _options(MODELS[name].options()),
            "source": _place(MODELS.source(name)),
        }
        for name in MODELS
    ]


def _tasks() -> list[Row]:
    from bibench.tasks import TASKS

    return [
        {
            "name": name,
            "title": TASKS[name].title,
            "data": f"embedded, stands in for {TASKS[name].stands_in_for}" if TASKS[name].embedded else "yours",
            "metric": TASKS[name].metric,
            "models": ", ".join(TASKS[name].models),
            "recipes": ", ".join(TASKS[name].recipes),
        }
        for name in TASKS
    ]


def _suites() -> list[Row]:
    from bibench.suite.definition import SUITES, cells

    return [
        {
            "name": name,
            "cells": len(cells(SUITES[name])),
            "tasks": ", ".join(SUITES[name].tasks),
            "description": SUITES[name].description,
        }
        for name in SUITES
    ]


def _tracks() -> list[Row]:
    from bibench.tracks import TRACKS

    return [{"name": name, "title": TRACKS[name].title, "equation": TRACKS[name].equation} for name in TRACKS]


def _devices() -> list[Row]:
    from bibench.deploy.devices import DEVICES

    return [
        {
            "name": name,
            "soc": DEVICES[name].soc,
            "cores": DEVICES[name].describe_cores(),
            "clock GHz": DEVICES[name].clock_ghz,
            "isa": DEVICES[name].isa,
            "reached by": DEVICES[name].transport,
            "note": DEVICES[name].note,
        }
        for name in DEVICES
    ]


def _engines() -> list[Row]:
    from bibench.deploy import ENGINES

    return [
        {"name": name, "title": engine.title, "file": engine.extension, "here": engine().available() or "yes"}
        for name, engine in ((name, ENGINES[name]) for name in ENGINES)
    ]


CATALOGUES: dict[str, Callable[[], list[Row]]] = {
    "operators": _operators,
    "comparators": _comparators,
    "models": _models,
    "tasks": _tasks,
    "suites": _suites,
    "tracks": _tracks,
    "engines": _engines,
    "devices": _devices,
}


def list_(
    what: Annotated[
        str, typer.Argument(help="operators, comparators, models, tasks, suites, tracks, engines or devices")
    ],
    load: Load = None,
    format: Format = "table",
) -> None:
    """List operators, comparators (other compression), models, tasks, suites, tracks, engines or devices."""
    check_format(format)
    load_files(load)
    if what not in CATALOGUES:
        raise UnknownNameError(f"cannot list {what!r}; choose from {', '.join(CATALOGUES)}")
    rows = CATALOGUES[what]() if load else remembered(f"list-{what}", CATALOGUES[what])
    if format == "json":
        print_json(rows)
        return
    columns = list(rows[0]) if rows else []
    console().print(table("", columns, ([row[c] for c in columns] for row in rows), numeric=("cells",)))


def check(
    file: Annotated[Path, typer.Argument(help="Python file that defines operators, models or tasks.")],
    format: Format = "table",
) -> None:
    """Prove the contracts on everything a file of your own defines."""
    check_format(format)
    from bibench.contracts import causes, check_file
    from bibench.contracts import check as run_contracts

    with notes():
        findings = [finding for kind, name in check_file(file) for finding in run_contracts(kind, name)]
    broken = [f for f in findings if f.problem]
    if format == "json":
        print_json([vars(f) for f in findings])
    else:
        out = console()
        rows = [(f"{f.kind} {f.name}", _words(f.contract), "BROKEN" if f.problem else "holds") for f in findings]
        out.print(table("", ("what", "contract", "result"), rows))
        for first, others in causes(findings):
            also = f" (also: {', '.join(map(_words, others))})" if others else ""
            out.print(f"{first.kind} {first.name}: {_words(first.contract)}: {first.problem}{also}", markup=False)
        out.print(f"{len(findings) - len(broken)} of {len(findings)} contracts hold.")
    if broken:
        raise typer.Exit(FAILED)


def _words(contract: str) -> str:
    return contract.replace("_", " ")


def env(format: Format = "table") -> None:
    """Show versions, git state, processor and accelerator: what every record carries."""
    check_format(format)
    import torch

    from bibench.data.location import CACHE, DATA_ROOT, cache_dir, data_root
    from bibench.kernels import absence, native
    from bibench.records.provenance import environment

    device = "cuda" if torch.cuda.is_available() else "cpu"
    facts = environment(device) | {
        "kernels available": ", ".join(native.available()) or f"none, without the compiled core: {absence.reason()}",
        f"${DATA_ROOT}": str(data_root() or "not set"),
        f"${CACHE}": str(cache_dir()),
    }
    if format == "json":
        print_json(facts)
    else:
        rows = [(name, "-" if value in ("", None) else value) for name, value in facts.items()]
        console().print(table("", ("what", "value"), rows))


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def _place(source: str) -> str:
    path, _, line = source.rpartition(":")
    package = Path(__file__).parents[2]
    return f"{Path(path).relative_to(package) if Path(path).is_relative_to(package) else path}:{line}"
