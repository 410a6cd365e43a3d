"""Every kernel of every instruction set this processor has equals its definition in PyTorch, bit for bit."""

import ast
import importlib
import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import bibench
from bibench.kernels import native, products
from bibench.kernels.input_scale import activation_scale
from bibench.kernels.rows import (
    BehindScaling,
    Scaling,
    fold,
    mean_magnitudes,
    multiply_pixels,
    rescale,
    scale_rows,
    scaled_signs,
)
from bibench.kernels.spec import LayerSpec
from bibench.kernels.surrogate import IDENTITY, STE, Fourier, Polynomial, binarize, sign, sign_and_pass

from .native import ISAS, LAYOUTS, arrange, equal, identical, needs_core, values

pytestmark = needs_core

seeds = st.integers(0, 2**31)
layouts = st.sampled_from(LAYOUTS)
batches = st.sampled_from([0, 1, 1, 2, 3, 9])
channel_counts = st.one_of(st.integers(1, 40), st.sampled_from([31, 32, 33, 64, 65, 96, 130, 257]))


def signs(x: Tensor) -> Tensor:
    """The definition, in float64 so that no fast algorithm of a float32 convolution can interfere."""
    return torch.where(x >= 0, 1.0, -1.0).double()


@st.composite
def convolutions(draw: st.DrawFn, axes: int) -> tuple[LayerSpec, tuple[int, ...]]:
    """A layer and the shape of an input that fits it."""
    kernel = tuple(draw(st.one_of(st.integers(1, 4), st.integers(5, 9))) for _ in range(axes))
    stride = tuple(draw(st.integers(1, 3)) for _ in range(axes))
    dilation = tuple(draw(st.sampled_from([1, 1, 1, 2, 3])) for _ in range(axes))
    padding = tuple(draw(st.sampled_from([0, 0, 1, 2, 3, 5])) for _ in range(2 * axes))
    style = draw(st.sampled_from(["plain", "plain", "grouped", "depthwise", "pointwise"]))
    groups = 1
    if style == "depthwise":
        into = out = groups = draw(st.integers(1, 70))
    else:
        groups = draw(st.integers(2, 4)) if style == "grouped" else 1
        into, out = groups * draw(channel_counts), groups * draw(st.integers(1, 40))
    if style == "pointwise":
        kernel = (1,) * axes
    size = []
    for axis, (k, d) in enumerate(zip(kernel, dilation, strict=True)):
        low, high = padding[2 * (axes - 1 - axis)], padding[2 * (axes - 1 - axis) + 1]
        size.append(max(1, d * (k - 1) + 1 - low - high) + draw(st.integers(0, 11)))
    spec = LayerSpec(
        kind="conv2d" if axes == 2 else "conv1d",
        in_channels=into,
        out_channels=out,
        kernel_size=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        pad_value=draw(st.sampled_from([0.0, 1.0, -1.0])),
    )
    return spec, (draw(batches), into, *size)


def defined(x: Tensor, w: Tensor, spec: LayerSpec) -> Tensor:
    """The integer products by a float64 convolution of padded signs."""
    function = F.conv2d if spec.kind == "conv2d" else F.conv1d
    padded = F.pad(signs(x), spec.padding, value=spec.pad_value)
    return function(padded, signs(w), None, spec.stride, 0, spec.dilation, spec.groups).float()


