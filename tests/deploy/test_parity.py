"""What `verify` proves of examples in which a sign flipped: nothing else may differ."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import bibench
from bibench.deploy import ENGINES
from bibench.deploy.parity import verify
from bibench.foundation.errors import BiBenchError, ProofError

ENGINE = "onnxruntime" if ENGINES["bibench"]().available() else "bibench"
TINY = 1e-8


class Chain(nn.Module):
    """Two 1-bit layers and a float one; the first value that each layer takes the sign of is `TINY`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8, bias=False)
        self.second = nn.Linear(8, 8)
        self.last = nn.Linear(8, 3)
        self.nudge = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        one = torch.zeros(8)
        one[0] = 1.0
        hidden = self.first(x + self.nudge[0] * one) * (1 - one) + (TINY + self.nudge[1]) * one
        y: Tensor = self.last(self.second(hidden))
        return y


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Chain, Tensor, Path]:
    """A model, inputs and its file."""
    torch.manual_seed(0)
    x = torch.randn(4, 8)
    x[:, 0] = TINY
    model = Chain()
    bibench.binarize(model, "bnn", example_inputs=x, keep=("last",))
    path = tmp_path / "model.onnx"
    bibench.export(model.eval(), path, x, ENGINE)
    return model, x, path


def _flip(model: Chain) -> None:
    with torch.no_grad():
        model.nudge -= 2 * TINY


def test_flips_of_all_examples_are_explained(exported: tuple[Chain, Tensor, Path]) -> None:
    """Each layer flips by itself: its flips do not follow from those before."""
    model, x, path = exported
    assert verify(path, model, x).followed_difference is None
    _flip(model)
    report = verify(path, model, x)
    assert report.unflipped == 0
    assert report.max_difference > 1e-3
    assert [layer.origins for layer in report.layers] == [4, 4]
    assert report.layers[0].flips == 4
    assert all(0 < layer.margin < 1e-7 for layer in report.layers)
    assert report.followed_difference is not None
    assert report.followed_difference < 1e-6
    assert report.equal
    assert "given the same signs" in report.summary()


def _another_classifier(model: Chain) -> None:
    model.last.bias[0] += 0.1


def _another_value_between(model: Chain) -> None:
    model.second.bias[1] += 0.1


@pytest.mark.parametrize("change", [_another_classifier, _another_value_between])
def test_flips_explain_nothing_else(exported: tuple[Chain, Tensor, Path], change: Callable[[Chain], None]) -> None:
    model, x, path = exported
    _flip(model)
    with torch.no_grad():
        change(model)
    report = verify(path, model, x)
    assert report.unflipped == 0
    assert not report.equal


def test_a_file_without_1_bit_layers_is_no_export_of_a_model_that_has_some(
    exported: tuple[Chain, Tensor, Path], tmp_path: Path
) -> None:
    model, x, _ = exported
    bibench.export(Chain().eval(), tmp_path / "float.onnx", x, "onnxruntime")
    with pytest.raises(BiBenchError, match=r"float.onnx has no 1-bit layers, the model has 2"):
        verify(tmp_path / "float.onnx", model, x)


@pytest.mark.slow
def test_a_model_whose_layers_run_otherwise_without_hooks_proves_nothing(tmp_path: Path) -> None:
    """Hooks keep the fused path off, so that layer by layer all would be equal."""
    torch.manual_seed(0)
    x = torch.randn(4, 5, 8)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 1)
    bibench.binarize(model, "reactnet", example_inputs=x, keep=())
    path = tmp_path / "model.onnx"
    bibench.export(model.eval(), path, x, ENGINE)
    assert verify(path, model, x).equal
    model.layers[0].activation_relu_or_gelu = 1
    with pytest.raises(ProofError, match=r"2 of 2 1-bit layers.*'layers.0.linear1': its weight is read by 'layers.0'"):
        verify(path, model, x)


@pytest.mark.slow
def test_engines_that_cannot_tell_say_so(exported: tuple[Chain, Tensor, Path], tmp_path: Path) -> None:
    model, x, _ = exported
    bibench.export(model, tmp_path / "model_torch.pt2", x, "torch")
    said = verify(tmp_path / "model_torch.pt2", model, x).summary()
    assert said.startswith("the same model: 2 1-bit layers, not told one by one by this engine")


@pytest.mark.slow
def test_engines_that_round_are_not_said_to_be_broken(exported: tuple[Chain, Tensor, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), torch.randn(8, 8)
    bibench.export(model, tmp_path / "m.onnx", x, "onnxruntime_int8", calibration=[[x.numpy()]])
    assert verify(tmp_path / "m.onnx", model, x).summary().startswith("another model, as ONNX Runtime (int8) rounds")


class Mean(nn.Module):
    """One number for a whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.second(self.first(x)))
        return y.mean()


def _tripled(model: Mean) -> None:
    model.last.weight *= 3
    model.last.bias += 1


def _not_a_number(model: Mean) -> None:
    model.last.bias[0] = float("nan")


def _infinite(model: Mean) -> None:
    model.last.bias[0] = float("inf")


@pytest.mark.parametrize("change", [_tripled, _not_a_number, _infinite])
@pytest.mark.slow_but("_not_a_number")
def test_outputs_without_a_batch_are_compared(change: Callable[[Mean], None], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Mean().eval(), torch.randn(4, 8)
    bibench.binarize(model, "bnn", example_inputs=x)
    bibench.export(model, tmp_path / "m.onnx", x, ENGINE)
    assert verify(tmp_path / "m.onnx", model, x).equal
    with torch.no_grad():
        change(model)
    report = verify(tmp_path / "m.onnx", model, x)
    assert not report.equal
    json.dumps(report.to_dict(), allow_nan=False)
    bibench.export(model, tmp_path / "changed.onnx", x, ENGINE)
    assert verify(tmp_path / "changed.onnx", model, x).equal  # NaN is what the model gives


def test_numbers_beside_nan_and_infinity_are_compared(tmp_path: Path) -> None:
    """Neither hides a difference elsewhere."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)).eval(), torch.randn(4, 8)
    bibench.binarize(model, "bnn", example_inputs=x)
    with torch.no_grad():
        model[2].bias[:2] = torch.tensor([float("nan"), float("inf")])
    bibench.export(model, tmp_path / "m.onnx", x, ENGINE)
    assert verify(tmp_path / "m.onnx", model, x).equal
    with torch.no_grad():
        model[2].bias[2] += 1
    assert not verify(tmp_path / "m.onnx", model, x).equal


def test_a_model_of_another_width_is_named(tmp_path: Path) -> None:
    def chain(width: int) -> nn.Module:
        model = nn.Sequential(nn.Linear(8, width), nn.Linear(width, width), nn.Linear(width, 3)).eval()
        bibench.binarize(model, "bnn", example_inputs=torch.randn(4, 8))
        return model

    x = torch.randn(4, 8)
    bibench.export(chain(16), tmp_path / "m.onnx", x, ENGINE)
    with pytest.raises(
        BiBenchError, match=r"layer '1' takes \(4, 16\) in the file and \(4, 24\) in the model: it is not"
    ):
        verify(tmp_path / "m.onnx", chain(24), x)
