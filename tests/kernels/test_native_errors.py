"""The compiled module called with what it cannot take: a clear exception, or the right result; never a crash.

`bibench.kernels.native` calls it with checked tensors alone; these tests go past it. An output that overlaps an input
is the caller's business: elementwise gradients may be made in place, elsewhere the result is undefined (but in bounds).
"""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from bibench.kernels import native

from .native import ISAS, needs_core

pytestmark = needs_core

T = torch.randn
HUGE = 2**31 - 1


def convolve(**changed: Any) -> torch.Tensor:
    """A convolution that works, but for what is changed."""
    from bibench import _core

    given = {
        "x": torch.ones(2, 4, 6, 6),
        "weight": torch.ones(8, 4, 3, 3),
        "out": torch.empty(2, 8, 6, 6),
        "stride": (1, 1),
        "padding": (1, 1, 1, 1),
        "dilation": (1, 1),
        "groups": 1,
        "pad_value": 1,
        "shift": None,
        "scale": None,
        "bias": None,
        "threads": 2,
        **changed,
    }
    _core.convolve(**given)
    return given["out"]


def test_the_unchanged_call_works() -> None:
    assert (convolve() == 36).all()


def name_of(value: object) -> str:
    """What a case is called: never the values of a tensor, which differ from one process to the next."""
    if isinstance(value, torch.Tensor):
        return "x".join(map(str, value.shape))
    if isinstance(value, dict):
        return ",".join(f"{key}={name_of(v)}" for key, v in value.items())
    return str(value)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"x": T(4, 6, 6)}, "x must have 4 axes, got (4, 6, 6)"),
        ({"weight": T(8, 4)}, "weight must have 4 axes"),
        ({"out": torch.empty(8, 6, 6)}, "out must have shape (2, 8, 6, 6), got (8, 6, 6)"),
        ({"out": torch.empty(2, 8, 6, 5)}, "out must have shape (2, 8, 6, 6), got (2, 8, 6, 5)"),
        ({"out": torch.empty(3, 8, 6, 6)}, "out must have shape"),
        ({"out": torch.empty(2, 8, 6, 12)[..., ::2]}, "out must be contiguous or channels-last"),
        ({"out": torch.empty(1).expand(2, 8, 6, 6)}, "out must be contiguous or channels-last"),
        ({"x": T(2, 4, 6, 12)[..., ::2]}, "x must be contiguous or channels-last"),
        ({"x": T(1, 4, 6, 6).expand(2, 4, 6, 6)}, "x must be contiguous or channels-last"),
        ({"x": T(2, 4, 6, 6).mT}, "x must be contiguous or channels-last"),
        ({"weight": T(8, 4, 3, 3).mT}, "weight must be contiguous or channels-last"),
        ({"x": np.ones((2, 4, 6, 6), np.float32)[:, :, ::-1]}, "x must be contiguous or channels-last"),
        ({"stride": (0, 1)}, "stride and dilation must be at least 1"),
        ({"stride": (1, -1)}, "stride and dilation must be at least 1"),
        ({"dilation": (0, 1)}, "stride and dilation must be at least 1"),
        ({"dilation": (1, -(2**40))}, "stride and dilation must be at least 1"),
        ({"padding": (-1, 1, 1, 1)}, "padding must not be negative"),
        ({"padding": (2**40, 1, 1, 1)}, "padding must not be negative"),
        ({"padding": (HUGE,) * 4}, "one padded image has too many values"),
        ({"dilation": (HUGE, HUGE)}, "the filter is larger than the padded input"),
        ({"padding": (HUGE,) * 4, "dilation": (HUGE, HUGE)}, "one padded image has too many values"),
        ({"padding": (0, 0, 0, 0), "x": T(2, 4, 2, 6)}, "the filter is larger than the padded input"),
        ({"groups": 0}, "groups must be at least 1"),
        ({"groups": -1}, "groups must be at least 1"),
        ({"groups": 3}, "groups must divide the channels"),
        ({"groups": 2}, "weight has 4 input channels for x with 4 and groups=2"),
        ({"pad_value": 2}, "pad_value must be 0, 1 or -1"),
        ({"x": T(2, 0, 6, 6), "weight": T(8, 0, 3, 3)}, "weight must not be empty"),
        ({"weight": T(0, 4, 3, 3), "out": T(2, 0, 6, 6)}, "weight must not be empty"),
        ({"weight": T(8, 4, 0, 3)}, "weight must not be empty"),
        ({"weight": T(8, 5, 3, 3)}, "weight has 5 input channels"),
        ({"shift": T(8)}, "shift must have shape (4), got (8)"),
        ({"scale": T(4)}, "scale must have shape (8), got (4)"),
        ({"bias": T(1)}, "bias must have shape (8), got (1)"),
        ({"bias": T(8, 1)}, "bias must have shape (8)"),
        ({"scale": T(16)[::2]}, "scale must be contiguous"),
        ({"scale": T(1).expand(8)}, "scale must be contiguous"),
        (
            {"x": torch.empty(1, 2**18, 8, 8), "weight": torch.empty(1, 2**18, 8, 8), "padding": (0,) * 4},
            "a filter may have at most 2^24 weights",
        ),
    ],
    ids=name_of,
)
def test_convolve_refuses(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        convolve(**changed)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"x": torch.ones(2, 4, 6, 6, dtype=torch.float64)},
        {"x": torch.ones(2, 4, 6, 6, dtype=torch.int32)},
        {"weight": torch.ones(8, 4, 3, 3, dtype=torch.bfloat16)},
        {"out": torch.empty(2, 8, 6, 6, dtype=torch.float64)},
        {"out": torch.empty(2, 8, 6, 6, dtype=torch.float16)},
        {"out": torch.empty(2, 8, 6, 6, device="meta")},
        {"x": torch.ones(2, 4, 6, 6, device="meta")},
        {"scale": torch.ones(8, dtype=torch.float64)},
        {"x": None},
        {"x": [1.0]},
        {"stride": (1,)},
        {"stride": (1, 1, 1)},
        {"stride": 1},
        {"stride": (1.5, 1)},
        {"padding": (1, 1)},
        {"stride": (2**70, 1)},
        {"threads": "two"},
        {"groups": None},
    ],
    ids=name_of,
)
def test_convolve_takes_no_other_types(changed: dict[str, Any]) -> None:
    """No array is converted in silence: a result written into the copy of an output would be lost."""
    with pytest.raises(TypeError, match="incompatible function arguments"):
        convolve(**changed)


