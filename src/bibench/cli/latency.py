"""``bibench latency``: how fast deployed models are, here and on other devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bibench.cli.deploying import Averaged, FactoryName, ModelName, OperatorName, PadValue, TaskName
from bibench.cli.exit_codes import FAILED
from bibench.cli.fitting import Fitting, print_wrapped
from bibench.cli.marking import marked
from bibench.cli.options import RUNS, DataRoot, Format, Load, check_format, flat, load_files, positive_numbers
from bibench.cli.output import console, notes, number, print_records, require_measured, tell_of_absent_core
from bibench.foundation.errors import BiBenchError, require
from bibench.records.flags import others_than_marked
from bibench.records.record import Record, write_file

MEASURE = "measure"
COLUMNS = (
    *("model", "engine", "threads", "batch", "latency ms", "rounds"),
    *("speed-up", "in theory", "file MiB", "memory MiB"),
)


class _MeasureByDefault(TyperGroup):
    """``bibench latency model.onnx`` is ``bibench latency measure model.onnx``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = [MEASURE, *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_MeasureByDefault,
    help="Latency of deployed models, beside full precision: [bold]bibench latency MODEL... --baseline FP32MODEL[/]",
    no_args_is_help=True,
)

DevicesFile = Annotated[
    list[Path] | None, typer.Option("--devices", help="TOML file with devices of your own, a row each.")
]
Output = Annotated[Path, typer.Option("-o", "--output", help="Run folder, or a .jsonl file to append the records to.")]


Engines = Annotated[
    list[str] | None, typer.Option("--engines", help="Engines for the models (default: what each was made for).")
]
Threads = Annotated[
    list[str] | None, typer.Option("--threads", help="As in: 1,2 (default: 1, 2, 4, 8 as the device has them).")
]
Precision = Annotated[
    float, typer.Option("--precision", min=0.001, max=1.0, help="Stop when all medians are known to ± this share.")
]
MaxSeconds = Annotated[
    float, typer.Option("--max-seconds", min=0.0, help="Start no round after so long, for each count and batch.")
]
Shape = Annotated[list[str] | None, typer.Option("--shape", help="Shape of an input with free axes, as in: ids=1x128")]
Library = Annotated[Path | None, typer.Option("--library", help="Our operators' library, built for the device.")]
Program = Annotated[
    list[str] | None,
    typer.Option("--program", help="Benchmark program of an engine, as in: larq=lce_benchmark_model"),
]
ProgramArgument = Annotated[
    list[str] | None, typer.Option("--argument", help="Passed on to that program, as in: --use_xnnpack=true")
]


@app.command(MEASURE)
def measure(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL|CELL|CHECKPOINT...",
            help="Model files (.onnx, .tflite, .dab), or trained models, which are exported first.",
        ),
    ],
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="The full-precision model, measured in the same process.")
    ] = None,
    engines: Engines = None,
    threads: Threads = None,
    batch: Annotated[list[str] | None, typer.Option("--batch", help="Batch sizes, as in: 1,8 (default: 1).")] = None,
    device: Annotated[str, typer.Option("--device", help="A device; see: bibench list devices")] = "local",
    devices: DevicesFile = None,
    precision: Precision = 0.02,
    max_seconds: MaxSeconds = 60.0,
    shape: Shape = None,
    library: Library = None,
    program: Program = None,
    argument: ProgramArgument = None,
    name: Annotated[str, typer.Option("--name", help="What to call the device in the records.")] = "",
    profile: Annotated[bool, typer.Option("--profile", help="Also write the time per node (ONNX models).")] = False,
    memory: Annotated[bool, typer.Option("--memory/--no-memory", help="Also measure the peak memory.")] = True,
    task: TaskName = None,
    model: ModelName = None,
    factory: FactoryName = None,
    operator: OperatorName = None,
    pad_value: PadValue = 0,
    ema: Averaged = False,
    data_root: DataRoot = None,
    output: Output = RUNS,
    load: Load = None,
    format: Format = "table",
) -> None:
    """Measure model files, or trained models, in turns with a full-precision baseline, on this machine or a device."""
    import tempfile
    from dataclasses import replace

    from bibench.deploy import latency, storing
    from bibench.deploy.devices import DEVICES, load_devices
    from bibench.deploy.measurable import measurable
    from bibench.deploy.source import Named

    check_format(format)
    load_files(load)
    for file in devices or ():
        load_devices(file)
    if DEVICES[device].transport == "local":
        require("onnxruntime", extra="deploy", purpose="measuring latency")
    request = latency.Request(
        contenders=(),
        device=device,
        threads=tuple(positive_numbers("--threads", threads)) or None,
        batches=tuple(positive_numbers("--batch", batch)) or (1,),
        precision=precision,
        max_seconds=max_seconds,
        shapes=dict(_shape(text) for text in shape or ()),
        library=None if library is None else _file("--library", library),
        programs=dict(_program(text) for text in program or ()),
        arguments=tuple(argument or ()),
        name=name,
        memory=memory,
        profile=profile,
    )
    storing.require_writable(output)
    news = console(stderr=True)
    if DEVICES[device].transport == "local":
        tell_of_absent_core(news)
    named = Named(task, model, operator, pad_value, ema, factory)
    with tempfile.TemporaryDirectory(prefix="bibench-") as folder:
        with notes():
            found = measurable(models, baseline, flat(engines), named, Path(folder), data_root)
        request = replace(request, contenders=tuple(found))
        measured = latency.measure(request, lambda text: news.print(text, markup=False))
        place = storing.store(measured, request, output)
    print_records(marked(measured.records), format, lambda: _print_table(measured.records))
    for head, *sentences in measured.explanations.values():
        explained = console() if format == "table" else news
        print_wrapped(explained, [head, *(f"  {sentence}" for sentence in sentences), ""])
    news.print(f"records: {place}", markup=False)
    if measured.problem:
        news.print(f"error: {measured.problem}; what was measured before is kept", markup=False)
        raise typer.Exit(FAILED)
    require_measured(measured.records)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV file; docs/latency.md describes its columns.")],
    devices: DevicesFile = None,
    output: Output = RUNS,
    load: Load = None,
) -> None:
    """Take measurements made by hand: all of a CSV file, or nothing of it."""
    import datetime

    from bibench.deploy.devices import load_devices
    from bibench.deploy.imported import read_measurements
    from bibench.deploy.storing import append, new_folder
    from bibench.suite.store import RECORDS

    load_files(load)
    for rows in devices or ():
        load_devices(rows)
    records = read_measurements(file)
    place = output
    if output.suffix == ".jsonl":
        append(records, output)
    else:
        place = new_folder(output, "imported", datetime.datetime.now(datetime.UTC))
        write_file(place / RECORDS, records, checksum=True)
    console().print(f"{len(records)} measurements of {len({r.device for r in records})} device(s): {place}")


