"""Larq Compute Engine: every layer that it can run computes what was trained, every other one is refused why."""

import copy
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bibench
from bibench.deploy import Deployed, manifest
from bibench.deploy.engines.bibench import BiBench as Bibench
from bibench.deploy.engines.larq import Larq
from bibench.deploy.parity import verify
from bibench.deploy.tflite import file
from bibench.deploy.tflite.graph import BCONV, QUANTIZE, Graph
from bibench.deploy.tflite.interpreter import VARIABLE, Kernel, missing
from bibench.foundation.errors import BiBenchError, MissingLibraryError, StoreError, UnsupportedError
from bibench.kernels.spec import LayerSpec
from bibench.operators import known_operators
from bibench.operators.base import channel_mean_abs

from ..models import Around, binary, stir
from ..test_layers import LAYERS

RUNS = [name for name in known_operators() if name not in ("fp32", "xnor", "xnorpp")]
runs_here = pytest.mark.skipif(bool(missing()), reason=f"no Larq Compute Engine: {missing()[:60]}")


class Block(nn.Module):
    """A binarized convolution, with or without scale, its norm and a shortcut where shapes allow."""

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = stride == 1 and channels == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.conv(x))
        return y + x if self.shortcut else y


class Grid(nn.Module):
    """The blocks of all strides and borders, side by side."""

    def __init__(self, operator: str | type[bibench.Operator], **options: object) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for stride, pad_value in itertools.product((1, 2), (0, 1, -1)):
            for channels, size in ((64, 8), (33, 7)):
                block = Block(channels, channels * stride, stride)
                x = torch.randn(1, channels, size, size)
                bibench.binarize(block, operator, example_inputs=x, keep=(), pad_value=pad_value, **options)
                self.blocks.append(block)

    def forward(self, even: torch.Tensor, odd: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(block((even, odd)[i % 2]) for i, block in enumerate(self.blocks))


def exported(model: Grid, path: Path) -> Graph:
    """The file of a grid, after it was verified: products are the same integers, and floats agree to rounding."""
    stir(model)
    for name, parameter in model.named_parameters():
        if ".operator." in name and parameter.dim() <= 3:
            nn.init.normal_(parameter)
    x = torch.randn(2, 64, 8, 8), torch.randn(2, 33, 7, 7)
    for one in x:
        one.view(-1)[::7], one.view(-1)[1::7] = 0.0, -0.0
    bibench.export(model, path, x, "larq")
    report = verify(path, model, x)
    assert {layer.product_difference for layer in report.layers} == {0.0}
    assert len(report.layers) == 12
    assert report.flips == 0
    assert report.equal, report.summary()
    with torch.no_grad():
        expected = model(*x)
    graph = file.read(path.read_bytes(), "")
    scales = [op.inputs[2] for op in graph.operators if op.code == BCONV]
    for trained, found, scale in zip(expected, Deployed(path)(*x), scales, strict=True):
        factor = float(np.abs(graph.tensors[scale].data).max())  # type: ignore[arg-type]
        fan_in = 9 * (64 if len(trained[0]) % 64 == 0 else 33)
        assert np.abs(trained.numpy() - found).max() <= 4 * 6e-8 * fan_in * max(factor, 1)
    return graph


@runs_here
@pytest.mark.parametrize("operator", RUNS)
def test_strides_and_borders_of_each_operator(operator: str, tmp_path: Path) -> None:
    """Stride 1 and 2, borders 0, 1 and -1; bnn has no scale, the others have one."""
    torch.manual_seed(0)
    graph = exported(Grid(operator), tmp_path / "model.tflite")
    codes = [op.code for op in graph.operators]
    assert codes.count(BCONV) == 12
    if operator != "reactnet":  # each layer has its own thresholds
        assert codes.count(QUANTIZE) < 12  # shared where two layers take the same signs


class Scaled(bibench.Operator):
    """Signs, with a factor per output channel or without."""

    def __init__(self, spec: LayerSpec, *, profile: str = "default", alpha: bool = True) -> None:
        super().__init__(spec, profile=profile)
        self.alpha = alpha

    def scale(self, w: torch.Tensor) -> torch.Tensor | None:
        return channel_mean_abs(w) if self.alpha else None


@runs_here
@pytest.mark.parametrize("alpha", [True, False])
def test_strides_and_borders_with_and_without_a_scaling_factor(alpha: bool, tmp_path: Path) -> None:
    """The same operator; the factor is in the constants of the 1-bit convolution, together with the norm's."""
    torch.manual_seed(0)
    model = Grid(Scaled, alpha=alpha)
    graph = exported(model, tmp_path / "model.tflite")
    scales = [graph.tensors[op.inputs[2]].data for op in graph.operators if op.code == BCONV]
    for block, scale in zip(model.blocks, scales, strict=True):
        norm, weight = block.norm, block.conv.weight
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        wanted = factor * weight.abs().mean((1, 2, 3)) if alpha else factor
        np.testing.assert_allclose(scale, wanted.detach().numpy(), rtol=1e-5)


class Kinds(nn.Module):
    """Layers side by side, each with an input of its own."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(x) for layer, x in zip(self.layers, inputs, strict=True))


@runs_here
@pytest.mark.parametrize("operator", ["bireal", "reactnet"])
def test_all_kinds_of_layers(operator: str, tmp_path: Path) -> None:
    """In one file, so that its engine starts once; grouped convolutions are refused one by one."""
    torch.manual_seed(0)
    runs: dict[str, tuple[nn.Module, torch.Tensor]] = {}
    for kind, (layer, shape) in LAYERS.items():
        x = torch.randn(3, *shape)
        model = Around(copy.deepcopy(layer), nn.PReLU())
        bibench.binarize(model, operator, example_inputs=x, keep=())
        if getattr(layer, "groups", 1) == 1:
            runs[kind] = model.eval(), x
            continue
        with pytest.raises(UnsupportedError, match="layer: a grouped convolution"):
            bibench.export(model.eval(), tmp_path / "model.tflite", x, "larq")
    models, inputs = zip(*runs.values(), strict=True)
    together = Kinds(list(models)).eval()
    bibench.export(together, tmp_path / "model.tflite", inputs, "larq")
    report = verify(tmp_path / "model.tflite", together, inputs)
    assert {layer.layer: layer.product_difference for layer in report.layers} == {
        f"layers.{number}.layer": 0 for number in range(len(runs))
    }
    assert report.equal, report.summary()


@runs_here
@pytest.mark.parametrize("name", ["resnet18", "vgg_small", "pointnet", "ssd300", "faster_rcnn"])
def test_whole_models(name: str, tmp_path: Path) -> None:
    model, x = binary(name, "reactnet")
    made = bibench.export(model, tmp_path / name, x, "larq")
    path = tmp_path / f"{name}.tflite"
    report = verify(path, model, x)
    assert report.equal, report.summary()
    terms = [layer.weight[0].numel() for _, layer in bibench.binary_layers(model)]
    assert report.rounding == max(1e-5, 3 * 2**-24 * sum(terms) ** 0.5) < 3e-5
    graph = file.read(path.read_bytes(), "")
    assert [op.code for op in graph.operators].count(BCONV) == len(made.layers) == len(report.layers)
    assert any("batch is 1" in note for note in made.notes)
    assert file.write(graph) == path.read_bytes()


@runs_here
@pytest.mark.parametrize("kernel", ["optimized", "indirect", "reference"])
@pytest.mark.parametrize("xnnpack", [True, False])
def test_all_kernels_agree(kernel: Kernel, xnnpack: bool, tmp_path: Path) -> None:
    model, x = binary("vgg_small", "bireal")
    bibench.export(model, tmp_path / "m.tflite", x, "larq")
    engine = Larq(kernel, xnnpack)
    loaded = engine.load(tmp_path / "m.tflite", threads=2)
    with torch.no_grad():
        np.testing.assert_allclose(engine.run(loaded, [x.numpy()])[0], model(x).numpy(), atol=1e-5)


def test_rounding_grows_with_the_root_of_what_is_summed() -> None:
    assert Larq().rounding([]) == Larq().rounding([9, 9]) == 1e-5
    assert Larq().rounding([4608] * 16) == 2 * Larq().rounding([1152] * 16) == pytest.approx(4.86e-5, rel=1e-2)
    assert Bibench().rounding([4608] * 16) == 1e-5


@pytest.mark.slow
def test_files_are_small(tmp_path: Path) -> None:
    sizes = {}
    for operator in ("bireal", "fp32"):
        torch.manual_seed(0)
        model = nn.Sequential(*(nn.Conv2d(256, 256, 3, padding=1, bias=False) for _ in range(3)))
        x = torch.randn(1, 256, 4, 4)
        bibench.binarize(model, operator, example_inputs=x, keep=())
        sizes[operator] = bibench.export(model.eval(), tmp_path / f"{operator}.tflite", x, "larq").bytes
    assert sizes["fp32"] / sizes["bireal"] > 28


def test_layers_that_do_not_run_are_refused_with_the_reason() -> None:
    model, _ = binary("resnet20", "xnor")
    obstacles = Larq().supports(model)
    assert len(obstacles) == 18
    assert {o.reason for o in obstacles} == {
        "an activation scale computed at run time; the 1-bit convolution has constants per channel alone"
    }
    spatial, _ = binary("resnet20", "xnorpp")
    assert "along the axes of the map" in Larq().supports(spatial)[0].reason
    bert, _ = binary("bert", "bnn")
    assert {o.reason.split(" ")[2] for o in Larq().supports(bert)} == {"multiplies", "looks"}


def test_unknown_nodes_are_named(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cumsum(torch.sin(x), 1)

    with pytest.raises(UnsupportedError, match=r"ONNX operators CumSum, Sin \(such as node"):
        bibench.export(Odd().eval(), tmp_path / "m", torch.randn(2, 3), "larq")
    assert not list(tmp_path.iterdir())


def test_without_its_python_the_fix_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = binary("vgg_small", "bnn")
    bibench.export(model, tmp_path / "m", x, "larq")  # writing needs no interpreter
    for value in ("", str(tmp_path / "nothing"), "/bin/false"):
        monkeypatch.setenv(VARIABLE, value)
        if not value and not missing():
            continue
        with pytest.raises(MissingLibraryError, match="pip install 'numpy<2' larq-compute-engine"):
            Deployed(tmp_path / "m.tflite")


@runs_here
def test_damage_is_refused_before_the_interpreter_sees_it(tmp_path: Path) -> None:
    model, x = binary("vgg_small", "bnn")
    path = tmp_path / "m.tflite"
    bibench.export(model, path, x, "larq")
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(StoreError, match="truncated or was changed"):
        Deployed(path)
    manifest.path_of(path).unlink()
    for damaged in (b"", b"nothing", content[:64], content[: len(content) // 2], b"\xff" * 500):
        path.write_bytes(damaged)
        with pytest.raises(BiBenchError, match="not a TensorFlow Lite file"):
            Larq().load(path)


@runs_here
def test_wrong_inputs_are_refused(tmp_path: Path) -> None:
    model, x = binary("vgg_small", "bnn")
    bibench.export(model, tmp_path / "m", x, "larq")
    deployed = Deployed(tmp_path / "m.tflite")
    with pytest.raises(BiBenchError, match=r"input 'x' must be \(batch, 3, 16, 16\) float32"):
        deployed(x[:, :, :8])
    assert deployed(x)[0].shape == (4, 4)  # it goes on


@runs_here
def test_a_wrong_weight_is_seen(tmp_path: Path) -> None:
    model, x = binary("vgg_small", "bnn")
    bibench.export(model, tmp_path / "m", x, "larq")
    layer = next(m for _, m in bibench.binary_layers(model))
    with torch.no_grad():
        layer.weight[0] *= -1
    assert not verify(tmp_path / "m.tflite", model, x).equal


@runs_here
def test_a_norm_alone_between_two_layers(tmp_path: Path) -> None:
    """It becomes part of the layer before, whose output is then what the next one sees."""
    torch.manual_seed(0)
    chain = [nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 2, 1)]
    model, x = nn.Sequential(*chain), torch.randn(2, 3, 12, 12)
    bibench.binarize(model, "bnn", example_inputs=x)
    bibench.export(model.eval(), tmp_path / "m.tflite", x, "larq")
    assert verify(tmp_path / "m.tflite", model, x).equal
