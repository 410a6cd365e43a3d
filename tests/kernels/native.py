"""Shared by the tests of the compiled core: random values, layouts, and comparison bit for bit."""

import math

import pytest
import torch
from torch import Tensor

from bibench.kernels import native

ISAS = native.available()
needs_core = pytest.mark.skipif(not ISAS, reason="bibench was installed without its compiled module")

SPECIAL = torch.tensor(
    [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 1.1754944e-38, math.inf, -math.inf, math.nan, 1 + 2**-23, -(1 + 2**-23)]
)


def values(*shape: int, seed: int, special: bool = True) -> Tensor:
    """Normal values, some of them replaced by zeros, subnormal numbers, infinities, NaN and the windows' edges."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=random)
    if special:
        chosen = torch.rand(shape, generator=random) < 0.1
        x[chosen] = SPECIAL[torch.randint(len(SPECIAL), (int(chosen.sum()),), generator=random)]
    return x


def identical(a: Tensor, b: Tensor) -> bool:
    """Equal bits, or NaN in both."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    bits = {4: torch.int32, 8: torch.int64, 2: torch.int16}[a.element_size()]
    same = a.contiguous().view(bits) == b.contiguous().view(bits)
    return bool((same | (a.isnan() & b.isnan())).all())


def equal(a: Tensor, b: Tensor) -> bool:
    """Equal values, or NaN in both; a zero may have either sign (a float convolution over padding alone gives -0)."""
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | (a.isnan() & b.isnan())).all())


def arrange(x: Tensor, layout: str) -> Tensor:
    """The same values in another memory layout."""
    if layout == "channels_last":
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
    if layout == "transposed":
        return x.transpose(0, -1).contiguous().transpose(0, -1)
    if layout == "sliced":
        wide = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1), math.nan)
        wide[..., 1::2] = x
        return wide[..., 1::2]
    return x.contiguous()


LAYOUTS = ("contiguous", "channels_last", "transposed", "sliced")
