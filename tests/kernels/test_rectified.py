"""Products of scaled and clamped filters equal what they stand for: a product of signs behind the scaling."""

import math

import pytest
import torch
from torch import Tensor, nn

from bibench.kernels import native
from bibench.kernels.functions import apply
from bibench.kernels.products import SignProduct
from bibench.kernels.rectified import RectifiedProduct
from bibench.kernels.rows import Rectified, Scaling, as_rows, from_rows, scale_rows
from bibench.kernels.spec import LayerSpec, of_layer
from bibench.kernels.surrogate import IDENTITY, Polynomial

from .native import ISAS, identical, values

LAYERS = {
    "conv2d": (nn.Conv2d(5, 37, 3, padding=1), (4, 5, 6, 7)),
    "unpadded": (nn.Conv2d(33, 8, (1, 3), stride=2), (2, 33, 6, 7)),
    "groups": (nn.Conv2d(8, 40, 3, padding=1, groups=2), (2, 8, 5, 5)),
    "depthwise": (nn.Conv2d(6, 6, 3, padding=1, groups=6), (2, 6, 5, 5)),
    "conv1d": (nn.Conv1d(5, 9, 3, padding=2), (2, 5, 11)),
    "linear": (nn.Linear(70, 20), (3, 4, 70)),
}


def both(
    layer: nn.Module, shape: tuple[int, ...], how: Rectified, last: bool, dtype: torch.dtype, pad_value: float = 0.0
) -> tuple[list[Tensor], list[Tensor]]:
    """Value, first and second derivatives; of the function, and of the two steps it stands for."""
    spec: LayerSpec = of_layer(layer, pad_value=pad_value)
    found = []
    for whole in (True, False):
        v, u = (values(*s, seed=i, special=False).to(dtype) for i, s in enumerate((shape, layer.weight.shape)))
        if last and v.dim() == 4:
            v, u = (t.contiguous(memory_format=torch.channels_last) for t in (v, u))
        v, u = v.requires_grad_(), (u + 0.3).detach().requires_grad_()
        scale = (values(len(u), seed=3, special=False).to(dtype) + 2).detach().requires_grad_()
        if whole:
            y = apply(RectifiedProduct, v, u, scale, spec, Polynomial(), how, "float32")[0]
        else:
            scaled = from_rows(scale_rows(as_rows(u), how.scaling, how.clip), u)
            y = apply(SignProduct, v, scaled, scale, spec, (Polynomial(), IDENTITY), "float32", True)
        upstream = values(*y.shape, seed=4, special=False).to(dtype).requires_grad_()
        first = torch.autograd.grad(y, (v, u, scale), upstream, retain_graph=True)
        again = torch.autograd.grad(y, (v, u, scale), upstream, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in again), (v, u, scale, upstream))
        found.append([y.detach(), *first, *second])
    return found[0], found[1]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("last", [False, True], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("clip", [0.9, math.inf])
def test_equals_its_steps(name: str, last: bool, clip: float) -> None:
    layer, shape = LAYERS[name]
    for centre in (True, False):
        how = Rectified(Scaling(2 * math.sqrt(2), centre=centre), clip)
        runs = []
        for isa in (*ISAS, native.NONE):
            with native.using(isa):
                whole, steps = both(layer, shape, how, last, torch.float32)
                assert all(identical(a, b) for a, b in zip(whole, steps, strict=True)), (isa, centre)
                runs.append(whole)
        assert all(identical(a, b) for run in runs for a, b in zip(run[:4], runs[-1][:4], strict=True))


@pytest.mark.parametrize("pad_value", [-1.0, 1.0])
def test_padding_with_signs(pad_value: float) -> None:
    layer, shape = LAYERS["conv2d"]
    how = Rectified(Scaling(), 1.5)
    for isa in (*ISAS, native.NONE):
        with native.using(isa):
            whole, steps = both(layer, shape, how, True, torch.float32, pad_value)
            assert all(identical(a, b) for a, b in zip(whole, steps, strict=True)), isa


def test_float64() -> None:
    layer, shape = LAYERS["conv2d"]
    whole, steps = both(layer, shape, Rectified(Scaling(), 1.5), False, torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(whole, steps, strict=True))
