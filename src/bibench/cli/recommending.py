"""``bibench recommend``: which operator and model to deploy, from records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console

from bibench.cli.fitting import Fitting, print_wrapped
from bibench.cli.marking import marked
from bibench.cli.options import Format, Load, RecordsOf, check_format, load_files, records_of
from bibench.cli.output import console, number, print_csv, print_json
from bibench.cli.planned import plan_of
from bibench.cli.scoring import read_runs
from bibench.foundation.choice import choice, recorded
from bibench.foundation.errors import BiBenchError
from bibench.recommend import Advice, Candidate, Sizes, Wishes, in_order, recommend
from bibench.records.record import Record
from bibench.suite.filters import Filters


def recommend_(
    runs: RecordsOf = None,
    task: Annotated[str, typer.Option("--task", help="The task to be solved. \\[required]", show_default=False)] = "",
    device: Annotated[
        str, typer.Option("--device", help="Where it is to run, as the records call it.", show_default=False)
    ] = "",
    max_ms: Annotated[
        float | None, typer.Option("--max-ms", help="Most milliseconds per input. \\[requires --device]")
    ] = None,
    max_mb: Annotated[
        float | None,
        typer.Option(
            "--max-mb", help="Most megabytes (10⁶ bytes): of the file that was timed, else of the counted weights."
        ),
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option("--min-accuracy", help="Least score of the task's metric, in percent.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Only latencies with so many threads. \\[requires --device]")
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="Only latencies of this engine. \\[requires --device]", show_default=False)
    ] = "",
    count_sizes: Annotated[
        bool, typer.Option("--count-sizes/--no-count-sizes", help="Count sizes that the records lack.")
    ] = True,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Recommend operators and models that fulfil limits on latency, size and accuracy, or say why none does.

    Without RUNS it reads the run folder ``runs``; ``published`` are the paper's own results.
    """
    check_format(format)
    load_files(load)
    if not task:
        raise BiBenchError("--task is required: which task is to be solved? See: bibench list tasks")
    asked = {
        "--max-ms": f"{max_ms:g}" if max_ms is not None else "",
        "--threads": str(threads or ""),
        "--engine": engine,
    }
    for option, text in asked.items():
        if text and not device:
            raise BiBenchError(
                f"{option} {text} asks for a latency, which belongs to a device: --device is required, too"
            )
    wishes = Wishes(task, device, max_ms, max_mb, min_accuracy, threads, engine)
    places = records_of(runs)
    records = marked(read_runs(places), plan_of(places, None, Filters(tasks=(task,)), None))
    sizes = _sizes(records, task) if count_sizes else {}
    advice = recommend(records, wishes, sizes=sizes)
    if format == "json":
        print_json(advice.to_dict())
    elif format == "csv":
        print_csv([_flat(c) for c in (*advice.recommended, *advice.dominated, *advice.excluded, *advice.unknown)])
    else:
        _print(console(), advice)


def _sizes(records: Sequence[Record], task: str) -> Sizes:
    """Bytes of every model and operator of the task's records that no record counts, from the architecture."""
    from bibench.complexity import Comparison
    from bibench.measure.complexity import compare
    from bibench.models import MODELS
    from bibench.operators import OPERATORS
    from bibench.suite.cell import Cell
    from bibench.tasks import TASKS

    known = {(r.model, r.operator) for r in records if r.task == task and r.metric == "storage" and r.value is not None}
    asked = {(r.model, r.operator) for r in records if r.task == task and r.kind == "score" and not r.study} - known
    found: dict[tuple[str, str, str], tuple[float, str]] = {}
    models: dict[str, Comparison | None] = {}
    for model, operator in sorted(asked):
        of = recorded(model), recorded(operator)
        if task not in TASKS or of[0].name not in MODELS or of[1].name not in OPERATORS:
            continue  # of a stranger's file that is not loaded: it stays unknown
        try:
            if model not in models:
                models[model] = None
                models[model] = compare(Cell(choice(task), of[0], choice("fp32"), choice("paper"), 0))
            counted = models[model]
            if counted is None:
                continue
            full = OPERATORS[of[1].name].full_precision
            own = counted.full if full else counted.under(of[1].name, **of[1].options)
        except BiBenchError:  # it cannot be built or converted, so it has no size
            continue
        found[task, model, operator] = own.storage_bytes, "counted from the architecture, not from an exported file"
    return found


def _print(out: Console, advice: Advice) -> None:
    print_wrapped(out, [*advice.said, ""])
    _print_list(out, "Recommended: the Pareto set", advice, advice.recommended)
    _print_evidence(out, advice.recommended)
    _print_list(out, "Qualified, but dominated", advice, in_order(advice.dominated))
    _print_list(out, "Nearest misses", advice, advice.nearest)
    _print_unknown(out, in_order(advice.unknown))


def _print_list(out: Console, title: str, advice: Advice, found: Sequence[Candidate]) -> None:
    if not found:
        return
    columns = ["operator", "model", "recipe", "engine", "threads"]
    numbers = [f"{advice.metric} %", "seeds", "ms", "quartiles", "MB", "on the front"]
    lines = [
        [
            *(c.operator, c.model, c.recipe, c.engine or "-", c.threads or "-"),
            number(c.accuracy) + (f" ± {c.accuracy_error:.1f}" if c.accuracy_error is not None else ""),
            c.seeds,
            number(c.latency_ms, 2),
            "-" if c.latency_low is None else f"{number(c.latency_low, 2)} to {number(c.latency_high, 2)}",
            number(c.megabytes, 2),
            "-" if c.front is None else f"{100 * c.front:.0f} %",
        ]
        for c in found
    ]
    remarks = [(*c.broken, *c.caution) for c in found]
    keys = len(columns)
    Fitting(title, columns + numbers, lines, remarks, keys, "remarks", [*columns[4:], *numbers]).print(out)


def _print_evidence(out: Console, found: Sequence[Candidate]) -> None:
    for c in found:
        evidence = (*c.evidence, *(f"missing: {m}" for m in c.missing))
        print_wrapped(out, [f"{c.name}:", *(f"  {sentence}" for sentence in evidence)])
    if found:
        out.print()


def _print_unknown(out: Console, found: Sequence[Candidate]) -> None:
    """What is missing, once for all of which the same is."""
    if not found:
        return
    out.print("Not judged, for want of a measurement", style="bold")
    by_missing: dict[tuple[str, ...], dict[str, None]] = {}
    for c in found:
        by_missing.setdefault(c.missing, {})[f"{c.operator} on {c.model} ({c.recipe})"] = None
    for missing, names in by_missing.items():
        print_wrapped(out, [", ".join(names), *(f"  {sentence}" for sentence in missing)])
    out.print()


def _flat(c: Candidate) -> dict[str, Any]:
    row = {"verdict": c.verdict, **c.to_dict()}
    return {name: "; ".join(value) if isinstance(value, tuple) else value for name, value in row.items()}
