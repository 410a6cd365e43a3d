"""ONNX Runtime in 8 bits, by its static quantizer: the baseline between full precision and 1 bit."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bibench.deploy import onnx_file
from bibench.deploy.engine import Array, Calibration, engine
from bibench.deploy.engines.onnxruntime import OnnxRuntime
from bibench.deploy.graph import Canonical
from bibench.deploy.statement import Stated
from bibench.foundation.errors import BiBenchError, require


@engine("onnxruntime_int8")
class OnnxRuntimeInt8(OnnxRuntime):
    """Weights per channel in signed, activations in unsigned 8 bits (QDQ form), ranges by calibration data.

    Unsigned, because that is what the kernels for x86 take: ONNX Runtime rewrites signed activations on load, but not
    those that two nodes read, and then computes every convolution behind them in float32.
    """

    title = "ONNX Runtime (int8)"
    needs_calibration = True
    exact = False

    def refusal(self, layer: Stated) -> str:
        return "already 1-bit: the int8 baseline is that of the full-precision model"

    def convert(self, canonical: Canonical, calibration: Calibration | None = None) -> bytes:
        require("onnxruntime", extra="deploy", purpose="quantizing models")
        from onnxruntime import quantization  # type: ignore[import-untyped, unused-ignore]
        from onnxruntime.quantization.shape_inference import (  # type: ignore[import-untyped, unused-ignore]
            quant_pre_process,
        )

        names = [value.name or "" for value in canonical.model.graph.inputs]
        with tempfile.TemporaryDirectory(prefix="bibench-") as folder:
            source, prepared, target = (Path(folder, name) for name in ("float.onnx", "prepared.onnx", "int8.onnx"))
            source.write_bytes(onnx_file.serialize(canonical.model))
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            with _without_remarks():
                quantization.quantize_static(
                    str(prepared),
                    str(target),
                    Reader(names, calibration or ()),
                    quant_format=quantization.QuantFormat.QDQ,
                    per_channel=True,
                    weight_type=quantization.QuantType.QInt8,
                    activation_type=quantization.QuantType.QUInt8,
                    op_types_to_quantize=quantized_kinds({node.op_type for node in canonical.model.graph}),
                )
            return target.read_bytes()


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Without the quantizer's warning of every norm, whose weights have no channels beside others."""

    def other(record: logging.LogRecord) -> bool:
        return "is out-of-range for weight" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(other)
    try:
        yield
    finally:
        root.removeFilter(other)


PRODUCTS = ["Conv", "Gemm", "MatMul"]
SENSITIVE = {"LayerNormalization", "Softmax"}


def quantized_kinds(kinds: set[str]) -> list[str] | None:
    """Of a graph's nodes those that get 8 bits; None: all that ONNX Runtime can quantize.

    Convolutional networks gain when sums, clips and pooling stay in 8 bits between convolutions. In transformers that
    gains next to nothing and costs accuracy (masks, softmax and the sums before norms have long tails): products only.
    """
    return PRODUCTS if kinds & SENSITIVE else None


class Reader:
    """Batches of inputs as ONNX Runtime's quantizer reads them: one dictionary each, then None."""

    def __init__(self, names: Sequence[str], batches: Calibration) -> None:
        self._feeds = self._named(names, batches)
        self.count = 0

    def _named(self, names: Sequence[str], batches: Calibration) -> Iterator[dict[str, Array]]:
        for batch in batches:
            if len(batch) != len(names):
                raise BiBenchError(f"calibration: the model has {len(names)} inputs, a batch has {len(batch)}")
            self.count += 1
            yield {name: np.asarray(array) for name, array in zip(names, batch, strict=True)}
        if not self.count:
            raise BiBenchError("calibration holds no batch: give a few of the model's inputs")

    def get_next(self) -> dict[str, Any] | None:
        """The next batch."""
        return next(self._feeds, None)
