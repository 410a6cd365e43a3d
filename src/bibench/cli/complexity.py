"""``bibench complexity`` and ``bibench measure complexity``: sizes and operations, without any training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType

from bibench.cli.marking import marked
from bibench.cli.options import (
    RUNS,
    Format,
    Load,
    Models,
    Operators,
    RecipeName,
    Runs,
    Tasks,
    check_format,
    filters,
    flat,
    load_files,
)
from bibench.cli.output import console, number, print_csv, print_json, print_records, require_measured, table
from bibench.cli.vouching import Force, vouch
from bibench.complexity import CONVENTIONS
from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import BiBenchError, ConversionError, UnsupportedError
from bibench.records.record import Record
from bibench.suite.filters import Filters

if TYPE_CHECKING:
    from bibench.complexity import Comparison, Complexity, Convention


def complexity(
    model: Annotated[str, typer.Argument(help="A model, as in: resnet18\\[binarize_downsample=True]")],
    operators: Operators = None,
    task: Annotated[str | None, typer.Option("--task", help="Count it as this task uses it.")] = None,
    input_shape: Annotated[
        str | None, typer.Option("--input-shape", help="Or one example's shape, as in: 3x224x224")
    ] = None,
    classes: Annotated[int, typer.Option("--classes", min=1, help="Outputs, with --input-shape.")] = 1000,
    convention: Annotated[
        str, typer.Option("--convention", help=f"How operations are counted: {', '.join(CONVENTIONS)}")
    ] = "bibench",
    operations_per_word: Annotated[
        float | None,
        typer.Option("--operations-per-word", min=1, help="Bit operations per full-precision one (default: 64)."),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Every layer instead of the totals.")] = False,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Parameters, storage, operations, compression and speed-up of a model under every operator (Eq. 7-8)."""
    from bibench.comparators.compressor import method
    from bibench.complexity import convention as find_convention
    from bibench.operators import FULL_PRECISION, known_operators

    load_files(load)
    check_format(format)
    chosen = find_convention(convention)
    if operations_per_word is not None:
        chosen = dataclasses.replace(chosen, operations_per_word=operations_per_word)
    names = [choice(o) for o in flat(operators) or known_operators()]
    for name in names:
        method(name.name).check_options(name.options)
    asked, comparison = _comparison(choice(model), task, input_shape, classes, chosen)
    counted: dict[str, Complexity | str] = {FULL_PRECISION: comparison.full}
    for name in names:
        if not method(name.name).full_precision:
            counted[str(name)] = _under(comparison, name)
    if layers:
        _print_layers(asked, counted, chosen, format)
    else:
        _print_totals(asked, counted, chosen, format)


def _comparison(
    model: Choice, task: str | None, input_shape: str | None, classes: int, convention: Convention
) -> tuple[str, Comparison]:
    """The model counted in full precision, and what it is in words."""
    import torch

    from bibench.complexity import Comparison
    from bibench.measure.complexity import compare, prescribed
    from bibench.models import MODELS, create
    from bibench.operators import FULL_PRECISION
    from bibench.suite.cell import Cell

    if (task is None) == (input_shape is None):
        raise BiBenchError("give either --task, whose inputs and classes count, or --input-shape, as in 3x224x224")
    model = prescribed(model, convention)
    MODELS[model.name].check_options(model.options)
    if task is not None:
        cell = Cell(choice(task), model, Choice(FULL_PRECISION), choice("paper"), 0)
        cell.validate()
        return f"{model} on {task}", compare(cell, convention)
    assert input_shape is not None
    shape = _shape(input_shape)
    with torch.device("meta"):
        made: Any = create(model.name, num_classes=classes, input_shape=shape, **model.options)
        inputs = made.example_inputs() if hasattr(made, "example_inputs") else torch.zeros(1, *shape)
        return f"{model}, input {'×'.join(map(str, shape))}, {classes} classes", Comparison(made, inputs)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.replace("×", "x").replace(",", "x").split("x")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise BiBenchError(f"--input-shape: {text!r} is no shape; expected positive numbers as in 3x224x224")
    return tuple(map(int, parts))


