"""The operators in ONNX Runtime against their definitions: dot products exactly, the rest to rounding."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bibench import _core
from bibench.kernels import native

from .operators import Node, activation_scale, convolution, finish, pack, session, sign

ISAS = native.available()
pytestmark = pytest.mark.skipif(not ISAS, reason="bibench was installed without its compiled module")


def normal(seed: int, *shape: int) -> Tensor:
    """Standard normal values, some of them zero."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator)
    return torch.where(torch.rand(shape, generator=generator) < 0.1, torch.zeros(()), x)


@st.composite
def convolutions(draw: Any) -> tuple[Node, Tensor, Tensor]:
    """A random BinaryConv with its input and weight."""

    def size(low: int, high: int) -> int:
        return int(draw(st.integers(low, high)))

    axes = size(1, 2)
    kind = draw(st.sampled_from(["plain", "plain", "groups", "depthwise"]))
    groups = 1 if kind == "plain" else size(1, 40) if kind == "depthwise" else size(2, 3)
    channels = groups * (size(1, 80) if kind == "plain" else 1 if kind == "depthwise" else size(1, 40))
    out = groups * (1 if kind == "depthwise" else size(1, 40))
    kernel = [size(1, 4) for _ in range(axes)]
    a: dict[str, Any] = {"kernel_shape": kernel, "channels": channels, "group": groups}
    a["strides"] = [size(1, 2) for _ in range(axes)]
    a["dilations"] = [size(1, 2) for _ in range(axes)]
    a["pads"] = [size(0, 3) for _ in range(2 * axes)]
    a["pad_value"] = size(-1, 1)
    spatial = [
        max(1, (k - 1) * d + 1 - a["pads"][i] - a["pads"][i + axes]) + size(0, 12)
        for i, (k, d) in enumerate(zip(kernel, a["dilations"], strict=True))
    ]
    seed = size(0, 2**31)
    x = normal(seed, size(0, 4), channels, *spatial)
    w = normal(seed + 1, out, channels // groups, *kernel)
    return Node("BinaryConv", {"X": x.numpy(), "W": pack(w)}, a), x, w


@settings(max_examples=150, deadline=None)
@given(convolutions(), st.sampled_from(ISAS), st.sampled_from([1, 2]), st.booleans())
def test_dot_products_of_convolutions_are_exact(
    drawn: tuple[Node, Tensor, Tensor], isa: str, threads: int, shifted: bool
) -> None:
    node, x, w = drawn
    threshold = normal(5, x.shape[1]) if shifted else None
    if threshold is not None:
        node.inputs["threshold"] = threshold.numpy()
    with native.using(isa):
        got = node.run(threads)
    assert torch.equal(got.double(), convolution(x, w, threshold, node.attributes))


@settings(max_examples=150, deadline=None)
@given(convolutions(), st.data(), st.sampled_from(ISAS))
def test_what_follows_convolutions(drawn: tuple[Node, Tensor, Tensor], data: st.DataObject, isa: str) -> None:
    node, x, w = drawn
    dots = convolution(x, w, None, node.attributes)
    sizes: dict[str, tuple[int, ...]] = {
        "scale": (w.shape[0],),
        "bias": (w.shape[0],),
        "columns": (dots.shape[-1],),
        "post_scale": (w.shape[0],),
        "residual": tuple(dots.shape),
    }
    if w.dim() == 4:
        sizes["rows"] = (dots.shape[2],)
    for seed, (name, shape) in enumerate(sizes.items()):
        if data.draw(st.booleans(), label=name):
            node.inputs[name] = normal(seed, *shape).numpy()
    a = node.attributes
    a["activation_scale"] = data.draw(st.sampled_from(["", "spatial", "sample"]))
    a["activation"] = data.draw(st.sampled_from(["", "relu", "prelu", "clip"]))
    if a["activation"] == "prelu":
        node.inputs["slope"] = normal(9, data.draw(st.sampled_from([1, w.shape[0]]))).numpy()
    if a["activation"] == "clip":
        a["clip_min"], a["clip_max"] = -1.5, 2.0
    k = activation_scale(x, w, a) if a["activation_scale"] else None
    wanted = finish(dots, node.inputs, a, k, channel_axis=1)
    with native.using(isa):
        got = node.run()
    assert torch.allclose(
        got.double(), wanted, rtol=1e-5, atol=1e-5 * max(1.0, float(dots.abs().max() if dots.numel() else 1))
    )


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=0, max_size=3),
    st.integers(1, 150),
    st.integers(1, 80),
    st.sampled_from(["", "token", "sample"]),
    st.booleans(),
    st.sampled_from(ISAS),
)
def test_linear(batch: list[int], inputs: int, outputs: int, scaled: str, more: bool, isa: str) -> None:
    x, w = normal(1, *batch, inputs), normal(2, outputs, inputs)
    node = Node("BinaryLinear", {"X": x.numpy(), "W": pack(w)}, {"channels": inputs, "activation_scale": scaled})
    threshold = torch.zeros(())
    if more:
        threshold = normal(3, inputs)
        node.inputs["threshold"] = threshold.numpy()
        for seed, name in enumerate(("scale", "bias", "post_scale", "slope")):
            node.inputs[name] = normal(seed, outputs).numpy()
        node.inputs["residual"] = normal(8, *batch, outputs).numpy()
        node.attributes["activation"] = "prelu"
    dots = sign(x - threshold).double() @ sign(w).double().T
    k = None
    if scaled == "token":
        k = x.abs().double().mean(-1, keepdim=True)
    if scaled == "sample":
        k = x.abs().double().mean(tuple(range(1, x.dim())) if x.dim() > 1 else 0, keepdim=True)
    with native.using(isa):
        got = node.run(2).double()
    assert got.shape == dots.shape
    if not more and not scaled:
        assert torch.equal(got, dots)
    wanted = finish(dots, node.inputs, node.attributes, k, channel_axis=-1)
    assert torch.allclose(got, wanted, rtol=1e-5, atol=1e-4)


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 40), st.integers(1, 70)),
    st.integers(0, 40),
    st.integers(0, 40),
    st.booleans(),
    st.sampled_from([None, (0, 1, 2, 3), (0, 3), (2, 3), (3,), ()]),
    st.sampled_from(ISAS),
    st.sampled_from([1, 2]),
)
def test_attention_is_exact(
    shape: tuple[int, int, int, int],
    length: int,
    width: int,
    strict: bool,
    masked: tuple[int, ...] | None,
    isa: str,
    threads: int,
) -> None:
    batch, heads, rows, depth = shape
    q, k, v = (
        normal(1, *shape),
        normal(2, batch, heads, length, depth),
        normal(3, batch, heads, length, width),
    )
    node = Node("BinaryAttention", {"Q": q.numpy(), "K": k.numpy(), "V": v.numpy()}, {"strict": int(strict)})
    scores = sign(q).double() @ sign(k).double().transpose(-1, -2) / math.sqrt(depth)
    weights = scores > 0 if strict else scores >= 0
    if masked is not None:
        full = (batch, heads, rows, length)
        mask = normal(4, *(full[i] if i in masked else 1 for i in range(4))) > 0
        if masked == (2, 3):  # fewer axes broadcast as well
            mask = mask[0, 0]
        node.inputs["mask"] = mask.numpy()
        weights = weights & mask
    with native.using(isa):
        got = node.run(threads)
    assert torch.equal(got.double(), weights.double() @ sign(v).double())


