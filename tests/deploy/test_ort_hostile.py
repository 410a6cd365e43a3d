"""Models that are damaged, absurd or hostile get one clear error and cannot harm the process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from bibench import _core
from bibench.kernels import native

from .operators import Node, pack, session

pytestmark = pytest.mark.skipif(not native.available(), reason="bibench was installed without its compiled module")
Changes = dict[str, Any]


def floats(*shape: int) -> np.ndarray:
    """Zeros."""
    return np.zeros(shape, np.float32)


def conv(**changes: Any) -> Node:
    """A 3×3 convolution of 16 channels; capitals and names of inputs replace inputs, the rest attributes."""
    w = torch.randn(8, 16, 3, 3)
    node = Node(
        "BinaryConv",
        {"X": np.zeros((1, 16, 6, 6), np.float32), "W": pack(w)},
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "channels": 16},
    )
    return changed(node, changes)


def linear(**changes: Any) -> Node:
    """A linear layer of 13 features."""
    w = pack(torch.randn(5, 13))
    return changed(Node("BinaryLinear", {"X": np.zeros((2, 13), np.float32), "W": w}, {"channels": 13}), changes)


def attention(**changes: Any) -> Node:
    """One head of four queries and six keys."""
    inputs = {
        "Q": np.zeros((1, 1, 4, 8), np.float32),
        "K": np.zeros((1, 1, 6, 8), np.float32),
        "V": np.zeros((1, 1, 6, 3), np.float32),
    }
    return changed(Node("BinaryAttention", inputs), changes)


def stem(**changes: Any) -> Node:
    """A float 7×7 convolution with stride 2 and pooling."""
    inputs = {"X": floats(1, 3, 20, 20), "W": torch.randn(8, 3, 7, 7).numpy()}
    attributes = {"strides": [2, 2], "pads": [3, 3, 3, 3], "pool_shape": [3, 3], "pool_strides": [2, 2]}
    return changed(Node("StemConv", inputs, {**attributes, "pool_pads": [1, 1, 1, 1]}), changes)


def changed(node: Node, changes: Changes) -> Node:
    """`node` with other inputs (arrays) and attributes; None removes."""
    for name, value in changes.items():
        target: dict[str, Any] = (
            node.inputs if isinstance(value, np.ndarray) or name in node.inputs else node.attributes
        )
        if value is None:
            target.pop(name)
        else:
            target[name] = value
    return node


PADDING_BITS = pack(torch.ones(5, 13))
PADDING_BITS[2, 1] = 1 << 5

BAD: list[tuple[Node, str]] = [
    (conv(kernel_shape=None), r"kernel_shape: expected 1 or 2 sizes, got \(\)"),
    (conv(kernel_shape=[3, 3, 3]), "kernel_shape: expected 1 or 2 sizes"),
    (conv(kernel_shape=[3, 0]), "kernel_shape: expected 2 values from 1"),
    (conv(kernel_shape=[2**31 - 1, 2**31 - 1]), "fewer than 2.24 weights"),
    (conv(kernel_shape=3), "kernel_shape: expected a list of integers, got an attribute of another type"),
    (conv(strides=[0, 1]), "strides: expected 2 values from 1"),
    (conv(strides=[1]), r"strides: expected 2 values .* got \(1\)"),
    (conv(strides=[2**62, 2**62]), "strides: expected 2 values"),
    (conv(dilations=[-1, 1]), "dilations: expected 2 values"),
    (conv(dilations=[2**31 - 1, 1]), "X: expected at least the filter's size"),
    (conv(pads=[1, 1, 1]), "pads: expected 4 values"),
    (conv(pads=[-(2**63), 1, 1, 1]), "pads: expected 4 values"),
    (conv(pads=[2**31 - 1] * 4), "sizes|words in one padded image"),
    (conv(pads=0.5), "pads: expected a list of integers"),
    (conv(pad_value=2), "pad_value: expected -1 to 1, got 2"),
    (conv(pad_value=0.5), "pad_value: expected an integer, got an attribute of another type"),
    (conv(channels=None), "channels: expected 1 to"),
    (conv(channels=-16), "channels: expected 1 to"),
    (conv(channels=17), r"W: expected shape \(C_o, 20\), 8 weights to a byte, got \(8, 18\)"),
    (conv(group=3), "group: expected a divisor of channels 16, got 3"),
    (conv(group=0), "group: expected 1 to"),
    (conv(group=16, W=pack(torch.randn(8, 1, 3, 3))), "a number of rows that group 16 divides"),
    (conv(activation="tanh"), 'activation: expected one of "", "relu", "prelu", "clip", got "tanh"'),
    (conv(activation="a" * 1000), "activation: expected a name, got 1001 characters"),
    (conv(activation=3), "activation: expected a string"),
    (conv(activation="prelu"), r"slope: expected shape \(8\) or \(1\), got nothing"),
    (conv(activation="prelu", slope=floats(7)), r"slope: expected shape \(8\) or \(1\), got \(7\)"),
    (conv(activation="clip", clip_min=2.0, clip_max=1.0), "clip_min: expected at most clip_max"),
    (conv(activation="clip", clip_min=float("nan")), "clip_min: expected at most clip_max"),
    (conv(activation_scale="token"), 'activation_scale: expected one of "", "spatial", "sample"'),
    (conv(opset=2), r"made by a newer bibench \(op version 2\); this library knows 1; upgrade"),
    (conv(opset=0), "opset: expected 1 to"),
    (conv(W=pack(torch.randn(8, 15, 3, 3))), r"W: expected shape \(C_o, 18\)"),
    (conv(W=pack(torch.randn(8, 16, 3, 3)).reshape(-1)), "W: expected shape"),
    (conv(W=np.zeros((0, 18), np.uint8)), "W: expected shape"),
    (conv(X=floats(1, 16, 6)), r"X: expected shape \(N, C, H, W\), got \(1, 16, 6\)"),
    (conv(X=floats(1, 15, 6, 6)), r"X: expected 16 channels, got \(1, 15, 6, 6\)"),
    (conv(X=floats(1, 16, 0, 6), pads=[0, 0, 0, 0]), "X: expected at least the filter's size"),
    (conv(scale=floats(7)), r"scale: expected shape \(8\), got \(7\)"),
    (conv(bias=floats(8, 1)), r"bias: expected shape \(8\), got \(8, 1\)"),
    (conv(threshold=floats(8)), r"threshold: expected shape \(16\), got \(8\)"),
    (conv(rows=floats(5)), r"rows: expected shape \(6\)"),
    (conv(columns=floats(7)), r"columns: expected shape \(6\)"),
    (conv(post_scale=floats(1)), r"post_scale: expected shape \(8\)"),
    (conv(residual=floats(1, 8, 6, 5)), r"residual: expected the output's shape \(1, 8, 6, 6\), got \(1, 8, 6, 5\)"),
    (linear(channels=12), r"W: expected zeros after the last weight|W: expected"),
    (linear(W=PADDING_BITS), "W: expected zeros after the last weight of each row, got other bits in row 2"),
    (linear(X=floats(2, 12)), r"X: expected shape \(..., 13\), got \(2, 12\)"),
    (linear(X=floats()), r"X: expected shape \(..., 13\), got \(\)"),
    (linear(residual=floats(2, 4)), "residual: expected the output's shape"),
    (linear(channels=2**40), "channels: expected 1 to"),
    (attention(strict=2), "strict: expected 0 to 1, got 2"),
    (attention(Q=floats(1, 4, 8)), r"Q: expected shape \(B, H, T, d\)"),
    (attention(Q=floats(1, 1, 4, 0), K=floats(1, 1, 6, 0)), "Q: expected d from 1"),
    (attention(K=floats(1, 1, 6, 7)), r"K: expected shape \(1, 1, S, 8\), got \(1, 1, 6, 7\)"),
    (attention(K=floats(1, 2, 6, 8)), r"K: expected shape"),
    (attention(V=floats(1, 1, 5, 3)), r"V: expected shape \(1, 1, 6, e\)"),
    (attention(mask=np.ones((4, 5), bool)), r"mask: expected a shape that broadcasts to \(1, 1, 4, 6\), got \(4, 5\)"),
    (attention(mask=np.ones((1, 1, 1, 4, 6), bool)), "mask: expected a shape that broadcasts"),
    (stem(strides=[1, 1]), r"W: expected filters of at most 4 times strides \(1, 1\), got \(8, 3, 7, 7\)"),
    (stem(strides=[0, 2]), "strides: expected 2 values from 1 to 4"),
    (stem(strides=[2**40, 2]), "strides: expected 2 values"),
    (stem(strides=2), "strides: expected a list of integers"),
    (stem(pads=[-1, 0, 0, 0]), "pads: expected 4 values from 0"),
    (stem(pads=[2**31 - 1] * 4), "X: expected fewer than 2.28 values in a padded channel"),
    (stem(kernel_shape=[7, 5]), r"kernel_shape: expected \(7, 7\) as W, got \(7, 5\)"),
    (stem(pool_shape=[17, 1]), "pool_shape: expected 2 values from 1 to 16"),
    (stem(pool_shape=[0, 3]), "pool_shape: expected 2 values from 1 to 16"),
    (stem(pool_strides=[-1, 1]), "pool_strides: expected 2 values from 1 to 16"),
    (stem(pool_pads=[1, 3, 1, 1]), r"pool_pads: expected less than pool_shape \(3, 3\), got \(1, 3, 1, 1\)"),
    (stem(pool_pads=[1, 1, 1, 2**63 - 1]), "pool_pads: expected 4 values from 0 to 15"),
    (stem(X=floats(1, 3, 1, 20), pads=[0, 3, 0, 3]), "X: expected at least the filter's size with padding"),
    (
        stem(X=floats(1, 3, 8, 8), pads=[0] * 4, pool_pads=[0] * 4),
        r"X: expected outputs of at least pool_shape, got \(1, 1\)",
    ),
    (stem(X=floats(1, 4, 20, 20)), r"X: expected 3 channels, got \(1, 4, 20, 20\)"),
    (stem(X=floats(3, 20, 20)), r"X: expected shape \(N, C, H, W\)"),
    (stem(W=floats(8, 3, 49)), r"W: expected shape \(C_o, C_i, kH, kW\), got \(8, 3, 49\)"),
    (stem(W=floats(0, 3, 7, 7)), r"W: expected shape \(C_o, C_i, kH, kW\)"),
    (stem(W=floats(1, 257, 2, 2)), r"W: expected at most 256 channels with strides \(2, 2\)"),
    (stem(bias=floats(7)), r"bias: expected shape \(8\), got \(7\)"),
    (stem(activation="prelu"), r"slope: expected shape \(8\) or \(1\), got nothing"),
    (stem(activation="clip", clip_min=2.0, clip_max=1.0), "clip_min: expected at most clip_max"),
    (stem(opset=2), r"made by a newer bibench \(op version 2\)"),
]


@pytest.mark.parametrize(("node", "message"), BAD, ids=[f"{node.op}-{i}" for i, (node, _) in enumerate(BAD)])
def test_what_is_wrong_is_said(node: Node, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        node.run()
    assert f"bibench::{node.op} 'layer'" in str(caught.value)


def test_weights_must_be_constant() -> None:
    node = conv()
    node.feeds = ("X", "W")
    with pytest.raises(Exception, match="W: expected a constant initializer"):
        node.run()


def test_wrong_types_are_refused() -> None:
    node = conv(W=np.zeros((8, 18), np.float32))
    with pytest.raises(Exception, match=r"Type Error|uint8"):
        node.run()
    with pytest.raises(Exception, match=r"Type Error|float"):
        conv(scale=np.zeros(8, np.int64)).run()


@pytest.mark.parametrize("dims", [[8, 19], [8, 2**40], [-8, 18], [2**62, 2**62]])
def test_weights_shorter_than_their_shape(dims: list[int]) -> None:
    model = conv().model()
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "W")
    del weight.dims[:]
    weight.dims.extend(dims)
    with pytest.raises(Exception):  # noqa: B017 - ONNX Runtime's own classes, in its own words
        session(model)


def test_unknown_operators_of_the_domain() -> None:
    node = helper.make_node("BinaryPool", ["X"], ["Y"], domain="bibench")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "XY"]
    graph = helper.make_graph([node], "unknown", values[:1], values[1:])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("bibench", 1)]
    with pytest.raises(Exception, match="BinaryPool"):
        session(helper.make_model(graph, opset_imports=imports, ir_version=9))


def test_truncated_files() -> None:
    data = conv().model().SerializeToString()
    for size in range(0, len(data) - 1, 29):
        with pytest.raises(Exception):  # noqa: B017 - ONNX Runtime's own classes, in its own words
            session(data[:size])


@pytest.mark.slow
def test_flipped_bytes_do_no_harm() -> None:
    """A damaged file is an error or another model; in a process of its own, which has to survive."""
    program = """
