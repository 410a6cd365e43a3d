"""Larq Compute Engine on maps smaller than the filter, whose border of 0 its optimized kernels get wrong."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import bibench
from bibench.deploy.engines.larq import Larq
from bibench.deploy.exporting import Deployed
from bibench.deploy.parity import verify
from bibench.deploy.tflite.bits import Window, native_padding
from bibench.deploy.tflite.graph import SAME
from bibench.deploy.tflite.interpreter import Kernel, missing

CASES = [(3, 1, (2, 2)), (3, 1, (1, 1)), (3, 1, (2, 5)), (3, 1, (3, 3)), (5, 1, (4, 4)), (3, 2, (4, 4)), (3, 2, (5, 5))]
"""Kernel, dilation, map."""


class Side(nn.Module):
    """A 1-bit convolution for each case."""

    def __init__(self) -> None:
        super().__init__()
        made = [nn.Conv2d(32, 8, k, padding=d * (k // 2), dilation=d, bias=False) for k, d, _ in CASES]
        self.layers = nn.ModuleList(made)

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        return tuple(layer(x) for layer, x in zip(self.layers, maps, strict=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_who_pads(case: tuple[int, int, tuple[int, int]]) -> None:
    kernel, dilation, size = case
    side = dilation * (kernel // 2)
    window = Window.of([kernel] * 2, None, [side] * 4, [dilation] * 2)
    assert (native_padding(window, size, 32, 0) == SAME) == (min(size) >= 2 * side + 1)
    assert native_padding(window, size, 32, 1) == SAME


@pytest.mark.skipif(bool(missing()), reason=f"no Larq Compute Engine: {missing()[:60]}")
def test_all_kernels_give_the_products_that_were_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = tuple(torch.randn(2, 32, *size) for _, _, size in CASES)
    model = Side()
    bibench.binarize(model, "bnn", example_inputs=x, keep=())
    bibench.export(model.eval(), tmp_path / "m", x, "larq")
    kernels: tuple[Kernel, ...] = ("optimized", "indirect", "reference")
    for kernel in kernels:
        deployed = Deployed(tmp_path / "m.tflite")
        deployed.engine = Larq(kernel)
        deployed.loaded = deployed.engine.load(deployed.path)
        report = verify(deployed, model, x)
        assert [layer.product_difference for layer in report.layers] == [0.0] * len(CASES), kernel
        assert report.equal