def check_convolution(spec: LayerSpec, shape: tuple[int, ...], seed: int, x_layout: str, w_layout: str) -> None:
    x = arrange(values(*shape, seed=seed), x_layout)
    fan = (spec.out_channels, spec.in_channels // spec.groups, *spec.kernel_size)
    w = arrange(values(*fan, seed=seed + 1), w_layout)
    scale = values(spec.out_channels, seed=seed + 2, special=False)
    exact = defined(x, w, spec)
    for isa in ISAS:
        with native.using(isa):
            assert native.serves(x, w, scale)
            assert torch.equal(native.convolve(x, w, None, spec), exact), isa
            assert equal(native.convolve(x, w, scale, spec), exact * spec.per_output(scale)), isa


@settings(max_examples=200)
@given(convolutions(2), seeds, layouts, layouts)
def test_conv2d(case: tuple[LayerSpec, tuple[int, ...]], seed: int, x_layout: str, w_layout: str) -> None:
    check_convolution(*case, seed, x_layout, w_layout)


@settings(max_examples=100)
@given(convolutions(1), seeds, layouts, layouts)
def test_conv1d(case: tuple[LayerSpec, tuple[int, ...]], seed: int, x_layout: str, w_layout: str) -> None:
    check_convolution(*case, seed, x_layout, w_layout)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
@pytest.mark.parametrize(
    "channels, size, kernel, stride, dilation, padding",
    [
        ((64, 24), (30, 29), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
        ((33, 16), (41, 60), (3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
        ((5, 7), (35, 64), (3, 2), (3, 2), (2, 1), (0, 1, 2, 0)),
        ((70, 9), (28, 28), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((40, 20), (17, 67), (1, 1), (2, 2), (1, 1), (0, 0, 0, 0)),
        ((8, 3), (9, 100), (5, 5), (1, 1), (1, 1), (2, 2, 2, 2)),
        ((32, 8), (1, 50), (1, 3), (1, 3), (1, 1), (1, 1, 0, 0)),
    ],
    ids=str,
)
def test_wide_maps(channels, size, kernel, stride, dilation, padding, value: float, threads: int) -> None:
    """Maps whose pixels fill registers have kernels of their own; bands of them fall to several threads."""
    spec = LayerSpec("conv2d", *channels, kernel, stride, padding, dilation, pad_value=value)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check_convolution(spec, (2, channels[0], *size), 0, LAYOUTS[0], LAYOUTS[0])
        check_convolution(spec, (1, channels[0], *size), 1, LAYOUTS[0], LAYOUTS[0])
    finally:
        torch.set_num_threads(before)


@settings(max_examples=120)
@given(
    st.lists(st.integers(0, 5), max_size=3),
    st.one_of(channel_counts, st.integers(900, 4500)),
    st.integers(1, 70),
    seeds,
    st.sampled_from(["contiguous", "transposed", "sliced"]),
)
def test_linear(batch: list[int], into: int, out: int, seed: int, layout: str) -> None:
    spec = LayerSpec(kind="linear", in_channels=into, out_channels=out)
    x, w = arrange(values(*batch, into, seed=seed), layout), arrange(values(out, into, seed=seed + 1), layout)
    scale = values(out, seed=seed + 2, special=False)
    exact = (signs(x) @ signs(w).T).float()
    for isa in ISAS:
        with native.using(isa):
            assert torch.equal(native.convolve(x, w, None, spec), exact), isa
            assert identical(native.convolve(x, w, scale, spec), exact * scale), isa


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels, kernel", [(512, 3), (64, 7), (40, 15), (1, 64), (2048, 1)])
def test_long_filters_do_not_overflow(isa: str, channels: int, kernel: int) -> None:
    """All signs agree or all disagree: the largest counts there are, in words, bytes and depthwise sums."""
    spec = LayerSpec("conv2d", channels, 20, (kernel, kernel), (1, 1), (0,) * 4, (1, 1))
    x, w = torch.ones(1, channels, kernel + 1, kernel + 1), torch.ones(20, channels, kernel, kernel)
    w[::2] = -1
    with native.using(isa):
        got = native.convolve(x, w, None, spec)
    assert torch.equal(
        got, (channels * kernel * kernel * torch.tensor([-1.0, 1.0] * 10)).view(1, 20, 1, 1).expand_as(got)
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kernel", [127, 128, 130])
def test_depthwise_sums_of_very_large_filters(isa: str, kernel: int) -> None:
    """Up to 2^14 weights fit 16-bit sums; longer filters take the general way."""
    spec = LayerSpec("conv2d", 2, 2, (kernel, kernel), (1, 1), (1,) * 4, (1, 1), groups=2, pad_value=-1)
    x, w = torch.ones(1, 2, kernel, kernel), torch.ones(2, 1, kernel, kernel)
    with native.using(isa):
        assert torch.equal(native.convolve(x, w, None, spec), defined(x, w, spec))


@settings(max_examples=100)
@given(convolutions(2), seeds, *[st.booleans()] * 6)
def test_epilogue(
    case, seed: int, x_last: bool, w_last: bool, out_last: bool, shifted: bool, scaled: bool, biased: bool
):
    """scale · (sign(x + shift) ⊛ sign(w)) + bias, every step rounded as PyTorch rounds it; the output in any layout."""
    from bibench import _core

    spec, shape = case
    last = {True: torch.channels_last, False: torch.contiguous_format}
    fan = (spec.out_channels, spec.in_channels // spec.groups, *spec.kernel_size)
    x = values(*shape, seed=seed).contiguous(memory_format=last[x_last])
    w = values(*fan, seed=seed + 1).contiguous(memory_format=last[w_last])
    shift = values(spec.in_channels, seed=seed + 2, special=False) if shifted else None
    scale = values(spec.out_channels, seed=seed + 3, special=False) if scaled else None
    bias = values(spec.out_channels, seed=seed + 4, special=False) if biased else None
    exact = defined(x if shift is None else x + shift.view(-1, 1, 1), w, spec)
    if scale is not None:
        exact = exact * scale.view(-1, 1, 1)
    if bias is not None:
        exact = exact + bias.view(-1, 1, 1)
    left, right, top, bottom = spec.padding
    for isa in ISAS:
        out = torch.full(exact.shape, math.nan).contiguous(memory_format=last[out_last])
        with native.using(isa):
            _core.convolve(
                x,
                w,
                out,
                spec.stride,
                (top, bottom, left, right),
                spec.dilation,
                spec.groups,
                int(spec.pad_value),
                shift,
                scale,
                bias,
                2,
            )
        assert equal(out, exact), isa


def strides(x: Tensor) -> list[int]:
    """Those that matter: of axes with more than one element."""
    return [stride for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1 and x.numel()]


@settings(max_examples=120)
@given(st.integers(1, 2), st.data(), seeds, layouts, layouts)
def test_outputs_and_gradients_have_the_strides_of_the_pure_path(axes, data, seed, x_layout, w_layout) -> None:
    """What follows a layer (normalization, pooling) then runs in the same order, and gives the same bits."""
    spec, shape = data.draw(convolutions(axes))
    fan = (spec.out_channels, spec.in_channels // spec.groups, *spec.kernel_size)
    x, w = arrange(values(*shape, seed=seed, special=False), x_layout), arrange(values(*fan, seed=seed + 1), w_layout)

    def run(isa: str) -> list[Tensor]:
        leaves = [x.detach().requires_grad_(), w.detach().requires_grad_()]
        with native.using(isa):
            y = products.SignProduct.apply(*leaves, None, spec, (STE(), Polynomial()), "float32")
            return [y, *torch.autograd.grad(y, leaves, values(*y.shape, seed=seed + 2))]

    for ours, pure in zip(run(ISAS[0]), run(native.NONE), strict=True):
        assert equal(ours, pure)
        assert strides(ours) == strides(pure)


@st.composite
def operands(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of attention, as views of all kinds."""
    b, h, m, n = draw(batches), draw(st.integers(1, 3)), draw(st.integers(1, 20)), draw(st.integers(1, 40))
    d, seed = draw(st.one_of(st.integers(1, 70), st.integers(1000, 1300))), draw(seeds)
    shapes = {"q": (b, h, m, d), "k": (b, h, n, d), "v": (b, h, n, d)}
    made = []
    for offset, shape in enumerate(shapes.values()):
        style = draw(st.sampled_from(["contiguous", "heads inside", "transposed", "sliced", "expanded"]))
        x = values(*shape, seed=seed + offset)
        if style == "heads inside":  # (B, M, H, D) as from one projection
            x = x.transpose(1, 2).contiguous().transpose(1, 2)
        elif style == "transposed":
            x = x.mT.contiguous().mT
        elif style == "sliced":
            x = F.pad(x, (3, 5), value=math.nan)[..., 3:-5]
        elif style == "expanded":
            x = x[:, :1].expand(shape)
        made.append(x)
    q, k, v = made
    return q, k, v


@settings(max_examples=200)
@given(operands(), seeds)
def test_attention_products(case: tuple[Tensor, Tensor, Tensor], seed: int) -> None:
    q, k, v = case
    mask = (values(*q.shape[:-1], k.shape[-2], seed=seed) > 0.3).float()
    scores, context = (signs(q) @ signs(k).mT).float(), (mask.double() @ signs(v)).float()
    strided = mask.transpose(-1, -2).contiguous().transpose(-1, -2)
    for isa in ISAS:
        with native.using(isa):
            assert torch.equal(native.scores(q, k), scores), isa
            assert torch.equal(native.context(mask, v), context), isa
            assert torch.equal(native.context(strided, v), context), isa


SURROGATES = [
    STE(),
    STE(clip=0.5),
    IDENTITY,
    Polynomial(),
    Fourier(9),
    Fourier(13),
    Fourier(17),
    Fourier(17, first_lobe=True),
    Fourier(2, omega=0.3, clip=2.0),
]
shapes = st.one_of(
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
    st.integers(1, 5000).map(lambda n: (n,)),
    st.just((3, 70, 20, 20)),  # more than one thread's share
)


@pytest.mark.parametrize("surrogate", SURROGATES, ids=str)
@settings(max_examples=40)
@given(shapes, seeds, layouts, st.booleans())
def test_surrogate_gradients(surrogate, shape: tuple[int, ...], seed: int, layout: str, own: bool) -> None:
    assert surrogate.kernel() is not None
    layout = layout if len(shape) else "contiguous"
    x, grad = (arrange(values(*shape, seed=seed + i), layout) for i in range(2))
    with torch.no_grad():
        pure = grad * surrogate.gradient(x)
        for isa in ISAS:
            with native.using(isa):
                assert identical(surrogate.backward(grad.clone(), x, own=own), pure), isa


@settings(max_examples=100)
@given(shapes, seeds, layouts)
def test_sign(shape: tuple[int, ...], seed: int, layout: str) -> None:
    x = arrange(values(*shape, seed=seed), layout if len(shape) else "contiguous")
    expected = torch.where(x >= 0, 1.0, -1.0)
    for isa in ISAS:
        with native.using(isa):
            got = sign(x)
            assert identical(got, expected), isa
            assert strides(got) == strides(expected)
            for clip in (1.0, 3.0, math.inf):
                within = native.same_memory(x) and bool((x.abs() <= clip).all())
                assert sign_and_pass(x, STE(clip))[1] == within
            assert not x.numel() or not sign_and_pass(x, Polynomial())[1]


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5), st.booleans(), seeds)
def test_scaled_signs(out: int, into: int, kernel: int, last: bool, seed: int) -> None:
    w = values(out, into, kernel, kernel, seed=seed)
    w = w.contiguous(memory_format=torch.channels_last) if last else w
    scale = values(out, seed=seed + 1)
    expected = torch.where(w >= 0, 1.0, -1.0) * scale.view(-1, 1, 1, 1)
    for isa in (*ISAS, native.NONE):
        with native.using(isa):
            got, passes = scaled_signs(w, scale, STE())
            assert identical(got, expected), isa
            assert passes == (isa != native.NONE and bool((w.abs() <= 1).all())), isa
            assert strides(got) == strides(w)


@pytest.mark.parametrize("isa", ISAS)
def test_values_inside_the_window_keep_their_gradient(isa: str) -> None:
    """Whole blocks of them are left as they are; one value outside is found wherever it is."""
    x = torch.full((3000,), 0.5)
    for place in (None, 0, 511, 512, 2999):
        if place is not None:
            x[place] = -1.5
        grad = values(3000, seed=1)
        for own in (True, False):
            with native.using(isa), torch.no_grad():
                assert identical(STE().backward(grad.clone(), x, own=own), grad * (x.abs() <= 1))


def runs(function, *leaves: Tensor, seed: int) -> dict[str, list[Tensor]]:
    """Value and gradients of ``function(*leaves)`` on every instruction set and on PyTorch alone."""
    found = {}
    for isa in (*ISAS, native.NONE):
        own = [t.detach().requires_grad_() for t in leaves]
        with native.using(isa):
            y = function(*own)
            found[isa] = [
                y,
                *torch.autograd.grad(
                    y, own, values(*y.shape, seed=seed, special=False).as_strided_(y.size(), y.stride())
                ),
            ]
    return found


@settings(max_examples=200)
@given(
    st.integers(0, 40),
    st.one_of(st.integers(1, 40), st.integers(1, 3000)),
    st.booleans(),
    st.sampled_from([1.0, 2 * math.sqrt(2)]),
    st.sampled_from([math.inf, 0.9, 3.0]),
    st.booleans(),
    seeds,
)
def test_standardized_rows(rows: int, n: int, centre: bool, deviation: float, clip: float, special: bool, seed: int):
    if clip != math.inf:  # only weights are clamped, which are never empty
        rows += 1
    x = values(rows, n, seed=seed, special=special)
    found = runs(lambda x: scale_rows(x, Scaling(deviation, centre=centre), clip), x, seed=seed + 1)
    for isa in ISAS:
        assert all(identical(a, b) for a, b in zip(found[isa], found[native.NONE], strict=True)), isa


@pytest.mark.parametrize("centre", [True, False])
def test_standardized_rows_have_the_deviation_they_should(centre: bool) -> None:
    x = values(5, 1000, seed=1, special=False) * 3 + 0.1
    got = scale_rows(x, Scaling(2.0, centre=centre))
    torch.testing.assert_close(got.std(1), torch.full((5,), 2.0), rtol=1e-4, atol=0)
    expected = (x - x.mean(1, keepdim=True) if centre else x) * 2 / x.std(1, keepdim=True)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=100)
@given(st.integers(0, 20), st.integers(1, 30), st.integers(1, 12), st.integers(1, 12), st.booleans(), seeds)
def test_learned_scales(n: int, c: int, h: int, w: int, last: bool, seed: int) -> None:
    y = values(n, c, h, w, seed=seed, special=False)
    y = y.contiguous(memory_format=torch.channels_last) if last else y
    found = runs(rescale, y, values(c, h, 1, seed=seed + 1, special=False), seed=seed + 2)
    for isa in ISAS:
        assert all(identical(a, b) for a, b in zip(found[isa], found[native.NONE], strict=True)), isa
    assert torch.equal(found[native.NONE][0], y * values(c, h, 1, seed=seed + 1, special=False))


@settings(max_examples=100)
@given(st.integers(0, 20), st.integers(1, 300), st.booleans(), seeds)
def test_mean_magnitudes(rows: int, n: int, special: bool, seed: int) -> None:
    n = 32 * n if seed % 2 else n
    x = values(rows, n, seed=seed, special=special)
    pure = fold(x.abs())[:, 0] / n
    for isa in ISAS:
        with native.using(isa):
            assert identical(mean_magnitudes(x), pure), isa


@settings(max_examples=100)
@given(st.integers(0, 6), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.booleans(), seeds)
def test_factors_of_pixels(n: int, c: int, h: int, w: int, last: bool, seed: int) -> None:
    y, factor = values(n, c, h, w, seed=seed, special=False), values(n, 1, h, w, seed=seed + 1)
    y = y.contiguous(memory_format=torch.channels_last) if last else y
    found = runs(lambda y: multiply_pixels(y, factor), y, seed=seed + 2)
    for isa in ISAS:
        assert all(identical(a, b) for a, b in zip(found[isa], found[native.NONE], strict=True)), isa
        assert all(a.stride() == b.stride() for a, b in zip(found[isa], found[native.NONE], strict=True)), isa


@settings(max_examples=60)
@given(convolutions(2), st.booleans(), seeds)
def test_means_over_windows(case: tuple[LayerSpec, tuple[int, ...]], last: bool, seed: int) -> None:
    spec, shape = case
    x = values(*shape, seed=seed, special=False)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    found = {}
    for isa in (*ISAS, native.NONE):
        with native.using(isa):
            found[isa] = activation_scale(x, spec, "spatial")
    for isa in ISAS:
        assert identical(found[isa], found[native.NONE]), isa


@pytest.mark.parametrize("by_token", [True, False])
@settings(max_examples=50)
@given(st.integers(0, 5), st.integers(1, 40), st.integers(1, 12), st.booleans(), st.booleans(), seeds)
def test_estimators_behind_scaling(by_token: bool, n: int, c: int, h: int, last: bool, centre: bool, seed: int) -> None:
    x = values(n, c, h, 3, seed=seed, special=False)
    x = x.contiguous(memory_format=torch.channels_last) if last and not by_token else x
    estimator = BehindScaling(Scaling(centre=centre), Polynomial(), by_token=by_token)
    found = runs(lambda x: binarize(x, estimator), x, seed=seed + 1)
    for isa in ISAS:
        assert all(identical(a, b) for a, b in zip(found[isa], found[native.NONE], strict=True)), isa


def test_an_estimator_behind_scaling_has_the_gradient_of_the_scaled_values() -> None:
    x = values(3, 8, 4, 4, seed=2, special=False).mul(3).requires_grad_()
    how, upstream = Scaling(centre=False), values(3, 8, 4, 4, seed=3, special=False)
    (got,) = torch.autograd.grad(binarize(x, BehindScaling(how, Polynomial())), x, upstream)
    scaled = binarize(x / x.flatten(1).std(1)[:, None, None, None], Polynomial())
    (expected,) = torch.autograd.grad(scaled, x, upstream)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


FUSED = ("xnor", "xnorpp", "reactnet")


@pytest.mark.parametrize("name", (*FUSED, "recu", "fda"))
@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(3, 9),
    st.integers(1, 2),
    st.booleans(),
    seeds,
)
def test_what_is_done_with_the_product(
    name: str, n: int, into: int, out: int, size: int, stride: int, last: bool, seed: int
) -> None:
    """Values, gradients and second derivatives of layers with shifts, factors and noise, most in the convolution."""
    torch.manual_seed(seed)
    layer = torch.nn.Conv2d(into, out, 3, stride=stride, padding=1)
    x = values(n, into, size, size + 1, seed=seed, special=False)
    if last:
        x, layer = x.contiguous(memory_format=torch.channels_last), layer.to(memory_format=torch.channels_last)
    bibench.binarize(layer, name, example_inputs=x, keep=())
    bibench.progress(layer, 0.3, 0.1)
    for p in layer.parameters():
        p.data.add_(torch.randn_like(p), alpha=0.1)
    own = [x.requires_grad_(), *layer.parameters()]
    found = {}
    for isa in (*ISAS, native.NONE):
        with native.using(isa):
            y = layer(x)
            assert ("_Fused" in repr(_ancestors(y))) is (isa != native.NONE and name in FUSED)
            first = torch.autograd.grad(y, own, y.detach().cos(), retain_graph=True)
            again = torch.autograd.grad(y, own, y.detach().cos(), create_graph=True)
            second = torch.autograd.grad(sum((g * g).sum() for g in again), own, allow_unused=True)
        found[isa] = [y, *first, *again, *(torch.zeros(()) if g is None else g for g in second)]
    for isa in ISAS:
        assert all(equal(a, b) for a, b in zip(found[isa], found[native.NONE], strict=True)), isa


def _ancestors(y: Tensor) -> list[str]:
    """Names of the two latest functions that made y: a bias is added last."""
    node = y.grad_fn
    return [type(node).__name__, *(type(f).__name__ for f, _ in node.next_functions)]


def test_the_kernels_are_chosen_by_name() -> None:
    before = native.isa()
    for isa in (*ISAS, native.NONE):
        with native.using(isa):
            assert native.isa() == isa
    assert native.isa() == before
    assert ISAS[-1] == "portable"
    with pytest.raises(ValueError, match="no kernels named 'mmx'"), native.using("mmx"):
        pass
    assert native.isa() == before


def test_the_stub_has_the_functions_of_the_module_and_their_arguments() -> None:
    core = importlib.import_module("bibench._core")
    stub = ast.parse(Path(native.__file__).parents[1].joinpath("_core.pyi").read_text(encoding="utf-8"))
    stated = {f.name: [a.arg for a in f.args.args] for f in stub.body if isinstance(f, ast.FunctionDef)}
    signatures = {name: getattr(core, name).__doc__.splitlines()[0] for name in dir(core) if not name.startswith("_")}
    assert stated == {name: re.findall(r"(\w+): ", text) for name, text in signatures.items()}
