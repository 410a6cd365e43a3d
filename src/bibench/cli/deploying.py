"""``bibench export``, ``verify`` and ``deploy matrix``: trained models as files that run, and proof of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from bibench.cli.exit_codes import FAILED
from bibench.cli.options import DataRoot, Json, Load, Models, Operators, flat, load_files
from bibench.cli.output import console, notes, print_csv, print_json, table
from bibench.cli.parity import print_parity
from bibench.foundation.errors import UnsupportedError

if TYPE_CHECKING:
    from bibench.deploy.matrix import Deployability
    from bibench.foundation.choice import Choice

TaskName = Annotated[str | None, typer.Option("--task", help="Of a checkpoint that does not say what it is of.")]
ModelName = Annotated[str | None, typer.Option("--model", help="Of such a checkpoint, as in: resnet20\\[width=8]")]
FactoryName = Annotated[
    str | None,
    typer.Option(
        "--factory",
        metavar="FILE.py:FUNCTION",
        help="In the place of --model: a function of yours that returns the model, or it and its example inputs.",
    ),
]
OperatorName = Annotated[str | None, typer.Option("--operator", help="Of such a checkpoint.")]
PadValue = Annotated[
    int,
    typer.Option(
        "--pad-value",
        min=-1,
        max=1,
        help="Of such a checkpoint: 0, 1 or -1, the border that bibench.binarize was given.",
    ),
]
Averaged = Annotated[
    bool, typer.Option("--ema", help="Of such a checkpoint: its averaged weights (EMA, SWA), not the plain ones.")
]


class Format(StrEnum):
    """Of a table."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


deploy = typer.Typer(help="What runs where.", no_args_is_help=True)


@deploy.callback()
def _group() -> None:
    """What runs where."""


def export(
    source: Annotated[Path, typer.Argument(metavar="CELL|CHECKPOINT", help="A cell's folder, or a checkpoint.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model file; its manifest goes beside it.")],
    engine: Annotated[str, typer.Option("--engine", help="See: bibench list engines")] = "bibench",
    task: TaskName = None,
    model: ModelName = None,
    factory: FactoryName = None,
    operator: OperatorName = None,
    pad_value: PadValue = 0,
    ema: Averaged = False,
    winograd: Annotated[
        bool,
        typer.Option("--winograd/--no-winograd", help="The float stem by Winograd filtering, or by an ordinary Conv."),
    ] = True,
    data_root: DataRoot = None,
    load: Load = None,
    json: Json = False,
) -> None:
    """Write a trained model as a file for an engine, with a manifest."""
    load_files(load)
    from bibench.deploy import ENGINES
    from bibench.deploy import export as write
    from bibench.deploy.exporting import model_path
    from bibench.deploy.source import Named, calibration, trained

    runner = ENGINES[engine]()
    with notes():
        found = trained(source, Named(task, model, operator, pad_value, ema, factory), data_root)
    data = calibration(found) if runner.needs_calibration else None
    made = write(
        found.model,
        output,
        found.example_inputs,
        engine,
        calibration=data,
        provenance=found.provenance,
        winograd=winograd,
    )
    if json:
        print_json(made.to_dict())
        return
    out = console()
    path = model_path(output, runner)
    out.print(f"{path}: {made.bytes:,} bytes for engine {engine}, {len(made.layers)} 1-bit layers")
    folded = ", ".join(f"{count} {name}" for name, count in made.folded.items() if count)
    out.print(f"folded into them: {folded or 'nothing'}")
    for note in made.notes:
        out.print(f"note: {note}")


def verify(
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="An exported model.")],
    against: Annotated[Path, typer.Option("--against", metavar="CELL|CHECKPOINT", help="What it was exported from.")],
    examples: Annotated[int, typer.Option("--examples", min=1, help="Of the test split, compared sign by sign.")] = 32,
    metric: Annotated[bool, typer.Option("--metric/--no-metric", help="Judge both on the whole test split.")] = True,
    task: TaskName = None,
    model: ModelName = None,
    factory: FactoryName = None,
    operator: OperatorName = None,
    pad_value: PadValue = 0,
    ema: Averaged = False,
    data_root: DataRoot = None,
    load: Load = None,
    json: Json = False,
) -> None:
    """Prove that an exported model is the trained one: layers, outputs, task metric. Exit code 1 if it is not."""
    load_files(load)
    from bibench.deploy.exporting import Deployed
    from bibench.deploy.judging import judge
    from bibench.deploy.parity import verify as compare
    from bibench.deploy.source import Named, some_inputs, trained

    deployed = Deployed(model_file)
    with notes():
        found = trained(against, Named(task, model, operator, pad_value, ema, factory), data_root)
    _tell_origin(deployed.manifest.provenance.get("cell"), found.provenance.get("cell"))
    report = compare(deployed, found.model, some_inputs(found, "test", examples))
    scores: dict[str, Any] = {}
    if found.task is None:
        console(stderr=True).print("note: without --task compared on the factory's example inputs, and by no metric")
    elif metric:
        try:
            scores = {
                which: judge(one, found.task).metrics[found.task.metric]
                for which, one in (("trained", found.model), ("deployed", deployed))
            }
        except UnsupportedError as error:
            console(stderr=True).print(f"no metric: {error}")
    if json:
        print_json({**report.to_dict(), "metric": found.task.metric if found.task and scores else None, **scores})
    else:
        out = console()
        print_parity(out, report)
        if found.task and scores:
            both = f"trained {scores['trained']:.6g}, deployed {scores['deployed']:.6g}"
            out.print(f"{found.task.metric} on the test split: {both}")
    if not report.equal:
        raise typer.Exit(FAILED)


