"""Signs that flip by rounding: real ones, told with layer, count and margin, and told apart from wrong models.

An engine folds a norm into the convolution before it, which rounds otherwise than the norm itself: the same value
differs by a few units in the last place. A threshold put between the two gives it one sign in training and the other
one in the file.
"""

import copy
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import bibench
from bibench import deploy
from bibench.cli.output import console
from bibench.cli.parity import print_parity
from bibench.deploy import ENGINES
from bibench.deploy.parity import ROUNDING, Parity, verify

from .models import stir

EXAMPLES, CHANNELS = 6, 8
HERE = [name for name in ("bibench", "onnxruntime") if not ENGINES[name]().available()]


class Net(nn.Module):
    """Two 1-bit convolutions behind a float one with a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.norm = nn.BatchNorm2d(CHANNELS)
        self.first = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.second = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.classifier = nn.Linear(CHANNELS, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.second(self.first(self.norm(self.stem(x))))
        classes: torch.Tensor = self.classifier(y.mean((2, 3)))
        return classes


def net() -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model, x = Net(), torch.randn(EXAMPLES, 3, 8, 8)
    bibench.binarize(model, "reactnet", example_inputs=x, keep=("stem", "classifier"))
    return stir(model), x


def between(model: nn.Module, x: torch.Tensor, path: Path) -> float:
    """Puts a threshold of the first layer between a value of the training graph and that of the file, and tells how
    far the training graph's is from it."""
    deployed = deploy.load(path)
    values = deployed.layer_values(x.numpy())
    assert values is not None
    there = values["first"].inputs[0]
    with torch.no_grad():
        here = model.norm(model.stem(x)).numpy()
    assert 0 < np.abs(there - here).max() < 1e-5
    # Where no other example's value of this channel is near, so that this one alone flips.
    at = next(
        tuple(at) for at in np.argwhere(here < there) if np.sum(np.abs(here[:, at[1]] - here[tuple(at)]) < 1e-4) == 1
    )
    with torch.no_grad():  # here < threshold <= there
        model.first.operator.shift.view(-1)[at[1]] = -float(there[at])
    return float(there[at] - here[at])


class Flipped(NamedTuple):
    """The report on a model one of whose signs flips, and how far its value was from the threshold."""

    report: Parity
    model: nn.Module
    x: torch.Tensor
    path: Path
    margin: float


@pytest.fixture(scope="module", params=HERE)
def flipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Flipped:
    model, x = net()
    path = tmp_path_factory.mktemp("parity") / "model.onnx"
    bibench.export(model, path, x, request.param)
    assert verify(path, model, x).flips == 0
    margin = between(model, x, path)
    bibench.export(model, path, x, request.param)
    return Flipped(verify(path, model, x), model, x, path, margin)


@pytest.mark.slow
def test_a_flip_is_told_with_layer_count_and_margin(flipped: Flipped) -> None:
    report = flipped.report
    first, second = report.layers
    assert (first.layer, first.flips, first.origins, first.signs) == ("first", 1, 1, EXAMPLES * CHANNELS * 64)
    assert first.margin == pytest.approx(flipped.margin, rel=1e-3) and 0 < first.margin < ROUNDING
    # What follows from it is counted, but is no origin and asks for no explanation.
    assert second.flips > 0 and (second.origins, second.margin) == (0, 0.0)
    assert {layer.product_difference for layer in report.layers} == {0.0}
    assert (report.flips, report.examples, report.unflipped) == (1 + second.flips, EXAMPLES, EXAMPLES - 1)


@pytest.mark.slow
def test_it_is_the_same_model_though_outputs_of_that_example_differ(
    flipped: Flipped, capsys: pytest.CaptureFixture[str]
) -> None:
    report = flipped.report
    assert report.equal and all(layer.explained for layer in report.layers)
    assert report.max_difference > 100 * ROUNDING > ROUNDING > report.unflipped_difference
    said = report.summary()
    assert said.startswith(f"the same model: 2 1-bit layers, {report.flips} flipped signs; outputs differ by ")
    assert f"in the {EXAMPLES - 1} of {EXAMPLES} examples without a flip" in said
    print_parity(console(), report)
    printed = capsys.readouterr().out
    assert re.search(rf"^first +equal +3072 +1 +1 +{report.layers[0].margin:.2g} *$", printed, re.M)
    assert re.search(rf"^second +equal +3072 +{report.layers[1].flips} +0 +0 *$", printed, re.M)


@pytest.mark.slow
def test_a_flip_beyond_rounding_fails(flipped: Flipped) -> None:
    """Many more of them, if the model is another one by a little."""
    other = copy.deepcopy(flipped.model)
    with torch.no_grad():
        other.norm.bias += 1e-2
    report = verify(flipped.path, other, flipped.x)
    first = report.layers[0]
    assert first.flips > 1 and first.margin > ROUNDING * first.input_scale
    assert not first.explained and not report.equal
    assert report.summary().startswith("NOT the same model")
