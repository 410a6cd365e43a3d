"""sign and the surrogate gradients against their formulas in float64."""

import math

import pytest
import torch

from bibench.kernels.surrogate import IDENTITY, STE, Fourier, Polynomial, binarize, sign

POINTS = torch.cat([torch.linspace(-3, 3, 4001, dtype=torch.float64), torch.tensor([0.0, -0.0, 1.0, -1.0])])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_sign_is_plus_one_at_both_zeros(dtype: torch.dtype) -> None:
    x = torch.tensor([-2.0, -1e-8, -0.0, 0.0, 1e-8, 2.0, math.inf, -math.inf], dtype=dtype)
    tiny = -1.0 if dtype != torch.float16 else 1.0  # float16 rounds 1e-8 to zero
    assert sign(x).tolist() == [-1, tiny, 1, 1, 1, 1, 1, -1]
    assert sign(x).dtype == dtype


def fourier_sum(x: torch.Tensor, n: int, omega: float) -> torch.Tensor:
    return 4 * omega / math.pi * sum(torch.cos((2 * i + 1) * omega * x) for i in range(n + 1))


@pytest.mark.parametrize(
    ("surrogate", "formula"),
    [
        (STE(), lambda x: (x.abs() <= 1).double()),
        (STE(clip=0.5), lambda x: (x.abs() <= 0.5).double()),
        (IDENTITY, torch.ones_like),
        (Polynomial(), lambda x: torch.where(x < 0, 2 + 2 * x, 2 - 2 * x) * (x.abs() < 1)),
        (Fourier(9), lambda x: fourier_sum(x, 9, 0.1) * (x.abs() <= 1)),
        (Fourier(17), lambda x: fourier_sum(x, 17, 0.1) * (x.abs() <= 1)),
        (Fourier(5, omega=0.7, clip=2.0), lambda x: fourier_sum(x, 5, 0.7) * (x.abs() <= 2)),
    ],
)
def test_gradient_equals_its_formula(surrogate, formula) -> None:
    torch.testing.assert_close(surrogate.gradient(POINTS), formula(POINTS), rtol=1e-9, atol=1e-9)
    leaf = POINTS.clone().requires_grad_()
    upstream = torch.randn_like(POINTS)
    (grad,) = torch.autograd.grad(binarize(leaf, surrogate), leaf, upstream)
    torch.testing.assert_close(grad, upstream * formula(POINTS), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [9, 13, 17])
def test_fourier_is_accurate_in_float32_also_near_zero(n: int) -> None:
    exponents = torch.linspace(-44, 0, 2000, dtype=torch.float64)
    x = (10**exponents).float()  # down to subnormal numbers
    x = torch.cat([x, -x, torch.zeros(1)])
    exact = fourier_sum(x.double(), n, 0.1)
    got = Fourier(n).gradient(x).double()
    assert (got - exact).abs().max() < 1e-6 * 4 * 0.1 / math.pi * (n + 1) * 4
    assert Fourier(n).gradient(torch.zeros(1)).item() == pytest.approx(4 * 0.1 / math.pi * (n + 1))


def test_fourier_first_lobe_is_never_negative() -> None:
    x = torch.linspace(-1, 1, 10001)
    assert Fourier(17).gradient(x).min() < -0.2
    assert Fourier(17, first_lobe=True).gradient(x).min() >= 0
    assert Fourier(18).first_zero == pytest.approx(0.827, abs=1e-3)
    assert torch.equal(Fourier(9, first_lobe=True).gradient(x), Fourier(9).gradient(x))  # first zero beyond 1


@pytest.mark.parametrize("surrogate", [STE(), Polynomial(), Fourier()])
def test_half_precision_stays_half_precision(surrogate) -> None:
    x = torch.linspace(-1.2, 1.2, 50, dtype=torch.bfloat16)
    got = surrogate.gradient(x)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), surrogate.gradient(x.float()), rtol=0.02, atol=0.02)


def test_polynomial_is_differentiable_twice() -> None:
    x = torch.tensor([-0.5, 0.25], requires_grad=True)
    (first,) = torch.autograd.grad(binarize(x, Polynomial()).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert second.tolist() == [2.0, -2.0]


def test_binarize_under_vmap() -> None:
    x = torch.randn(3, 4)
    assert torch.equal(torch.func.vmap(lambda row: binarize(row, STE()))(x), sign(x))
    grads = torch.func.vmap(torch.func.grad(lambda row: (binarize(row, STE()) * 2).sum()))(x)
    assert torch.equal(grads, 2 * (x.abs() <= 1).float())
