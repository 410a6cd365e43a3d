"""The plain form is standard ONNX: valid by its checker, and the same numbers in an implementation that is not ours."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

import bibench
from bibench.deploy.freezing import assert_inference_only, freeze
from bibench.foundation.errors import BiBenchError

from .models import stir


class Net(nn.Module):
    """A convolution with norm, shortcut and PReLU, a depthwise one, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.PReLU(8)
        self.depth = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.act(self.norm(self.conv(x)) + x)
        y: Tensor = self.last(self.depth(x).mean((2, 3)))
        return y


def net(operator: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model, x = Net(), torch.randn(2, 3, 6, 6)
    bibench.binarize(model, operator, example_inputs=x)
    return stir(model), x


@pytest.mark.parametrize("operator", ["xnor", "xnorpp", "reactnet"])
@pytest.mark.slow_but("xnor")
def test_the_reference_implementation_agrees(operator: str, tmp_path: Path) -> None:
    model, x = net(operator)
    bibench.export(model, tmp_path / "m.onnx", x, "onnxruntime")
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    more = torch.randn(3, 3, 6, 6)
    with torch.no_grad():
        expected = model(more).numpy()
    [found] = ReferenceEvaluator(proto).run(None, {"x": more.numpy()})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("operator", ["recu", "fda", "reactnet"])
def test_nothing_of_training_is_left(operator: str) -> None:
    model, x = net(operator)
    with pytest.raises(BiBenchError, match=r"'conv.*is for training and was not removed"):
        assert_inference_only(model)
    frozen = freeze(model, (x,), {})
    assert_inference_only(frozen)
    kept = dict(frozen.named_parameters())
    assert not [name for name in kept if name.startswith(("conv.", "depth."))]
    assert {
        str(b.dtype) for n, b in frozen.named_buffers() if n in ("conv.operator.weight", "depth.operator.weight")
    } == {"torch.uint8"}
