"""Binary convolutions and products in GOP/s and percent of the processor's limit, beside PyTorch and ONNX Runtime.

``layer`` is a whole layer from float to float as in training: it packs its weights anew each time, which
inference need not. ``counting`` is the product of packed operands alone, repeated, so that they are in the cache as
in a layer that has just packed them: with channels last, and with ``planes`` as for planes of channels, as in ONNX.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bibench import _core
from bibench.kernels import native
from bibench.kernels.spec import LayerSpec, of_layer

from .timing import interleave

logging.getLogger().setLevel(logging.ERROR)  # ONNX Runtime's quantizer recommends a step that one layer needs not

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "3×3, 64 channels, 56×56": (nn.Conv2d(64, 64, 3, padding=1, bias=False), (1, 64, 56, 56)),
    "3×3, 128 channels, 28×28": (nn.Conv2d(128, 128, 3, padding=1, bias=False), (1, 128, 28, 28)),
    "3×3, 256 channels, 14×14": (nn.Conv2d(256, 256, 3, padding=1, bias=False), (1, 256, 14, 14)),
    "3×3, 512 channels, 7×7": (nn.Conv2d(512, 512, 3, padding=1, bias=False), (1, 512, 7, 7)),
    "linear 768×768, 128 tokens": (nn.Linear(768, 768, bias=False), (128, 768)),
    "1×1, 256 channels, 28×28": (nn.Conv2d(256, 256, 1, bias=False), (1, 256, 28, 28)),
    "depthwise 3×3, 256 channels, 28×28": (nn.Conv2d(256, 256, 3, padding=1, groups=256, bias=False), (1, 256, 28, 28)),
}
ROUNDS = 30
COUNTS = 8  # products in one call of ``counting``


def run() -> list[dict[str, Any]]:
    """One thread; every alternative takes turns with the others on the same layer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = []
    try:
        limits = {isa: limit(isa) for isa in native.available()}
        rows += [{"name": f"limit of {isa}: xor + popcount + add", "GOP/s": round(v)} for isa, v in limits.items()]
        for name, (layer, shape) in LAYERS.items():
            rows += compare(name, layer, shape, limits)
    finally:
        torch.set_num_threads(threads)
    return rows


def limit(isa: str) -> float:
    """GOP/s (two operations for each bit) on registers, the best of some tries."""
    with native.using(isa):
        rounds = 200_000
        _core.probe(rounds)
        best = 0.0
        for _ in range(20):
            start = time.process_time()
            bits = _core.probe(rounds)
            best = max(best, 2 * bits / (time.process_time() - start) / 1e9)
    return best


def compare(name: str, layer: nn.Module, shape: tuple[int, ...], limits: dict[str, float]) -> list[dict[str, Any]]:
    """All engines on one layer."""
    x = torch.randn(shape)
    with torch.inference_mode():
        out = layer(x)
    spec = of_layer(layer, input_shape=tuple(x.shape[1:]), output_shape=tuple(out.shape[1:]))
    operations = 2.0 * spec.fan_in * out.numel()
    with TemporaryDirectory() as folder:
        alternatives = engines(layer, x, spec, Path(folder))
        times = interleave(alternatives, rounds=ROUNDS, warmup=3, clock=time.process_time)
    base = median(times["onnxruntime float32"])
    rows = []
    for engine, seconds in times.items():
        if engine.startswith("counting"):
            seconds = [s / COUNTS for s in seconds]
        speed = operations / median(seconds) / 1e9
        isa = engine.split()[1].strip(",") if engine.startswith(("layer", "counting")) else ""
        rows.append(
            {
                "name": f"{name}: {engine}",
                "us": round(median(seconds) * 1e6, 1),
                "GOP/s": round(speed),
                "percent of limit": round(100 * speed / limits[isa]) if isa else None,
                "times onnxruntime float32": round(base / median(seconds), 2),
            }
        )
    return rows


def engines(layer: nn.Module, x: Tensor, spec: LayerSpec, folder: Path) -> dict[str, Callable[[], object]]:
    """What is compared: whole layers from float to float, and the counting alone."""
    weight = layer.weight.detach()
    if weight.dim() == 4:
        weight = weight.contiguous(memory_format=torch.channels_last)
    found: dict[str, Callable[[], object]] = {}
    formats = [x] if x.dim() != 4 else [x, x.contiguous(memory_format=torch.channels_last)]
    for isa in native.available():
        for value, order in zip(formats, ("", ", channels_last"), strict=False):
            found[f"layer {isa}{order}"] = using(isa, lambda v=value: native.convolve(v, weight, None, spec))
        if spec.groups == 1:
            pixels = spec.output_spatial or (x.shape[0],)
            words = spec.fan_in // 32
            sizes = (int(np.prod(pixels)), spec.out_channels, words, COUNTS)
            found[f"counting {isa}"] = using(isa, lambda s=sizes: _core.count_only(*s))
            if x.dim() == 4 and isa == "avx512":  # others count channels last for planes, too
                found[f"counting {isa}, planes"] = using(isa, lambda s=sizes: _core.count_only(*s, planes=True))
    last = formats[-1]
    found["torch float32"] = inference(lambda: layer(x))
    found["torch float32, channels_last"] = inference(lambda: layer(last))
    half, x16 = copy.deepcopy(layer).bfloat16(), last.bfloat16()
    found["torch bfloat16, channels_last"] = inference(lambda: half(x16))
    found.update(onnx_engines(layer, x, folder))
    return found


def using(isa: str, work: Callable[[], object]) -> Callable[[], object]:
    """`work` with the kernels of one instruction set."""

    def call() -> object:
        _core.use(isa)
        return work()

    return call


def inference(work: Callable[[], object]) -> Callable[[], object]:
    """`work` without autograd."""

    def call() -> object:
        with torch.inference_mode():
            return work()

    return call


def onnx_engines(layer: nn.Module, x: Tensor, folder: Path) -> dict[str, Callable[[], object]]:
    """ONNX Runtime in float32 and, quantized by itself, in int8."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    weight = layer.weight.detach().numpy()
    if isinstance(layer, nn.Linear):
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        weight, shape = np.ascontiguousarray(weight.T), (x.shape[0], layer.out_features)
    else:
        pads = [*layer.padding, *layer.padding]
        node = helper.make_node("Conv", ["x", "w"], ["y"], pads=pads, group=layer.groups, strides=layer.stride)
        shape = tuple(layer(x).shape)
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape))],
        [numpy_helper.from_array(weight, "w")],
    )
    files = {"float32": folder / "float.onnx", "int8": folder / "int8.onnx"}
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, files["float32"])

    class Calibration(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.data = iter([{"x": x.numpy()}])

        def get_next(self) -> Any:
            return next(self.data, None)

    quantize_static(files["float32"], files["int8"], Calibration(), quant_format=QuantFormat.QDQ, per_channel=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    feed = {"x": x.numpy()}
    found: dict[str, Callable[[], object]] = {}
    for name, file in files.items():
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        found[f"onnxruntime {name}"] = lambda s=session: s.run(None, feed)
    return found
