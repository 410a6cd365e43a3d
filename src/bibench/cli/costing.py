"""``bibench measure training-cost``: time and memory of a training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from bibench.cli.marking import marked
from bibench.cli.options import (
    RUNS,
    ComputeDevice,
    DataRoot,
    Format,
    Load,
    Operators,
    Runs,
    check_format,
    flat,
    load_files,
    positive_numbers,
    resolve_device,
)
from bibench.cli.output import console, print_records, require_measured, table, tell_of_absent_core
from bibench.cli.vouching import Force, vouch
from bibench.data.location import data_root as find_data_root
from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import require
from bibench.records.flags import others_than_marked
from bibench.records.provenance import available_cores
from bibench.records.record import Record


def training_cost(
    task: Annotated[str, typer.Option("--task", help="A task; see: bibench list tasks")],
    model: Annotated[str, typer.Option("--model", help="A model, as in: resnet20\\[width=8]")],
    operators: Operators = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="A recipe (default: sensitivity if the task has it, else paper).")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=1, help="Default: the recipe's.")] = None,
    threads: Annotated[
        list[str] | None, typer.Option("--threads", help="Threads, measured one after the other, as in: 1,2")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="At most so many steps of each.")] = 30,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Stop when every ratio is known to within this share.")
    ] = 0.02,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of weights and batches.")] = 0,
    runs: Runs = RUNS,
    data_root: DataRoot = None,
    device: ComputeDevice = "auto",
    load: Load = None,
    force: Force = False,
    format: Format = "table",
) -> None:
    """Time and memory of a training step, operators and full precision taking turns."""
    from bibench.contracts.loaded import used_by
    from bibench.operators import FULL_PRECISION, known_operators
    from bibench.tasks import TASKS
    from bibench.tasks.sensitivity import SENSITIVITY

    require("lightning_fabric", extra="bench", purpose="measuring training cost")
    from bibench.measure.session import Request
    from bibench.measure.training_cost import baseline_first, measure_training_cost
    from bibench.suite.cell import Cell

    check_format(format)
    counted = positive_numbers("--threads", threads) or [available_cores()]
    device = resolve_device(device)
    loaded = load_files(load)
    root = find_data_root(data_root)
    chosen = [choice(o) for o in flat(operators) or known_operators()]
    named = choice(recipe or (SENSITIVITY if SENSITIVITY in TASKS[task].recipes else "paper"))
    cells = baseline_first(
        [Cell(choice(task), choice(model), o, named, seed) for o in (*chosen, Choice(FULL_PRECISION))]
    )
    for cell in cells:
        cell.validate()
    TASKS[task](root).prepare()
    vouch(used_by(cells), loaded, data_root=root, force=force)
    news = console(stderr=True)
    tell_of_absent_core(news)
    records: list[Record] = []
    for count in counted:
        request = Request(cells, count, batch_size, rounds, tolerance, device, root, loaded)
        said = lambda text, count=count: news.print(f"{count} thread(s): {text}", markup=False)  # noqa: E731
        records += measure_training_cost(request, runs, said)
    print_records(marked(records), format, lambda: _print_tables(records))
    require_measured(records)


def _print_tables(records: Sequence[Record]) -> None:
    for threads in dict.fromkeys(record.threads for record in records):
        _print_table([record for record in records if record.threads == threads])


def _print_table(records: Sequence[Record]) -> None:
    first, out = records[0], console()
    contenders: dict[tuple[str, str], dict[str, Record]] = {}
    for record in records:
        contenders.setdefault((record.operator, record.memory_format), {})[record.metric] = record
    lines: list[list[Any]] = []
    for (operator, memory_format), found in contenders.items():
        failed = next((f"{r.status}: {r.reason}" for r in found.values() if r.value is None), "")
        flags = next((o.replace("_", " ") for r in found.values() if (o := others_than_marked(r.flags))), "")
        times = [_milliseconds(found.get(f"{phase}_seconds")) for phase in ("forward", "backward", "optimizer", "step")]
        epoch, cpu, memory = (found.get(m) for m in ("epoch_seconds", "step_cpu_seconds", "peak_memory"))
        lines.append(
            [
                f"{operator} ({memory_format})",
                *times,
                _milliseconds(cpu, spread=False),
                "-" if epoch is None or epoch.value is None else f"{epoch.value:.1f}",
                "-" if memory is None or memory.value is None else f"{memory.value / 2**20:.1f}",
                _percent(found.get("time_ratio")),
                failed or flags,
            ]
        )
    columns: tuple[str, ...] = ("operator", "forward ms", "backward ms", "optimizer ms", "step ms", "step cpu ms")
    columns = (*columns, "epoch s", "peak MiB", "time ratio %", "note")
    rounds = max((r.samples or 0 for r in records), default=0)
    title = (
        f"Training step on {first.task}, {first.model}, recipe {first.recipe}, batch {first.batch_size}, "
        f"{first.threads} thread(s), {first.accelerator}: medians of {rounds} interleaved rounds [quartiles]; "
        "time ratio: full precision / operator, 100 % is as fast"
    )
    out.print(table(title, columns, lines, numeric=columns[1:-1]))


def _milliseconds(record: Record | None, spread: bool = True) -> str:
    if record is None or record.value is None:
        return "-"
    text = f"{1e3 * record.value:.1f}"
    return f"{text} [{1e3 * (record.low or 0):.1f}, {1e3 * (record.high or 0):.1f}]" if spread else text


def _percent(record: Record | None) -> str:
    if record is None or record.value is None:
        return ""
    return f"{100 * record.value:.1f} [{100 * (record.low or 0):.1f}, {100 * (record.high or 0):.1f}]"