def _under(comparison: Comparison, operator: Choice) -> Complexity | str:
    try:
        return comparison.under(operator.name, **operator.options)
    except (UnsupportedError, ConversionError) as error:
        return str(error)


def _totals(counted: dict[str, Complexity | str], convention: Convention) -> list[dict[str, Any]]:
    from bibench.complexity import Complexity, compression, overall, speedup
    from bibench.operators import FULL_PRECISION

    full = counted[FULL_PRECISION]
    assert isinstance(full, Complexity)
    rows = []
    for operator, own in counted.items():
        row: dict[str, Any] = {"operator": operator, "convention": convention.name}
        if isinstance(own, Complexity):
            row |= {k: v for k, v in own.to_dict(convention).items() if k != "rows"}
            r_c, r_s = compression(full, own), speedup(full, own, convention)
            row |= {"compression": r_c, "speedup": r_s, "om": overall(r_c, r_s), "reason": ""}
        else:
            row |= dict.fromkeys(("parameters", "storage_bytes", "macs", "binary_macs", "bops", "operations"))
            row |= {"compression": None, "speedup": None, "om": None, "reason": own}
        rows.append(row)
    return rows


def _print_totals(asked: str, counted: dict[str, Complexity | str], convention: Convention, format: str) -> None:
    rows = _totals(counted, convention)
    if format == "json":
        print_json(rows)
    elif format == "csv":
        print_csv(rows)
    else:
        columns = (
            *("operator", "storage MB", "compression", "MACs M", "W1A1 MACs M", "GBOPs", "operations M", "speed-up"),
            *("OM", "note"),
        )
        lines = [
            [
                r["operator"],
                _scaled(r["storage_bytes"], 1e6, 3),
                number(r["compression"], 2),
                _scaled(r["macs"], 1e6),
                _scaled(r["binary_macs"], 1e6),
                _scaled(r["bops"], 1e9, 3),
                _scaled(r["operations"], 1e6),
                number(r["speedup"], 2),
                number(r["om"], 2),
                r["reason"],
            ]
            for r in rows
        ]
        console().print(table(f"{asked}; convention {convention.name}", columns, lines, numeric=columns[1:-1]))
        console().print(_stated(convention))


def _stated(convention: Convention) -> str:
    return (
        f"Convention {convention.name}: {convention.description}. A W1A1 multiply-accumulate is "
        f"1/{convention.operations_per_word:g} operation, a 1-bit weight 1/32 of a number."
    )


def _print_layers(asked: str, counted: dict[str, Complexity | str], convention: Convention, format: str) -> None:
    from bibench.complexity import Complexity

    if format == "json":
        found = {name: own.to_dict(convention) for name, own in counted.items() if isinstance(own, Complexity)}
        print_json(found | {name: {"reason": own} for name, own in counted.items() if isinstance(own, str)})
    elif format == "csv":
        print_csv([row for name, own in counted.items() for row in _flat(name, own, convention)])
    else:
        for name, own in counted.items():
            if isinstance(own, str):
                console().print(f"{name}: {own}")
            else:
                console().print(_layer_table(f"{name}: {asked}; convention {convention.name}", own, convention))
        console().print(_stated(convention))


def _layer_table(title: str, own: Complexity, convention: Convention) -> RenderableType:
    numbers = ("parameters", "bytes", "MACs", "BOPs", "operations")
    columns = ("layer", "kind", "bits", *numbers[:2], "leftovers", *numbers[2:], "kept because")
    lines = [
        [
            *(row.name, row.kind, row.precision),
            *(f"{row.parameters:,}", f"{row.storage_bytes:,}"),
            ", ".join(f"{what.replace('_', ' ')} {n:,}" for what, n in row.leftovers.items()),
            *(f"{row.macs:,}", f"{row.bops:,}", f"{own.row_operations(row, convention):,.0f}"),
            row.reason,
        ]
        for row in own.rows
    ]
    total = ["total", "", "", f"{own.parameters:,}", f"{own.storage_bytes:,}", ""]
    total += [f"{own.macs:,}", f"{own.bops:,}", f"{own.operations(convention):,.0f}", ""]
    return table(title, columns, [*lines, total], numeric=numbers)


