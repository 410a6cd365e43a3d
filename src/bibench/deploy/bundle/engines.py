"""Loading a model file into an engine: a function without arguments that runs it once on fixed inputs."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .tools import CALLS, TOOLS, check, command

Run = Callable[[], Any]

WARM_SECONDS, WARM_CALLS, SAMPLE_SECONDS = 0.5, 3, 0.0005
"""Warming lasts so long and so many calls at least; a sample of very short calls is the mean of several."""
TOOL_SECONDS = 600.0

ONNX_ENGINES = ("onnxruntime", "onnxruntime_int8", "bibench")
"""ONNX Runtime runs their files, with our operators for the last one."""

DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


def sampler(contender: Mapping[str, Any], threads: int, batch: int) -> Callable[[], float]:
    """A warm contender: a function that returns the milliseconds of a call."""
    if contender["engine"] in TOOLS:
        return _tool_sampler(contender, threads, batch)
    return timed(load(contender, threads, batch))


def timed(run: Run, clock: Callable[[], float] = time.perf_counter) -> Callable[[], float]:
    """Warm `run` up; then each sample is one untimed call, since the others emptied the caches, and timed ones."""
    shortest, calls, began = math.inf, 0, clock()
    while calls < WARM_CALLS or clock() - began < WARM_SECONDS:
        start = clock()
        run()
        shortest, calls = min(shortest, clock() - start), calls + 1
    repeats = max(1, math.ceil(SAMPLE_SECONDS / max(shortest, 1e-7)))

    def sample() -> float:
        run()
        start = clock()
        for _ in range(repeats):
            run()
        return 1e3 * (clock() - start) / repeats

    return sample


def load(contender: Mapping[str, Any], threads: int, batch: int) -> Run:
    """Load the contender's file: ONNX Runtime here, other engines of the installed BiBench."""
    loader = load_onnx if contender["engine"] in ONNX_ENGINES else load_registered
    return loader(contender, threads, batch)


def load_onnx(contender: Mapping[str, Any], threads: int, batch: int) -> Run:
    """A session of ONNX Runtime, with our operators if the contender has a library of them."""
    return on_inputs(onnx_session(contender, threads), contender, batch)


def on_inputs(session: Any, contender: Mapping[str, Any], batch: int) -> Run:
    """Running `session` on made-up inputs of the shapes that it declares."""
    inputs = {one.name: _array(one.name, one.type, _shape(one, batch, contender)) for one in session.get_inputs()}
    return lambda: session.run(None, inputs)


def onnx_session(contender: Mapping[str, Any], threads: int, profile_prefix: str = "") -> Any:
    """A session with exactly `threads` threads that sleep when there is nothing to do.

    Spinning threads win little on an idle machine and collapse on one that does anything else.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise ValueError(
            f"ONNX Runtime cannot be imported ({error}); install it: {sys.executable} -m pip install onnxruntime numpy"
        ) from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if profile_prefix:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    if contender.get("library"):
        options.register_custom_ops_library(str(Path(contender["library"]).resolve()))
    return onnxruntime.InferenceSession(
        contender["file"], options, providers=["CPUExecutionProvider"], enable_fallback=False
    )


def _shape(one: Any, batch: int, contender: Mapping[str, Any]) -> list[int]:
    """The shape asked for, or the model's own with `batch` as a first axis that is free."""
    asked = contender.get("shapes", {}).get(one.name)
    shape = list(one.shape)
    if asked is not None:
        open_axes = [not isinstance(size, int) or size < 1 for size in shape]
        if len(asked) != len(shape) or any(a != s for a, s, open_ in zip(asked, shape, open_axes) if not open_):
            takes = "x".join("…" if open_ else str(size) for size, open_ in zip(shape, open_axes))
            raise ValueError(
                f"--input-shapes {one.name}={'x'.join(map(str, asked))} does not fit: the model takes {takes}"
            )
        return [int(size) for size in asked]
    if shape and not isinstance(shape[0], int):
        shape[0] = batch
    elif shape and shape[0] != batch:
        raise ValueError(f"the model has a fixed batch size of {shape[0]}, batch {batch} was asked for")
    free = [str(size) for size in shape if not isinstance(size, int) or size < 1]
    if free:
        raise ValueError(
            f"input {one.name!r} has free axes {', '.join(free)}; give its sizes: --input-shapes {one.name}=1x…"
        )
    return shape


def _array(name: str, kind: str, shape: Sequence[int]) -> Any:
    """Standard normal numbers, or ones: valid indices and masks."""
    import numpy as np

    if kind not in DTYPES:
        raise ValueError(f"input {name!r} is a {kind}, which cannot be made up")
    if "float" in DTYPES[kind]:
        return np.random.default_rng(0).standard_normal(shape).astype(DTYPES[kind])
    return np.ones(shape, DTYPES[kind])


def load_registered(contender: Mapping[str, Any], threads: int, batch: int) -> Run:
    """An engine of the BiBench that is installed where this runs."""
    try:
        from bibench.deploy.running import runner
    except ImportError as error:
        raise ValueError(f"engine {contender['engine']!r} runs only where BiBench is installed ({error})") from error
    return runner(contender, threads, batch)


def _tool_sampler(contender: Mapping[str, Any], threads: int, batch: int) -> Callable[[], float]:
    engine = contender["engine"]
    check(engine, threads, batch)
    if not contender.get("program"):
        raise ValueError(f"engine {engine!r} needs the program {TOOLS[engine].program}; give it with --programs")
    words = command(engine, contender["program"], contender["file"], threads, CALLS, contender.get("arguments", ()))

    def sample() -> float:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TOOL_SECONDS)
        output = done.stdout.decode(errors="replace")
        if done.returncode:
            raise ValueError(f"{Path(words[0]).name} ended with {done.returncode}: {output.strip()[-300:]}")
        return TOOLS[engine].parse(output).value

    return sample
