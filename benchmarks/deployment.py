"""Whole models at batch 1: our engine and the others that are installed, beside ONNX Runtime in float32.

Weights are random and the norms' statistics those of random inputs: times do not depend on them. Every engine runs the
model file that `bibench export` writes. Larq Compute Engine, where BIBENCH_LARQ_PYTHON names a Python that has it, runs
in a process of its own that times its own calls, with each of its kernels and options; the fastest is shown. Its
kernels for x86 are portable C++: what they take is no measure of Larq Compute Engine on ARM.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

import bibench
from bibench.deploy.engine import ENGINES
from bibench.deploy.tflite import lce_process
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError
from bibench.tasks import TASKS

from .timing import summarize

MODELS: dict[str, dict[str, Any]] = {
    "resnet18[stem=imagenet]": {"num_classes": 1000, "input_shape": (3, 224, 224)},
    "resnet34[stem=imagenet]": {"num_classes": 1000, "input_shape": (3, 224, 224)},
    "vgg_small": {"num_classes": 10, "input_shape": (3, 32, 32)},
    "bert_tiny6[max_length=128]": {"num_classes": 2, "input_shape": (128,)},
    "pointnet": {"num_classes": 40, "input_shape": (3, 1024)},
    "deep_fsmn": {},  # as the task says
}
SPEECH = "speech_commands"
OPERATOR = "bnn"
FLOAT = ("onnxruntime", "onnxruntime_int8", "torch")
"""Engines that run the full-precision model; all others get the binarized one."""
BASE = "onnxruntime"
LARQ, LARQ_PYTHON = "larq", "BIBENCH_LARQ_PYTHON"
ROUNDS, WARMUP, CALIBRATION = 40, 3, 4

Timed = Callable[[], float]
"""Runs a model and gives the seconds of that call."""


def run(models: Sequence[str] = (), threads: Sequence[int] = (1, 2), rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Ratios of medians of calls that take turns; with one thread the processor's time, else wall time."""
    asked = [name for name in MODELS if not models or choice(name).name in models]
    if unknown := set(models) - {choice(name).name for name in asked}:
        raise BiBenchError(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        for name in asked:
            files, problems = exported(name, Path(folder))
            rows += [{"name": f"{name}: {engine}", "not measured": why} for engine, why in problems.items()]
            for count in threads:
                rows += measured(name, files, count, rounds)
    return rows


def exported(name: str, folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """The file of each engine that runs here and takes the model, and why the others do not."""
    files, problems = {}, {}
    for engine_name in ENGINES:
        engine = ENGINES[engine_name]()
        if reason := engine.available():
            problems[engine_name] = reason
            continue
        model, inputs, batches = made(name, "fp32" if engine_name in FLOAT else OPERATOR)
        path = folder / f"{choice(name).name}-{engine_name}{engine.extension}"
        calibration = batches if engine.needs_calibration else None
        try:
            bibench.export(model, path, inputs, engine=engine_name, calibration=calibration)
            files[engine_name] = path
        except Exception as error:  # quantizers of others raise what they like
            problems[engine_name] = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"
    return files, problems


def made(name: str, operator: str) -> tuple[nn.Module, Any, list[list[Any]]]:
    """A model in evaluation mode with calibrated norms, its inputs, and batches for quantizers."""
    torch.manual_seed(0)
    chosen = choice(name)
    sizes = MODELS[name] or TASKS[SPEECH]().model_arguments()
    model = bibench.models.create(chosen.name, **sizes, **chosen.options)
    ids = hasattr(model, "example_inputs")

    def inputs(count: int) -> Any:
        return model.example_inputs(count) if ids else torch.randn(count, *sizes["input_shape"])  # type: ignore[operator]

    if operator != "fp32":
        bibench.binarize(model, operator, example_inputs=inputs(2))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean of all batches
    with torch.no_grad():
        model.train()(*inputs(4)) if ids else model.train()(inputs(4))
    batches = [[x.numpy() for x in (inputs(1) if ids else [inputs(1)])] for _ in range(CALIBRATION)]
    return model.eval(), inputs(2), batches


def measured(name: str, files: dict[str, Path], threads: int, rounds: int) -> list[dict[str, Any]]:
    """Rows of one model with so many threads."""
    clock = "process_time" if threads == 1 else "perf_counter"
    title = f"{choice(name).name}, {threads} thread{'s' if threads > 1 else ''}"
    with ExitStack() as stack:
        calls: dict[str, Timed] = {}
        for engine_name, path in files.items():
            if engine_name == LARQ:
                calls |= larq(path, threads, clock, stack)
            else:
                calls[engine_name] = in_process(engine_name, path, threads, clock)
        times = in_turns(calls, rounds)
    best = min((k for k in times if k.startswith(LARQ)), key=lambda k: median(times[k]), default=None)
    kept = {k: v for k, v in times.items() if not k.startswith(LARQ) or k == best}
    rows = summarize({f"{title}: {k}": v for k, v in kept.items()}, f"{title}: {BASE}")
    for row in rows:
        row["speedup"] = 1 / row["ratio"]
    return rows


def in_process(engine_name: str, path: Path, threads: int, clock: str) -> Timed:
    """A call of an engine here, after one that is not timed, since the others emptied the caches."""
    from bibench.deploy.running import runner

    call = runner({"engine": engine_name, "file": str(path)}, threads, 1)
    now: Callable[[], float] = getattr(time, clock)

    def timed() -> float:
        call()
        start = now()
        call()
        return now() - start

    return timed


def larq(path: Path, threads: int, clock: str, stack: ExitStack) -> dict[str, Timed]:
    """Larq Compute Engine with each kernel (the indirect one has one thread), with and without XNNPACK."""
    found = {}
    for indirect, xnnpack in product((False, True), repeat=2):
        if indirect and threads > 1:
            continue
        options = {"num_threads": threads, "use_indirect_bgemm": indirect, "use_xnnpack": xnnpack}
        command = [os.environ[LARQ_PYTHON], "-I", str(Path(__file__).with_name("larq_timer.py")), str(path)]
        process = stack.enter_context(
            subprocess.Popen(
                [*command, json.dumps(options), clock, str(Path(lce_process.__file__).parent)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        kernel = "indirect" if indirect else "optimized"
        found[f"{LARQ} ({kernel}{', XNNPACK' if xnnpack else ''})"] = asking(process)
    return found


def asking(process: subprocess.Popen[str]) -> Timed:
    """Has a process run its model once; it tells the seconds."""

    def timed() -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            raise BiBenchError(f"{' '.join(map(str, process.args))}: ended")  # type: ignore[union-attr, arg-type]
        return float(answer)

    return timed


def in_turns(calls: dict[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call, in a new random order in each round; calls that fail are left out."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    for number in range(WARMUP + rounds):
        shuffle(order)
        for name in list(order):
            try:
                seconds = calls[name]()
            except (BiBenchError, OSError) as error:
                print(f"  {name} failed: {error}", flush=True)
                order.remove(name)
                times.pop(name)
                continue
            if number >= WARMUP:
                times[name].append(seconds)
    return times
