"""For every operator, kind of layer and padding: the deployed products are the training graph's integers."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import bibench
from bibench.deploy import ENGINES
from bibench.deploy.parity import verify
from bibench.operators import known_operators

from .models import Around

LAYERS = {
    "conv2d": (nn.Conv2d(5, 6, 3, padding=1), (5, 7, 9)),
    "conv2d 1x1": (nn.Conv2d(33, 4, 1, bias=False), (33, 5, 5)),
    "conv2d 5x5 stride 2": (nn.Conv2d(3, 7, 5, stride=2, padding=2), (3, 11, 10)),
    "conv2d dilation": (nn.Conv2d(4, 6, 3, padding=2, dilation=2), (4, 9, 9)),
    "conv2d groups": (nn.Conv2d(6, 4, 3, padding=1, groups=2), (6, 6, 6)),
    "conv2d depthwise": (nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), (6, 8, 8)),
    "conv2d same": (nn.Conv2d(3, 4, (2, 4), padding="same"), (3, 6, 6)),
    "conv2d reflect": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 6, 6)),
    "conv1d": (nn.Conv1d(5, 6, 3, padding=1), (5, 12)),
    "conv1d depthwise": (nn.Conv1d(6, 12, 5, padding=2, groups=6, bias=False), (6, 9)),
    "conv1d stride 2 dilation": (nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2), (4, 15)),
    "linear": (nn.Linear(37, 5), (37,)),
    "linear of tokens": (nn.Linear(16, 9, bias=False), (3, 16)),
}
OPERATORS = [name for name in known_operators() if name != "fp32"]
PADDINGS = (0, 1, -1)
HERE = [name for name in ("bibench", "onnxruntime", "torch") if not ENGINES[name]().available()]


class Bank(nn.Module):
    """All layers of `LAYERS` side by side, for each padding value: one graph proves them all."""

    def __init__(self, operator: str, **options: object) -> None:
        super().__init__()
        self.banks = nn.ModuleList()
        for pad_value in PADDINGS:
            bank = nn.ModuleDict({kind: copy.deepcopy(made) for kind, (made, _) in LAYERS.items()})
            for kind, layer in bank.items():
                holder = Around(layer)
                bibench.binarize(
                    holder,
                    operator,
                    example_inputs=examples()[list(LAYERS).index(kind)],
                    keep=(),
                    pad_value=pad_value,
                    **options,
                )
                bank[kind] = holder
            self.banks.append(bank)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(x) for bank in self.banks for layer, x in zip(bank.values(), inputs, strict=True))


def examples() -> tuple[Tensor, ...]:
    """One input for each layer, with zeros of both signs among them."""
    torch.manual_seed(1)
    found = []
    for _, shape in LAYERS.values():
        x = torch.randn(3, *shape)
        x.view(-1)[::7] = 0.0
        x.view(-1)[1::7] = -0.0
        found.append(x)
    return tuple(found)


def bank(operator: str, **options: object) -> Bank:
    torch.manual_seed(0)
    model = Bank(operator, **options)
    for name, parameter in model.named_parameters():
        if ".operator." in name and parameter.dim() <= 3 and parameter.numel():  # learned scales and thresholds
            nn.init.normal_(parameter)
    return model.eval()


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.slow
def test_integer_products_equal_the_training_graph(operator: str, tmp_path: Path) -> None:
    model, x = bank(operator), examples()
    for engine in HERE:
        path = (tmp_path / engine).with_suffix(ENGINES[engine].extension)
        made = bibench.export(model, path, x, engine)
        report = verify(path, model, x)
        assert len(made.layers) == len(report.layers) == len(LAYERS) * len(PADDINGS)
        if engine != "torch":  # computes with the training graph's own functions
            assert {layer.product_difference for layer in report.layers} == {0.0}
            assert all(layer.signs for layer in report.layers)
        assert report.flips == 0
        assert report.equal, (engine, report.summary())


@pytest.mark.slow
def test_an_activation_scale_for_each_example(tmp_path: Path) -> None:
    model, x = bank("xnor", act_scale="sample"), examples()
    for engine in HERE:
        path = (tmp_path / engine).with_suffix(ENGINES[engine].extension)
        bibench.export(model, path, x, engine)
        assert verify(path, model, x).equal, engine


def test_a_wrong_product_is_seen(tmp_path: Path) -> None:
    x = torch.randn(2, 5, 7, 9)
    model = Around(nn.Conv2d(5, 6, 3, padding=1))
    bibench.binarize(model, "bnn", example_inputs=x, keep=())
    bibench.export(model.eval(), tmp_path / "model.onnx", x, "onnxruntime")
    with torch.no_grad():
        model.layer.weight[0] *= -1
    report = verify(tmp_path / "model.onnx", model, x)
    assert report.layers[0].product_difference > 0
    assert not report.equal
    assert report.summary().startswith("NOT the same model")
