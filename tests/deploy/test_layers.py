"""For every operator, kind of layer and padding: the deployed products are the training graph's integers."""

from pathlib import Path

import pytest
import torch
from torch import nn

import bibench
from bibench.deploy import ENGINES
from bibench.deploy.parity import verify
from bibench.operators import known_operators

from .models import Around, stir

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


def layer(kind: str, operator: str, pad_value: int = 0) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    template, shape = LAYERS[kind]
    model = Around(nn.Sequential(template))
    import copy

    model = copy.deepcopy(model)
    x = torch.randn(3, *shape)
    x.view(-1)[::7] = 0.0  # sign(0) = +1
    x.view(-1)[1::7] = -0.0
    options = {"act_scale": "spatial"} if operator == "xnor" else {}
    bibench.binarize(model, operator, example_inputs=x, keep=(), pad_value=pad_value, **options)
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dim() == 1:
            nn.init.normal_(parameter)
    return stir(model), x


@pytest.mark.parametrize("engine", [name for name in HERE if name != "torch"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_integer_products_equal_the_training_graph(engine: str, operator: str, tmp_path: Path) -> None:
    for kind, (template, _) in LAYERS.items():
        padded = getattr(template, "padding_mode", "") == "zeros" and "1x1" not in kind
        for pad_value in PADDINGS if padded else (0,):
            model, x = layer(kind, operator, pad_value)
            path = tmp_path / "model.onnx"
            made = bibench.export(model, path, x, engine)
            report = verify(path, model, x)
            assert len(made.layers) == len(report.layers) == 1, kind
            assert report.layers[0].product_difference == 0, (kind, pad_value)
            assert report.layers[0].signs == x.numel() or "reflect" in kind
            assert report.flips == 0
            assert report.equal, (kind, pad_value, report.summary())


@pytest.mark.parametrize("act_scale", ["spatial", "sample", "none"])
@pytest.mark.parametrize("engine", HERE)
def test_activation_scales_of_xnor_net(engine: str, act_scale: str, tmp_path: Path) -> None:
    for kind in ("conv2d groups", "conv1d", "linear of tokens"):
        torch.manual_seed(0)
        template, shape = LAYERS[kind]
        model, x = Around(nn.Sequential(type(template)(**_arguments(template)))), torch.randn(3, *shape)
        bibench.binarize(model, "xnor", example_inputs=x, keep=(), act_scale=act_scale)
        bibench.export(model.eval(), tmp_path / "model", x, engine)
        path = (tmp_path / "model").with_suffix(ENGINES[engine].extension)
        assert verify(path, model, x).equal, kind


def _arguments(template: nn.Module) -> dict[str, object]:
    if isinstance(template, nn.Linear):
        return {"in_features": template.in_features, "out_features": template.out_features}
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    return {name: getattr(template, name) for name in names}


def test_a_wrong_product_is_seen(tmp_path: Path) -> None:
    model, x = layer("conv2d", "bnn")
    bibench.export(model, tmp_path / "model.onnx", x, "onnxruntime")
    with torch.no_grad():
        model.layer[0].weight[0] *= -1
    report = verify(tmp_path / "model.onnx", model, x)
    assert report.layers[0].product_difference > 0
    assert not report.equal
    assert report.summary().startswith("NOT the same model")
