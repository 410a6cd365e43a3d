"""FDA's noise: sine and cosine, values and gradients against the formula, and the same bits without the kernels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from bibench.kernels import native
from bibench.kernels.noise import WithSine, cosine, noisy_activations, noisy_filters, sine
from bibench.kernels.spec import LayerSpec, of_layer
from bibench.kernels.surrogate import STE, Fourier
from bibench.operators.fda import Noise

ISAS = native.available()
SPECIAL = torch.tensor([0.0, -0.0, 1.5, -1.5, math.pi / 2, -math.pi, 8192.0, 1e30, math.inf, -math.inf, math.nan])


def spec_of(layer: nn.Module) -> LayerSpec:
    return of_layer(layer)


def noise(rows: Tensor, down: Tensor, up: Tensor) -> Tensor:
    return torch.relu(rows @ down.T) @ up.T + 0.1 * torch.sin(rows)


def matrices(width: int, hidden: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(width)
    down, up = (torch.randn(*s, generator=generator, dtype=dtype) / 4 for s in ((hidden, width), (width, hidden)))
    return down.requires_grad_(), up.requires_grad_()


@pytest.mark.parametrize(("ours", "exact"), [(sine, torch.sin), (cosine, torch.cos)])
def test_sine_and_cosine_are_accurate_to_float32(ours, exact) -> None:
    for span in (1.5, 10.0, 8192.0):
        x = torch.linspace(-span, span, 100_001)
        assert (ours(x) - exact(x.double())).abs().max() < 2e-7
    far = ours(torch.tensor([1e30, -1e30]))
    assert torch.equal(far, ours(torch.tensor([8192.0, -8192.0])))
    assert ours(torch.tensor(math.nan)).isnan()
    wide = torch.randn(100, dtype=torch.float64) * 100
    assert torch.equal(ours(wide), exact(wide))


LAYERS = {
    "conv2d": (nn.Conv2d(6, 4, 3), (3, 6, 5, 4)),
    "conv2d channels_last": (nn.Conv2d(6, 4, 3), (3, 6, 5, 4)),
    "conv1d": (nn.Conv1d(6, 4, 3), (2, 6, 7)),
    "linear": (nn.Linear(6, 4), (2, 3, 6)),
}


def case(name: str, dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    layer, shape = LAYERS[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2
    if "channels_last" in name:
        x = x.contiguous(memory_format=torch.channels_last)
    return layer, x.requires_grad_()


@pytest.mark.parametrize("name", LAYERS)
def test_activations_follow_the_formula(name: str) -> None:
    layer, x = case(name, torch.float64)
    down, up = matrices(6, 3, torch.float64)
    out = noisy_activations(x, spec_of(layer), down, up, 0.05, Fourier(9))
    axis = -1 if name == "linear" else 1
    rows = x.movedim(axis, -1)
    smooth = (0.05 * noise(rows, down, up)).movedim(-1, axis)
    torch.testing.assert_close(out, torch.where(x >= 0, 1.0, -1.0).double() + smooth)
    upstream = torch.randn_like(out)
    found = torch.autograd.grad(out, (x, down, up), upstream)
    wanted = torch.autograd.grad(smooth, (x, down, up), upstream)
    torch.testing.assert_close(found[0], wanted[0] + upstream * Fourier(9).gradient(x.detach()))
    torch.testing.assert_close(found[1:], wanted[1:])


@pytest.mark.parametrize("last", [False, True])
def test_filters_follow_the_formula_in_the_order_of_their_axes(last: bool) -> None:
    w = torch.randn(5, 4, 3, 2, dtype=torch.float64)
    w = (w.contiguous(memory_format=torch.channels_last) if last else w).requires_grad_()
    down, up = matrices(24, 2, torch.float64)
    out = noisy_filters(w, down, up, 0.05, STE())
    smooth = (0.05 * noise(w.flatten(1), down, up)).view(w.shape)
    torch.testing.assert_close(out, torch.where(w >= 0, 1.0, -1.0).double() + smooth)
    upstream = torch.randn_like(out)
    found = torch.autograd.grad(out, (w, down, up), upstream)
    wanted = torch.autograd.grad(smooth, (w, down, up), upstream)
    torch.testing.assert_close(found[0], wanted[0] + upstream * (w.detach().abs() <= 1))
    torch.testing.assert_close(found[1:], wanted[1:])


def test_no_hidden_layer_leaves_the_sine() -> None:
    x = torch.randn(2, 6)
    out = noisy_activations(x, spec_of(nn.Linear(6, 4)), torch.empty(0, 6), torch.empty(6, 0), 0.5, STE())
    assert torch.equal(out, torch.where(x >= 0, 1.0, -1.0) + 0.05 * sine(x))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0, None])
def test_kernels_give_the_same_bits(name: str, spread: float | None) -> None:
    layer, x = case(name, torch.float32)
    with torch.no_grad():
        x.copy_(SPECIAL.repeat(x.numel())[: x.numel()].view(x.shape) if spread is None else x * spread)
    down, up = matrices(6, 3)
    found = {}
    for isa in (*ISAS, native.NONE):
        with native.using(isa):
            out = noisy_activations(x, spec_of(layer), down, up, 0.07, Fourier(13))
            upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).as_strided_(
                out.shape, out.stride()
            )
            found[isa] = [out, *torch.autograd.grad(out, (x, down, up), upstream)]
    for isa in ISAS:
        for ours, pure in zip(found[isa], found[native.NONE], strict=True):
            assert torch.equal(ours.nan_to_num(7.0), pure.nan_to_num(7.0)), isa
            assert ours.stride() == pure.stride()


@pytest.mark.parametrize("inner", [Fourier(9), Fourier(17, first_lobe=True), Fourier(40, omega=0.5), STE()])
def test_the_gradient_is_the_sum_of_both(inner) -> None:
    x = torch.linspace(-4, 4, 1001)
    expected = inner.gradient(x.double()) + 0.01 * torch.cos(x.double())
    torch.testing.assert_close(WithSine(inner, 0.01).gradient(x).double(), expected, rtol=1e-5, atol=1e-6)


def test_only_x_and_the_hidden_layer_are_kept() -> None:
    x = torch.randn(8, 64, 6, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    down, up = matrices(64, 1)
    sizes = {}

    def keep(t: Tensor) -> Tensor:
        sizes[t.data_ptr()] = t.numel()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        noisy_activations(x, spec_of(nn.Conv2d(64, 8, 3)), down, up, 0.05, Fourier(9))
    assert sum(sizes.values()) == x.numel() + x.numel() // 64 + down.numel() + up.numel()


@pytest.mark.parametrize(("width", "hidden"), [(1, 1), (3, 1), (4, 1), (63, 15), (64, 1), (640, 10)])
def test_the_hidden_layer_has_a_64th_of_the_width_or_a_quarter_of_a_small_one(width: int, hidden: int) -> None:
    made = Noise(width, trained=True)
    assert (made.down.shape, made.up.shape) == ((hidden, width), (width, hidden))
