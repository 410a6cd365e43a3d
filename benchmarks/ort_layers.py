"""Single layers in ONNX Runtime at batch 1: our operators beside its float32 convolution, one and two threads.

Each has some calls in a row when it is its turn. In all but the first of them the caches hold what they hold within a
model, where the layer before has just written the input; what the first call takes, after everything else, stands
beside it as ``cold``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bibench import _core
from bibench.kernels import native

from .timing import interleave

# Channels and side of 3×3 layers, as in ResNet-18 at 224×224, and a 1×1 layer.
LAYERS = ((64, 56, 3), (128, 28, 3), (256, 14, 3), (512, 7, 3), (256, 28, 1))
ROUNDS = 30
CALLS = 4
WHOLE = ", residual and PReLU"


def run() -> list[dict[str, Any]]:
    """Medians of calls in turns; with one thread the processor's time, else wall time."""
    rows = []
    for threads in (1, 2):
        if threads > (os.cpu_count() or 1):
            continue
        clock = time.process_time if threads == 1 else time.perf_counter
        for channels, size, kernel in LAYERS:
            alternatives = engines(channels, size, kernel, threads)
            times = interleave(alternatives, rounds=ROUNDS, warmup=5, clock=clock, calls=CALLS)
            cold = {engine: median(seconds[::CALLS]) for engine, seconds in times.items()}
            warm = {engine: median(s for i, s in enumerate(seconds) if i % CALLS) for engine, seconds in times.items()}
            operations = 2 * channels**2 * kernel**2 * size**2
            for engine in times:
                base = f"float32{WHOLE}" if engine.endswith(WHOLE) else "float32"
                rows.append(
                    {
                        "name": f"{kernel}×{kernel}, {channels} channels, {size}×{size}, {threads} threads: {engine}",
                        "us": round(warm[engine] * 1e6, 1),
                        "GOP/s": round(operations / warm[engine] / 1e9),
                        "times float32": round(warm[base] / warm[engine], 2),
                        "cold us": round(cold[engine] * 1e6, 1),
                        "cold, times float32": round(cold[base] / cold[engine], 2),
                    }
                )
    return rows


def engines(channels: int, size: int, kernel: int, threads: int) -> dict[str, Callable[[], object]]:
    """Sessions of one layer. Inputs and outputs stay in ONNX Runtime's memory, as inside a model."""
    random = np.random.default_rng(0)
    x = random.standard_normal((1, channels, size, size), dtype=np.float32)
    w = random.standard_normal((channels, channels, kernel, kernel), dtype=np.float32)
    scale = random.standard_normal(channels, dtype=np.float32)
    pads = [kernel // 2] * 4
    found: dict[str, Callable[[], object]] = {}
    float32 = model([helper.make_node("Conv", ["x", "w", "bias"], ["y"], pads=pads)], x.shape, {"w": w, "bias": scale})
    found["float32"] = call(float32, threads, {"x": x})
    nodes = [
        helper.make_node("Conv", ["x", "w", "bias"], ["sum"], pads=pads),
        helper.make_node("Add", ["sum", "x"], ["total"]),
        helper.make_node("PRelu", ["total", "slope"], ["y"]),
    ]
    initial = {"w": w, "bias": scale, "slope": scale.reshape(-1, 1, 1)}
    found[f"float32{WHOLE}"] = call(model(nodes, x.shape, initial), threads, {"x": x})
    bits = np.packbits((w < 0).reshape(channels, -1), axis=1, bitorder="little")
    attributes: dict[str, Any] = {"kernel_shape": [kernel] * 2, "pads": pads, "channels": channels, "domain": "bibench"}
    stored: dict[str, np.ndarray] = {"w": bits, "scale": scale, "slope": scale}
    plain = helper.make_node("BinaryConv", ["x", "w", "scale", "scale"], ["y"], **attributes)
    whole = helper.make_node(
        "BinaryConv",
        ["x", "w", "scale", "scale", "", "", "", "x", "slope"],
        ["y"],
        activation="prelu",
        **attributes,
    )
    for isa in native.available()[:2]:
        found[isa] = using(isa, call(model([plain], x.shape, stored), threads, {"x": x}))
    best = native.available()[0]
    found[f"{best}{WHOLE}"] = using(best, call(model([whole], x.shape, stored), threads, {"x": x}))
    return found


def using(isa: str, work: Callable[[], object]) -> Callable[[], object]:
    """`work` with the kernels of one instruction set."""

    def run_with() -> object:
        _core.use(isa)
        return work()

    return run_with


def model(nodes: list[onnx.NodeProto], shape: tuple[int, ...], stored: dict[str, np.ndarray]) -> bytes:
    """A model of these nodes with an output of the input's shape."""
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape))],
        [numpy_helper.from_array(v, name) for name, v in stored.items() if any(name in node.input for node in nodes)],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("bibench", 1)]
    data: bytes = helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString()
    return data


def call(data: bytes, threads: int, feed: dict[str, np.ndarray]) -> Callable[[], object]:
    """One run with bound inputs and outputs. Threads that spin would steal time on a busy machine."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.register_custom_ops_library(_core.__file__)
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, value in feed.items():
        binding.bind_ortvalue_input(name, own(value.shape, value))
    binding.bind_ortvalue_output("y", own(feed["x"].shape))
    return lambda: session.run_with_iobinding(binding)


def own(shape: tuple[int, ...], value: np.ndarray | None = None) -> onnxruntime.OrtValue:
    """Memory that ONNX Runtime allocates, aligned to cache lines as between the nodes of a model; NumPy's is not."""
    tensor = onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32)
    if value is not None:
        tensor.update_inplace(value)
    return tensor