import random, sys
import numpy as np
from tests.deploy.operators import session
from tests.deploy.test_ort_hostile import conv, linear, attention, stem
random.seed(0)
refused = 0
for number in range(300):
    node = (conv, linear, attention, stem)[number % 4]()
    data = bytearray(node.model().SerializeToString())
    for _ in range(random.randint(1, 3)):
        data[random.randrange(len(data))] = random.randrange(256)
    try:
        session(bytes(data)).run(None, node.feed())
    except Exception:
        refused += 1
print("survived", refused)
"""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "survived" in done.stdout


@pytest.mark.slow
def test_instruction_sets_are_chosen_by_the_environment() -> None:
    """`BIBENCH_ISA` holds for the operators too; a name this processor does not have is an error, not a crash."""
    program = "from tests.deploy.test_ort_hostile import conv; print(conv().run().abs().sum().item() >= 0)"
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *sys.path])
    for isa, expected in (("portable", "True"), ("none", "True"), ("mmx", "BIBENCH_ISA=mmx: this processor has")):
        environment = {**os.environ, "PYTHONPATH": path, "BIBENCH_ISA": isa, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, env=environment, timeout=120
        )
        assert expected in done.stdout + done.stderr


def test_two_libraries_in_one_session(tmp_path: Path) -> None:
    copy = tmp_path / Path(_core.__file__).name
    shutil.copy(_core.__file__, copy)
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(_core.__file__)
    with pytest.raises(Exception, match="two libraries register the operators of domain 'bibench'"):
        options.register_custom_ops_library(str(copy))
