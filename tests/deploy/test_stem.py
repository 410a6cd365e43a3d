"""StemConv: the operator against its reference, and which convolutions the engine's pass gives to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import bibench
from bibench import deploy
from bibench.deploy import domain, operations
from bibench.deploy.graph import canonical
from bibench.deploy.parity import verify
from bibench.deploy.passes import stem
from bibench.kernels import native

from .models import stir
from .operators import Node

ISAS = native.available() or ["none"]
compiled = pytest.mark.skipif(not native.available(), reason="bibench was installed without its compiled module")


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@compiled
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_equals_the_reference(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    strides = [draw(1, 3), draw(1, 3)]
    kernel = [draw(1, 4 * s) for s in strides]
    pads = [draw(0, 4) for _ in range(4)]
    pool = [draw(1, 3), draw(1, 3)] if data.draw(st.booleans()) else [1, 1]
    size = [
        max(k + (p - 1) * s - low - high, 1) + draw(0, 40)
        for k, p, s, low, high in zip(kernel, pool, strides, pads[:2], pads[2:], strict=True)
    ]
    channels, outputs = draw(1, 4), draw(1, 70)
    attributes: dict[str, Any] = {"strides": strides, "pads": pads, "pool_shape": pool}
    attributes["pool_strides"] = [draw(1, 3), draw(1, 3)] if pool != [1, 1] else [1, 1]
    attributes["pool_pads"] = [draw(0, p - 1) for p in pool * 2]
    attributes["activation"] = data.draw(st.sampled_from(["", "relu", "prelu", "clip"]))
    if attributes["activation"] == "clip":
        attributes |= {"clip_min": -1.0, "clip_max": 1.5}
    x, w = normal(1, draw(0, 2), channels, *size), normal(2, outputs, channels, *kernel)
    bias = normal(3, outputs) if data.draw(st.booleans()) else None
    slope = normal(4, data.draw(st.sampled_from([1, outputs]))) if attributes["activation"] == "prelu" else None
    given_ = {"X": x, "W": w, "bias": bias, "slope": slope}
    node = Node("StemConv", {k: v.numpy() for k, v in given_.items() if v is not None}, attributes)
    with native.using(data.draw(st.sampled_from(ISAS))):
        got = node.run(data.draw(st.sampled_from([1, 2]))).double()
    rest = [None if v is None else v.double() for v in (bias, slope)]
    wanted = operations.stem_conv(x.double(), w.double(), *rest, **attributes)
    assert got.shape == wanted.shape
    # All pixels of a tile round into each of its outputs, those under the filter or not: their largest counts.
    largest = float(x.abs().max() * w.abs().sum((1, 2, 3)).max()) if x.numel() else 0.0
    steepest = 1.0 if slope is None else max(1.0, float(slope.abs().max()))
    assert torch.allclose(got, wanted, rtol=0, atol=3e-6 * steepest * max(1.0, largest))


@compiled
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (5, 2), (3, 1)])
def test_error_of_usual_stems(isa: str, kernel: int, stride: int) -> None:
    """Within the figure that docs/deployment.md states, a few times that of a direct sum of floats."""
    x, w = normal(1, 1, 3, 96, 96), normal(2, 64, 3, kernel, kernel) * (2 / (3 * kernel**2)) ** 0.5
    geometry: dict[str, Any] = {"strides": [stride] * 2, "pads": [kernel // 2] * 4}
    with native.using(isa):
        got = Node("StemConv", {"X": x.numpy(), "W": w.numpy()}, geometry).run()
    exact = operations.stem_conv(x.double(), w.double(), **geometry)
    assert float((got - exact).abs().max() / exact.abs().max()) < 1.5e-6


@compiled
def test_bands_meet_where_images_are_cut_for_threads() -> None:
    """The same numbers for the whole and for its rows, which lie in other tiles, but for rounding."""
    x, w = normal(1, 1, 3, 131, 59), normal(2, 17, 3, 7, 7)
    node = Node("StemConv", {"X": x.numpy(), "W": w.numpy()}, {"strides": [2, 2], "pads": [3, 3, 3, 3]})
    many = Node("StemConv", {"X": x.repeat(9, 1, 1, 1).numpy(), "W": w.numpy()}, node.attributes)
    one = node.run()
    for image in many.run(2):  # nine images are not cut
        assert torch.allclose(image, one[0], rtol=0, atol=2e-5)


class Net(nn.Module):
    """A stem and a 1-bit layer."""

    def __init__(self, stem: nn.Module, width: int = 32) -> None:
        super().__init__()
        self.stem = stem
        self.layer = nn.Conv2d(width, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(self.stem(x))
        return y


def net(*stem: nn.Module, width: int = 32, size: tuple[int, ...] = (3, 64, 64)) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model, x = Net(nn.Sequential(*stem), width), torch.randn(3, *size)
    bibench.binarize(model, {"layer": "bnn"}, example_inputs=x, keep=())
    return stir(model), x


def folded(model: nn.Module, x: Tensor) -> list[str]:
    """Kinds of the nodes after the pass."""
    graph = canonical(model, x)
    stem.fold(graph.model)
    return [node.op_type for node in graph.model.graph]


CONV: dict[str, Any] = {"kernel_size": 7, "stride": 2, "padding": 3}


@pytest.mark.slow
class TestPass:
    @pytest.mark.parametrize(
        "then",
        [
            (),
            (nn.Hardtanh(),),
            (nn.BatchNorm2d(32), nn.ReLU()),
            (nn.PReLU(32),),
            (nn.MaxPool2d(3, 2, 1),),
            (nn.BatchNorm2d(32), nn.Hardtanh(), nn.MaxPool2d(3, 2, 1)),
            (nn.LeakyReLU(0.1), nn.MaxPool2d(2)),
        ],
        ids=str,
    )
    @pytest.mark.slow_but("()")
    def test_takes_what_follows(self, then: tuple[nn.Module, ...], tmp_path: Path) -> None:
        model, x = net(nn.Conv2d(3, 32, **CONV), *then)
        assert folded(model, x) == ["StemConv", "BinaryConv"]
        if native.available():
            made = bibench.export(model, tmp_path / "a.onnx", x)
            assert "Winograd" in " ".join(made.notes)
            assert list(made.layers) == ["layer"]
            assert verify(tmp_path / "a.onnx", model, x).equal

    @pytest.mark.parametrize(
        "conv",
        [
            nn.Conv2d(3, 32, 3, 2, 1),  # too few products are saved
            nn.Conv2d(3, 64, 3, 1, 1),
            nn.Conv2d(3, 32, 9, 2, 4),  # five taps
            nn.Conv2d(3, 31, **CONV),
            nn.Conv2d(8, 32, **CONV),
            nn.Conv2d(1, 32, **CONV),
            nn.Conv2d(3, 48, groups=3, **CONV),
            nn.Conv2d(3, 32, 7, 2, 6, dilation=2),
            nn.Conv2d(3, 32, 7, (1, 2), 3),
            nn.Conv2d(3, 32, 7, 2, 0),  # 29 × 29
        ],
        ids=str,
    )
    @pytest.mark.slow
    def test_leaves_others_alone(self, conv: nn.Conv2d) -> None:
        model, x = net(conv, width=conv.out_channels, size=(conv.in_channels, 64, 64))
        assert folded(model, x)[0] == "Conv"

    @pytest.mark.parametrize(("kernel", "stride", "width"), [(5, 2, 32), (8, 2, 33), (3, 1, 128), (4, 1, 130)])
    @pytest.mark.slow
    def test_other_sizes(self, kernel: int, stride: int, width: int) -> None:
        model, x = net(nn.Conv2d(4, width, kernel, stride, kernel // 2), width=width, size=(4, 64, 64))
        assert folded(model, x) == ["StemConv", "BinaryConv"]

    def test_pooling_that_the_operator_does_not_have(self) -> None:
        model, x = net(nn.Conv2d(3, 32, **CONV), nn.MaxPool2d(3, 2, ceil_mode=True))
        assert folded(model, x) == ["StemConv", "MaxPool", "BinaryConv"]
        model, x = net(nn.Conv2d(3, 32, **CONV), nn.MaxPool2d(2, dilation=2))
        assert folded(model, x) == ["StemConv", "MaxPool", "BinaryConv"]

    def test_outputs_that_are_used_elsewhere(self) -> None:
        class Twice(Net):
            def forward(self, x: Tensor) -> Any:
                y = self.stem(x)
                return self.layer(nn.functional.max_pool2d(y.clamp(-1, 1), 2)), y

        model, x = Twice(nn.Conv2d(3, 32, **CONV)), torch.randn(3, 3, 64, 64)
        bibench.binarize(model, {"layer": "bnn"}, example_inputs=x, keep=())
        assert folded(model.eval(), x) == ["StemConv", "Clip", "MaxPool", "BinaryConv"]

    @compiled
    def test_full_precision_models(self, tmp_path: Path) -> None:
        """Without any 1-bit operator the file must name the domain, too."""
        torch.manual_seed(0)
        model, x = nn.Sequential(nn.Conv2d(4, 32, 5, 2, 2), nn.ReLU()).eval(), torch.randn(2, 4, 64, 64)
        bibench.export(model, tmp_path / "a.onnx", x)
        with torch.no_grad():
            wanted = model(x).numpy()
        np.testing.assert_allclose(deploy.load(tmp_path / "a.onnx")(x)[0], wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("engine", "winograd"), [("bibench", True), ("bibench", False), ("onnxruntime", True)])
@pytest.mark.slow
def test_who_gets_it(engine: str, winograd: bool, tmp_path: Path) -> None:
    model, x = net(nn.Conv2d(3, 32, **CONV))
    made = bibench.export(model, tmp_path / "a.onnx", x, engine=engine, winograd=winograd)
    kinds = [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node]
    assert (domain.STEM in kinds) == (engine == "bibench" and winograd)
    assert any("Winograd" in note for note in made.notes) == (domain.STEM in kinds)