def test_read_only_arrays_are_no_outputs() -> None:
    out = np.zeros((2, 8, 6, 6), np.float32)
    out.flags.writeable = False
    with pytest.raises(TypeError):
        convolve(out=out)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [-5, 0, 1, 1000])
def test_any_number_of_threads(isa: str, threads: int) -> None:
    with native.using(isa):
        assert (convolve(threads=threads) == 36).all()


@pytest.mark.parametrize("isa", ISAS)
def test_empty_and_all_padding(isa: str) -> None:
    with native.using(isa):
        assert convolve(x=T(0, 4, 6, 6), out=torch.empty(0, 8, 6, 6)).shape == (0, 8, 6, 6)
        nothing = {"x": T(2, 4, 0, 0), "padding": (2, 2, 2, 2), "out": torch.empty(2, 8, 2, 2), "pad_value": -1}
        assert (convolve(**nothing) == -36).all()
        far = {"padding": (0, 1000, 0, 1000), "stride": (900, 900), "out": torch.empty(2, 8, 2, 2), "pad_value": 0}
        assert convolve(**far)[0, 0].tolist() == [[36, 0], [0, 0]]
        wide = {"dilation": (500, 500), "padding": (500,) * 4, "pad_value": 0, "stride": (1, 1)}
        assert (convolve(**wide) == 4).all()  # the middle tap alone meets the input