def _flat(operator: str, own: Complexity | str, convention: Convention) -> list[dict[str, Any]]:
    if isinstance(own, str):
        return [{"model_operator": operator, "reason": own}]
    return [
        {
            "model_operator": operator,
            **{k: v for k, v in row.items() if k not in ("leftovers", "elements")},
            "leftover_numbers": sum(row["leftovers"].values()),
            "element_operations": sum(row["elements"].values()),
        }
        for row in own.to_dict(convention)["rows"]
    ]


def _scaled(value: float | None, by: float, digits: int = 2) -> str:
    return number(None if value is None else value / by, digits)


def measure(
    what: Annotated[list[str], typer.Argument(help="Suites, or task × model, as in: quick imagenetxresnet18")],
    tasks: Tasks = None,
    models: Models = None,
    operators: Operators = None,
    recipe: RecipeName = None,
    runs: Runs = RUNS,
    load: Load = None,
    force: Force = False,
    format: Format = "table",
) -> None:
    """Write sizes, operations, compression and speed-up of every model and operator into the run folder."""
    from bibench.contracts.loaded import used
    from bibench.measure.complexity import measure_complexity

    check_format(format)
    loaded = load_files(load)
    wanted = filters(tasks, models, operators, None, recipe)
    found = list(dict.fromkeys(cell for text in what for cell in _cells(text, wanted)))
    vouch(used((c.operator for c in found), (c.model for c in found)), loaded, force=force)
    news = console(stderr=True)
    records = measure_complexity(found, runs, lambda text: news.print(text, markup=False))
    print_records(marked(records), format, lambda: _print_measured(records))
    require_measured(records)


def _cells(text: str, wanted: Filters) -> list[Any]:
    """The cells of a suite, or of a task and a model."""
    from bibench.operators import known_operators
    from bibench.suite.cell import Cell
    from bibench.suite.definition import SUITES, cells
    from bibench.tasks import TASKS

    if text in SUITES:
        return list(cells(SUITES[text], wanted))
    place = next((p for p in _places(text) if p[0] in TASKS), None)
    if place is None:
        SUITES[text]  # its error names the suites
    assert place is not None
    if wanted.tasks or wanted.models:
        raise BiBenchError(f"--tasks and --models narrow suites; {text!r} names a task and a model already")
    found = [
        Cell(choice(place[0]), choice(place[1]), choice(operator), choice(wanted.recipe or "paper"), 0)
        for operator in wanted.operators or known_operators()
    ]
    for cell in found:
        cell.validate()
    return found


def _places(text: str) -> list[tuple[str, str]]:
    """All ways to read `text` as TASKxMODEL, the longest task first."""
    at = [i for i, letter in enumerate(text) if letter in "x×" and text[:i] and text[i + 1 :]]
    return [(text[:i], text[i + 1 :]) for i in reversed(at)]


def _print_measured(records: Sequence[Record]) -> None:
    by_row: dict[tuple[str, str, str], dict[str, Record]] = {}
    for record in records:
        by_row.setdefault((record.task, record.model, record.operator), {})[record.metric] = record
    metrics = ("compression", "speedup", "compression_paper", "speedup_paper", "speedup_products")
    lines = []
    for (task, model, operator), found in by_row.items():
        values = [number(r.value if (r := found.get(metric)) else None, 2) for metric in metrics]
        size = found.get("storage")
        reason = next((r.reason for r in found.values() if r.reason), "")
        lines.append([task, model, operator, _scaled(size.value if size else None, 1e6, 3), *values, reason])
    columns = ("task", "model", "operator", "storage MB", *(m.replace("_", ", ") for m in metrics), "note")
    console().print(table("Theoretical complexity, ratios to full precision", columns, lines, numeric=columns[3:-1]))
