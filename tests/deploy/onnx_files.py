"""Small ONNX models, and programs that stand in for those a user would supply."""

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def convolution(
    path: Path, channels: int = 4, batch: int | str = "N", size: int | str = 16, dtype: str = "float"
) -> Path:
    """Write a model of one convolution; external weights are up to `onnx.save` afterwards."""
    kind = getattr(TensorProto, dtype.upper())
    weight = np.random.default_rng(0).standard_normal((channels, 3, 3, 3)).astype("float32")
    nodes = [helper.make_node("Conv", ["x32", "w"], ["y"], name="conv", pads=[1] * 4)]
    nodes.insert(0, helper.make_node("Cast", ["x"], ["x32"], name="cast", to=TensorProto.FLOAT))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, [batch, 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, channels, size, size])],
        [numpy_helper.from_array(weight, "w")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def script(path: Path, body: str, interpreter: str = "/bin/sh") -> Path:
    """An executable script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{interpreter}\n{body}")
    path.chmod(0o755)
    return path


LCE_OUTPUT = """\
count=16 first=41707 curr=31870 min=31722 max=41707 avg=32491.4 std=2395
count=50 first=31929 curr=31278 min=31138 max=31929 avg=31420.6 std=260
Inference timings in us: Init: 1471, First inference: 41707, Warmup (avg): 32491.4, Inference (avg): 31420.6
"""
LCE_NEWER = """\
INFO: STARTING!
INFO: count=1 curr=1530000 p5=1530000 median=1530000 p95=1530000
INFO: count=20 first=1e+06 curr=1.24e+06 min=1.2e+06 max=1.3e+06 avg=1.24e+06 std=12 p5=1e+06 median=1.23e+06 p95=2e6
INFO: Inference timings in us: Init: 1471, First inference: 41707, Warmup (avg): 1.53e+06, Inference (avg): 1.24e+06
"""
DABNN_OUTPUT = """\
Run on (4 X 1500 MHz CPU s)
-----------------------------------------------------------
Benchmark                    Time           CPU Iterations
-----------------------------------------------------------
BM_bnn_bconv_3x3_64  16996961 ns  16696788 ns  41
"""


def stand_in(path: Path, output: str) -> Path:
    """A benchmark program that prints `output`."""
    return script(path, f"cat <<'END'\n{output}END\n")


def is_root() -> bool:
    """Whether the tests run as root."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