def test_attention_on_many_rows() -> None:
    """More than one unit for a head: scores are made piece by piece."""
    q, k, v = normal(1, 1, 2, 70, 64), normal(2, 1, 2, 9000, 64), normal(3, 1, 2, 9000, 64)
    node = Node("BinaryAttention", {"Q": q.numpy(), "K": k.numpy(), "V": v.numpy()})
    weights = (sign(q) @ sign(k).transpose(-1, -2) >= 0).double()
    assert torch.equal(node.run(2).double(), weights @ sign(v).double())


def layer(channels: int = 64, size: int = 28, batch: int = 2) -> tuple[Node, Tensor]:
    """A usual layer and its output."""
    x, w = normal(1, batch, channels, size, size), normal(2, channels, channels, 3, 3)
    a = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "channels": channels}
    return Node("BinaryConv", {"X": x.numpy(), "W": pack(w)}, a), convolution(x, w, None, a)


def test_nan_and_infinity_have_signs() -> None:
    node, _ = layer(channels=8, size=6)
    x = torch.from_numpy(node.inputs["X"])
    x.view(-1)[:3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    signs = sign(x)
    assert signs.view(-1)[:3].tolist() == [-1, 1, -1]
    with_nan = node.run()
    node.inputs["X"] = signs.numpy()
    assert torch.equal(with_nan, node.run())


def test_thresholds_may_be_infinite() -> None:
    """A channel that is always -1, or always +1, whatever finite value comes."""
    x = torch.tensor([[3.4e38, -3.4e38, 1.0]])
    node = Node("BinaryLinear", {"X": x.numpy(), "W": pack(torch.eye(3) - 0.5)}, {"channels": 3})
    node.inputs["threshold"] = np.array([np.inf, -np.inf, 1.0], dtype=np.float32)
    signs = torch.tensor([[-1.0, 1.0, 1.0]])
    assert torch.equal(node.run(), signs @ sign(torch.eye(3) - 0.5).T)


def test_sizes_may_change_from_run_to_run() -> None:
    node, _ = layer()
    live = session(node.model())
    weights = normal(2, 64, 64, 3, 3)
    for seed, (batch, size) in enumerate([(1, 28), (3, 7), (0, 7), (1, 56), (2, 28), (1, 1)]):
        x = normal(seed, batch, 64, size, size)
        got = torch.from_numpy(live.run(None, {"X": x.numpy()})[0])
        assert torch.equal(got.double(), convolution(x, weights, None, node.attributes))


@pytest.mark.parametrize("threads", [1, 2])
def test_one_session_serves_callers_at_once(threads: int) -> None:
    node, _ = layer(size=20)
    live, weights = session(node.model(), threads), normal(2, 64, 64, 3, 3)
    inputs = [normal(i, 1 + i % 3, 64, 9 + i % 5, 20) for i in range(12)]

    def call(i: int) -> bool:
        x = inputs[i % len(inputs)]
        got = torch.from_numpy(live.run(None, {"X": x.numpy()})[0])
        return torch.equal(got.double(), convolution(x, weights, None, node.attributes))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(60)))


def test_the_library_may_be_registered_twice() -> None:
    node, wanted = layer()
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(_core.__file__)
    options.register_custom_ops_library(_core.__file__)
    live = onnxruntime.InferenceSession(node.model().SerializeToString(), options, providers=["CPUExecutionProvider"])
    assert torch.equal(torch.from_numpy(live.run(None, node.feed())[0]).double(), wanted)