@pytest.mark.slow
def test_memory_that_is_not_there_is_an_exception() -> None:
    """Also where it is another thread that asks for it."""
    pytest.importorskip("resource")
    code = """
import resource, torch
from bibench import _core
torch.ones(1 << 20).sum()
x, w, out = torch.ones(4, 1, 1, 1), torch.ones(2, 1, 2, 2), torch.empty(4, 2, 2, 2)
arguments = ((20000, 20000), (10000, 10001, 10000, 10001), (1, 1), 1, 0, None, None, None)
_core.convolve(torch.ones(4, 1, 9, 9), w, torch.empty(4, 2, 8, 8), (1, 1), (0,) * 4, *arguments[2:], 2)
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)
for threads in (1, 2):
    try:
        _core.convolve(x, w, out, *arguments, threads)
    except MemoryError:
        print("MemoryError")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["MemoryError"] * 2, done.stderr


@pytest.mark.parametrize(
    "a, b, out, mask, message",
    [
        (T(1, 2, 3), T(1, 2, 3, 4), T(1, 2, 3, 3), False, "a must have 4 axes"),
        (T(1, 2, 3, 4), T(2, 3, 4), T(1, 2, 3, 3), False, "b must have 4 axes"),
        (T(1, 2, 3, 4), T(1, 2, 5, 6), T(1, 2, 3, 5), False, "do not fit"),
        (T(1, 2, 3, 4), T(1, 3, 5, 4), T(1, 2, 3, 5), False, "do not fit"),
        (T(1, 2, 3, 4), T(1, 2, 5, 4), T(1, 2, 3, 5), True, "do not fit"),
        (T(1, 2, 3, 4), T(1, 2, 5, 4), T(1, 2, 5, 3), False, "out has the wrong shape (1, 2, 5, 3)"),
        (T(1, 2, 3, 4), T(1, 2, 5, 4), T(1, 2, 3, 10)[..., ::2], False, "out must be contiguous"),
        (T(1, 2, 3, 8)[..., ::2], T(1, 2, 5, 4), T(1, 2, 3, 5), False, "a must be contiguous along its last axis"),
        (T(1, 2, 3, 4), T(1, 2, 4, 5).mT, T(1, 2, 3, 5), False, "b must be contiguous along its last axis"),
    ],
    ids=name_of,
)
def test_matmul_refuses(a, b, out, mask: bool, message: str) -> None:
    from bibench import _core

    with pytest.raises(ValueError) as error:
        _core.matmul(a, b, out, mask, 2)
    assert message in str(error.value)


@pytest.mark.parametrize("shape", [(0, 2, 3, 5), (2, 0, 3, 5), (2, 2, 0, 5), (2, 2, 3, 0)])
def test_matmul_of_nothing(shape: tuple[int, ...]) -> None:
    from bibench import _core

    outer, inner, m, n = shape
    _core.matmul(T(outer, inner, m, 4), T(outer, inner, n, 4), T(shape), False, 2)
    out = torch.full(shape, 7.0)
    _core.matmul(T(outer, inner, m, 0), T(outer, inner, n, 0), out, False, 2)
    assert not out.any()  # a sum of no terms


@pytest.mark.parametrize(
    "x, out, message",
    [
        (T(3, 4), T(4, 3), "must have the same shape, got (3, 4) and (4, 3)"),
        (T(3, 4), T(12), "must have the same shape"),
        (T(3, 4), T(4, 3).T, "must have the same strides"),
        (T(3, 8)[:, ::2], T(3, 8)[:, ::2], "must be dense in memory"),
        (T(1).expand(3, 4), T(1).expand(3, 4), "must be dense in memory"),
        (T(6).as_strided((2, 3), (5, 0)), T(6).as_strided((2, 3), (5, 0)), "must be dense in memory"),
        (T(9).as_strided((3, 3), (1, 1)), T(9).as_strided((3, 3), (1, 1)), "must be dense in memory"),
        (np.ones(8, np.float32)[::-1], np.ones(8, np.float32)[::-1], "must be dense in memory"),
    ],
    ids=["shape", "axes", "strides", "gaps", "expanded", "repeated", "overlapping", "backwards"],
)
def test_elementwise_kernels_refuse(x, out, message: str) -> None:
    from bibench import _core

    for call in (
        lambda: _core.sign(x, out, 1.0, 1),
        lambda: _core.ste(x, x, out, 1.0, 1),
        lambda: _core.approx_sign(x, x, out, 1),
        lambda: _core.even_polynomial(x, x, out, [1.0], 1.0, 1),
    ):
        with pytest.raises(ValueError) as error:
            call()
        assert message in str(error.value)


def test_elementwise_kernels_take_any_order_of_axes() -> None:
    from bibench import _core

    for x in (T(2, 3, 4, 5).permute(2, 0, 3, 1), T(5, 1, 3)[:, :, None], T(()), T(0, 3), T(1, 7).expand(1, 7)):
        out = torch.empty_strided(x.shape, x.stride())
        _core.sign(x, out, 1.0, 3)
        assert torch.equal(out, torch.where(x >= 0, 1.0, -1.0))


def test_a_polynomial_needs_coefficients() -> None:
    from bibench import _core

    with pytest.raises(ValueError, match="coefficients must be 1 to 20, got 0"):
        _core.even_polynomial(T(3), T(3), T(3), [], 1.0, 1)


def test_windows_are_checked() -> None:
    from bibench import _core

    x, geometry = T(2, 3, 5, 5), ((3, 3), (1, 1), (0, 0, 0, 0), (1, 1), 1)
    with pytest.raises(ValueError, match="x must be contiguous or channels-last"):
        _core.box_means(x.transpose(2, 3), T(2, 3, 3), *geometry)
    with pytest.raises(ValueError, match=r"shape \(N, H_o, W_o\), got \(2, 5, 5\)"):
        _core.box_means(x, T(2, 5, 5), *geometry)
    with pytest.raises(ValueError, match="larger than the padded input"):
        _core.box_means(x, T(2, 3, 3), (7, 7), *geometry[1:])


def test_sums_over_filters_are_checked() -> None:
    from bibench import _core

    with pytest.raises(ValueError, match="total must be contiguous with a value for each row"):
        _core.filter_scale_gradients(T(3, 5), T(3, 5), T(3), T(4), 1)
    with pytest.raises(ValueError, match="grad has the wrong shape"):
        _core.filter_scale_gradients(T(5, 3), T(3, 5), T(3), T(3), 1)


def test_rows_are_checked() -> None:
    from bibench import _core

    x, stats = T(3, 5), T(3, 4)
    with pytest.raises(ValueError, match=r"stats has the wrong shape \(3, 3\)"):
        _core.normalize(x, T(3, 5), T(3, 3), 1e-5, 1.0, True, 1)
    with pytest.raises(ValueError, match="x must be contiguous"):
        _core.normalize(T(5, 3).T, T(3, 5), stats, 1e-5, 1.0, True, 1)
    with pytest.raises(ValueError, match="x must be a matrix"):
        _core.normalize(T(3, 5, 1), T(3, 5, 1), stats, 1e-5, 1.0, True, 1)
    with pytest.raises(ValueError, match="rows must not be empty"):
        _core.normalize(T(3, 0), T(3, 0), stats, 1e-5, 1.0, True, 1)
    with pytest.raises(ValueError, match=r"grad has the wrong shape \(3, 4\)"):
        _core.normalize_backward(T(3, 4), x, stats, T(3, 5), 1e-5, 1.0, True, 1.0, 1)
    with pytest.raises(ValueError, match=r"gamma has the wrong shape \(2, 5\)"):
        _core.rescale_backward(x, x, T(2, 5), T(3, 5), T(1, 5), 1)
    with pytest.raises(ValueError, match="x must have rows"):
        _core.rescale_backward(T(0, 5), T(0, 5), T(1, 5), T(0, 5), T(1, 5), 1)
    with pytest.raises(ValueError, match=r"stats has the wrong shape \(3, 3\)"):
        _core.describe(x, T(3, 3), 1e-5, 1.0, True, 1.0, 1)
    with pytest.raises(ValueError, match=r"scale must have shape \(3\), got \(4\)"):
        _core.sign_centred(x, stats, T(4), T(3, 5), 1)
    with pytest.raises(ValueError, match=r"grad has the wrong shape \(3, 4\)"):
        _core.rectify(T(3, 4), x, stats, T(3), T(3), 1e-5, 1.0, True, 1.0, 1)
    with pytest.raises(ValueError, match="total must be contiguous with a value for each row"):
        _core.rectify(T(3, 5), x, stats, T(3), T(4), 1e-5, 1.0, True, 1.0, 1)
    with pytest.raises(ValueError, match="rows must not be empty"):
        _core.approx_sign_rows(T(3, 0), T(3, 0), T(3, 0), 1e-5, 1.0, True, 1)
    with pytest.raises(ValueError, match=r"grad has the wrong shape \(3, 4\)"):
        _core.approx_sign_rows(T(3, 4), x, T(3, 5), 1e-5, 1.0, True, 1)
    with pytest.raises(ValueError, match="rows must not be empty"):
        _core.mean_magnitudes(T(3, 0), T(3), 1)
    with pytest.raises(ValueError, match="out must be contiguous with a value for each row"):
        _core.mean_magnitudes(x, T(4), 1)
    with pytest.raises(ValueError, match=r"factors must have shape \(3\), got \(4\)"):
        _core.multiply_rows(x, T(4), T(3, 5), 1)
    kept = torch.zeros(3, 5, dtype=torch.int16)
    with pytest.raises(ValueError, match=r"gamma has the wrong shape \(2, 5\)"):
        _core.rescale_kept_backward(x, kept, T(2, 5), T(3, 5), T(1, 5), 1)
    with pytest.raises(ValueError, match=r"shift has the wrong shape \(1, 4\)"):
        _core.approx_sign_shifted(x, x, T(1, 4), T(3, 5), T(1, 5), 1)
    with pytest.raises(ValueError, match=r"shift has the wrong shape \(1, 4\)"):
        _core.sign_shifted(x, T(1, 4), T(3, 5), 1)
    with pytest.raises(ValueError, match=r"shift must have shape \(5\), got \(4\)"):
        _core.sign_shifted_rows(x, T(4), T(3, 5), 1)
    with pytest.raises(ValueError, match=r"total has the wrong shape \(1, 4\)"):
        _core.approx_sign_shifted_rows(x, x, T(5), T(3, 5), T(1, 4), 1)
    with pytest.raises(ValueError, match="x must have rows"):
        _core.approx_sign_shifted_rows(T(0, 5), T(0, 5), T(5), T(0, 5), T(1, 5), 1)