def _tell_origin(exported: Any, against: Any) -> None:
    """Say when a file is compared with another cell than it was exported from."""
    if not exported or not against or exported == against:
        return
    from bibench.suite.cell import Cell

    made, given = Cell.from_dict(exported), Cell.from_dict(against)
    console(stderr=True).print(f"warning: the file was exported from {made.path}, it is compared with {given.path}")


@deploy.command("matrix")
def matrix(
    task: Annotated[str, typer.Option("--task", help="Whose shapes the models get.")] = "cifar10",
    models: Models = None,
    operators: Operators = None,
    engines: Annotated[list[str] | None, typer.Option("--engines", help="Only these, as in: bibench,torch")] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="One row per operator, as the paper's Table 4; any model's convolution.")
    ] = False,
    pad_value: Annotated[
        int, typer.Option("--pad-value", min=-1, max=1, help="What 1-bit convolutions see at the border: 0, 1 or -1.")
    ] = 0,
    form: Annotated[Format, typer.Option("--format", help="Of the output.")] = Format.table,
    load: Load = None,
    json: Json = False,
) -> None:
    """Which operators run on which engines, and why not, layer by layer, before any training."""
    loaded = load_files(load)
    from bibench.cli.vouching import warn
    from bibench.contracts.loaded import used
    from bibench.deploy import ENGINES
    from bibench.foundation.choice import choice
    from bibench.operators import known_operators

    chosen = [choice(name) for name in flat(operators) or known_operators()]
    warn(used(chosen, map(choice, flat(models))), loaded)
    names = flat(engines) or list(ENGINES)
    shown = _of_operators(chosen, names) if summary else _of_models(task, flat(models), chosen, names, pad_value)
    if json or form is Format.json:
        print_json(shown.rows)
    elif form is Format.table:
        console().print(table(shown.title, shown.columns, shown.lines, numeric=("1-bit layers",)))
    elif form is Format.csv:
        print_csv([dict(zip(shown.columns, line, strict=True)) for line in shown.lines])
    else:
        typer.echo(_markdown(shown.columns, shown.lines), nl=False)


class _Shown(NamedTuple):
    """What is printed: plain rows as JSON, lines below columns else."""

    title: str
    columns: tuple[str, ...]
    lines: list[tuple[Any, ...]]
    rows: list[dict[str, Any]]


def _of_models(task: str, models: list[str], operators: list[Choice], engines: list[str], pad_value: int) -> _Shown:
    from bibench.deploy.matrix import matrix as combine
    from bibench.foundation.choice import choice
    from bibench.tasks import TASKS

    of = TASKS[task]()
    found = list(combine(of, [choice(name) for name in models or of.models], operators, engines, pad_value))
    columns = ("operator", "model", "engine", "1-bit layers", "runs", "because")
    lines = [
        (r.operator, r.model, r.engine, r.layers, "yes" if r.deployable else "no", r.problem or _because(r))
        for r in found
    ]
    return _Shown(f"Deployability for the shapes of {task}", columns, lines, [row.to_dict() for row in found])


def _of_operators(operators: list[Choice], engines: list[str]) -> _Shown:
    """The paper's Table 4."""
    from bibench.deploy.summary import summary

    found = list(summary(operators, engines))
    said = {True: "yes", False: "no", None: "-"}
    columns = ("operator", *engines, "scales", "form", "folds into norm", "re-scaling", "mean-shift")
    lines = [
        (
            row.operator,
            *(said[not row.refusals[name]] for name in engines),
            row.granularity or "-",
            row.form or "-",
            said[row.fold_norm],
            said[row.rescaling],
            said[row.mean_shift],
        )
        for row in found
    ]
    return _Shown("Deployability of operators", columns, lines, [row.to_dict() for row in found])


def _markdown(columns: Sequence[str], lines: Sequence[Sequence[Any]]) -> str:
    rows = [columns, ["---"] * len(columns), *lines]
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _because(row: Deployability) -> str:
    return "; ".join(f"{reason} ({len(layers)} layers: {layers[0]} ...)" for reason, layers in row.reasons.items())