def _shape(text: str) -> tuple[str, list[int]]:
    name, equals, sizes = text.rpartition("=")
    if not equals or not name or not all(size.isdecimal() and int(size) > 0 for size in sizes.split("x")):
        raise BiBenchError(f"--shape: {text!r}, expected an input's name and sizes, as in: ids=1x128")
    return name, [int(size) for size in sizes.split("x")]


def _program(text: str) -> tuple[str, Path]:
    from bibench.deploy.bundle.tools import TOOLS

    engine, equals, file = text.partition("=")
    if not equals or engine not in TOOLS:
        raise BiBenchError(f"--program: {text!r}, expected one of {', '.join(f'{name}=FILE' for name in TOOLS)}")
    return engine, _file("--program", Path(file))


def _file(option: str, file: Path) -> Path:
    if not file.is_file():
        raise BiBenchError(f"{option}: there is no file {file}")
    return file.resolve()


def _print_table(records: Sequence[Record]) -> None:
    if not records:
        return
    rows: dict[tuple[Any, ...], dict[str, Record]] = {}
    sizes: dict[tuple[Any, ...], Record] = {}
    theory: dict[tuple[Any, ...], Record] = {}
    for record in records:
        what = (record.model, record.operator, record.engine)
        if record.metric == "storage":
            sizes[what] = record
        elif record.metric == "theoretical_speedup":
            theory[what] = record
        else:
            rows.setdefault((record.threads, record.batch_size, *what), {})[record.metric] = record
    lines: list[list[Any]] = []
    notes: list[list[str]] = []
    for (threads, batch, *key), found in rows.items():
        what = (key[0], key[1], key[2])
        time, memory, size = found["latency_ms"], found.get("peak_memory"), sizes.get(what)
        notes.append(
            [f"{time.status}: {time.reason}"] if time.value is None else _remarks(time, found, theory.get(what))
        )
        lines.append(
            [
                *(" ".join(part for part in what[:2] if part), what[2]),
                *(threads, batch, _spread(time, 3), time.samples, _spread(found.get("speedup"), 2)),
                number(theory[what].value if what in theory else None, 2),
                *(_mebibytes(size), _mebibytes(memory)),
            ]
        )
    title = f"Latency on {records[0].device}: medians of interleaved rounds [quartiles]; speed-up: baseline / model"
    title += ", in theory: by the products alone, 64 as one in layers that gain at 1 bit" if theory else ""
    Fitting(title, COLUMNS, lines, notes, keys=4, numeric=COLUMNS[2:]).print(console())


def _remarks(time: Record, found: dict[str, Record], theory: Record | None) -> list[str]:
    """What is odd about a row: the flags of its time, and a speed-up that is explained below the table."""
    from bibench.deploy.explaining import is_binarized, verdict

    speedup = found.get("speedup")
    odd = ""
    if speedup and speedup.value and is_binarized(time.operator):
        odd = verdict(speedup.value, theory.value if theory else None)
    return [flag for flag in (others_than_marked(time.flags), odd) if flag]


def _spread(record: Record | None, digits: int) -> str:
    if record is None or record.value is None:
        return "-"
    return f"{record.value:.{digits}f} [{record.low or 0:.{digits}f}, {record.high or 0:.{digits}f}]"


def _mebibytes(record: Record | None) -> str:
    return "-" if record is None or record.value is None else f"{record.value / 2**20:.2f}"
