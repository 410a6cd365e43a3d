"""Gradients by table lookup: the sums of a float convolution's gradients, in an order of their own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import bibench
from bibench.foundation.choice import choice
from bibench.kernels import lookup, native
from bibench.kernels.products import factor_gradients, product_gradients
from bibench.kernels.spec import LayerSpec, of_layer
from bibench.kernels.surrogate import STE, sign
from bibench.nn.layers import binary_layers, progress, set_backward_precision
from bibench.operators import PAPER_ORDER

from .native import ISAS, arrange, identical, needs_core

pytestmark = needs_core
LOOKUPS = [isa for isa in ISAS if isa == "avx512"]
needs_lookups = pytest.mark.skipif(not LOOKUPS, reason="this processor has no fast lookups")


def integers(*shape: int, seed: int) -> Tensor:
    """Small integers, whose sums are exact in any order; zeros of both signs among them."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(-5, 6, shape, generator=random).float()
    return torch.where(torch.rand(shape, generator=random) < 0.1, torch.tensor(-0.0), x)


def factors(spec: LayerSpec, shape: tuple[int, ...], layout: str, make: Any) -> tuple[Tensor, Tensor, Tensor]:
    """grad, v and u of a layer, for an input of `shape`."""
    weight = (spec.out_channels, spec.in_channels, *spec.kernel_size)
    if spec.spatial_axes:
        out = (shape[0], spec.out_channels, *spec.output_sizes(shape[2:]))
    else:
        out = (*shape[:-1], spec.out_channels)
    return tuple(arrange(make(*size, seed=i), layout) for i, size in enumerate((out, shape, weight)))  # type: ignore


def by_convolution(
    grad: Tensor, v: Tensor, u: Tensor, spec: LayerSpec, scale: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor]:
    """PyTorch's gradients of the float product, written out."""
    x = v + spec.per_input(shift)
    a, padding = spec.padded(torch.where(x >= 0, 1.0, -1.0).to(v.dtype))
    w = torch.where(u >= 0, 1.0, -1.0).to(u.dtype) * scale.reshape(-1, *(1,) * (u.dim() - 1))
    grad_a, grad_w = product_gradients(grad, a, w, spec, padding, (True, True))
    assert grad_a is not None and grad_w is not None
    return spec.unpadded(grad_a, v), grad_w


@needs_lookups
class TestGradients:
    @pytest.mark.parametrize("isa", [*LOOKUPS, "portable"])
    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_convolutions_of_integers_are_exact(self, isa: str, data: st.DataObject) -> None:
        kinds: list[tuple[Any, int]] = [(nn.Conv1d, 1), (nn.Conv2d, 2)]
        kind, axes = data.draw(st.sampled_from(kinds))
        sizes = st.integers(1, 3)
        layer = kind(
            data.draw(st.integers(1, 70)),
            data.draw(st.integers(1, 40)),
            tuple(data.draw(sizes) for _ in range(axes)),
            stride=tuple(data.draw(sizes) for _ in range(axes)),
            padding=tuple(data.draw(st.integers(0, 2)) for _ in range(axes)),
            dilation=tuple(data.draw(st.integers(1, 2)) for _ in range(axes)),
        )
        spec = of_layer(layer, pad_value=data.draw(st.sampled_from([0.0, 1.0, -1.0])))
        shape = (data.draw(st.integers(1, 9)), spec.in_channels, *(data.draw(st.integers(1, 14)) for _ in range(axes)))
        assume(min(spec.output_sizes(shape[2:])) >= 1)
        layout = data.draw(st.sampled_from(["contiguous", "channels_last", "sliced"]))
        self._check(isa, spec, shape, layout)

    @pytest.mark.parametrize("isa", [*LOOKUPS, "portable"])
    @pytest.mark.parametrize("shape", [(5, 33), (3, 7, 64), (1, 100), (64, 16)])
    def test_matrix_products_of_integers_are_exact(self, isa: str, shape: tuple[int, ...]) -> None:
        self._check(isa, of_layer(nn.Linear(shape[-1], 21)), shape, "contiguous")

    def _check(self, isa: str, spec: LayerSpec, shape: tuple[int, ...], layout: str) -> None:
        grad, v, u = factors(spec, shape, layout, integers)
        scale, shift = integers(spec.out_channels, seed=3), integers(spec.in_channels, seed=4)
        with native.using(isa):
            got = lookup.gradients(grad, v, u, spec, (True, True), scale=scale, shift=shift)
        for ours, theirs, like in zip(got, by_convolution(grad, v, u, spec, scale, shift), (v, u), strict=True):
            assert ours is not None and torch.equal(ours, theirs)
            assert ours.stride() == torch.empty_like(like).stride()

    def test_only_what_is_needed(self) -> None:
        spec = of_layer(nn.Linear(16, 8))
        grad, v, u = factors(spec, (6, 16), "contiguous", integers)
        both = lookup.gradients(grad, v, u, spec, (True, True))
        first, second = (lookup.gradients(grad, v, u, spec, needed) for needed in ((True, False), (False, True)))
        assert first[1] is None and second[0] is None
        assert torch.equal(first[0], both[0]) and torch.equal(second[1], both[1])  # type: ignore[arg-type]

    def test_one_scale_for_all_filters(self) -> None:
        spec = of_layer(nn.Linear(16, 8))
        grad, v, u = factors(spec, (6, 16), "contiguous", integers)
        scale = torch.tensor(3.0)
        expanded = lookup.gradients(grad, v, u, spec, (True, False), scale=scale.expand(8))
        assert torch.equal(expanded[0], 3 * lookup.gradients(grad, v, u, spec, (True, False))[0])  # type: ignore

    def test_documented_order(self) -> None:
        """((±a ± b) + (±c ± d)) for four filters, or four examples, and those one after the other."""
        spec = of_layer(nn.Linear(16, 12))
        grad, v, u = factors(spec, (8, 16), "contiguous", _normal)

        def ordered(terms: Tensor) -> Tensor:
            sums = torch.zeros_like(terms[0])
            for a, b, c, d in zip(*(terms[i::4] for i in range(4)), strict=True):
                sums = sums + ((a + b) + (c + d))
            return sums

        grad_v, grad_u = lookup.gradients(grad, v, u, spec, (True, True))
        assert identical(grad_v, ordered(grad.T[:, :, None] * sign(u)[:, None, :]))  # type: ignore[arg-type]
        assert identical(grad_u, ordered(grad[:, :, None] * sign(v)[:, None, :]))  # type: ignore[arg-type]

    @pytest.mark.parametrize("case", ["conv", "strided", "thin", "linear"])
    def test_bits_do_not_depend_on_threads_or_instruction_set(self, case: str) -> None:
        layer, shape = {
            "conv": (nn.Conv2d(64, 48, 3, padding=1), (10, 64, 9, 17)),
            "strided": (nn.Conv2d(33, 20, 3, stride=2, padding=1), (16, 33, 8, 8)),
            "thin": (nn.Conv2d(16, 4, 5, padding=2), (9, 16, 40, 3)),
            "linear": (nn.Linear(130, 70), (3, 19, 130)),
        }[case]
        spec = of_layer(layer, pad_value=1.0 if case == "thin" else 0.0)
        grad, v, u = factors(spec, shape, "channels_last", _normal)
        before, found = torch.get_num_threads(), []
        try:
            for threads in (1, 2, 7):
                torch.set_num_threads(threads)
                for isa in (*LOOKUPS, "portable"):
                    with native.using(isa):
                        found.append(lookup.gradients(grad, v, u, spec, (True, True)))
        finally:
            torch.set_num_threads(before)
        for other in found[1:]:
            assert all(identical(a, b) for a, b in zip(found[0], other, strict=True))  # type: ignore[arg-type]

    def test_as_accurate_as_a_float_convolution(self) -> None:
        spec = of_layer(nn.Conv2d(64, 64, 3, padding=1))
        grad, v, u = factors(spec, (16, 64, 16, 16), "channels_last", _normal)
        ones, zeros = torch.ones(64), torch.zeros(64)
        exact = by_convolution(grad.double(), v.double(), u.double(), spec, ones.double(), zeros.double())
        usual = by_convolution(grad, v, u, spec, ones, zeros)
        for ours, theirs, true in zip(lookup.gradients(grad, v, u, spec, (True, True)), usual, exact, strict=True):
            assert ours is not None
            assert (ours - true).abs().max() <= 2 * (theirs - true).abs().max()


def _normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class TestServing:
    """Where lookups do not serve, the gradients are those of float32, bit for bit."""

    @pytest.mark.parametrize(
        ("layer", "shape", "served"),
        [
            (nn.Conv2d(16, 8, 3), (4, 16, 5, 5), True),
            (nn.Conv1d(16, 8, 3), (4, 16, 5), True),
            (nn.Linear(16, 8), (2, 2, 16), True),
            (nn.Conv2d(16, 8, 3), (3, 16, 5, 5), False),  # too few examples
            (nn.Linear(16, 3), (8, 16), False),  # too few filters
            (nn.Conv2d(16, 8, 3, groups=2), (4, 16, 5, 5), False),
            (nn.Conv2d(16, 8, 3, padding=1, padding_mode="circular"), (4, 16, 5, 5), False),
        ],
        ids=lambda value: str(value),
    )
    def test_which(self, layer: nn.Module, shape: tuple[int, ...], served: bool) -> None:
        spec = of_layer(layer)
        v, u = torch.randn(shape), layer.get_parameter("weight").detach()
        grad = torch.ones(1)
        with torch.no_grad():
            assert lookup.serves(grad, v, u, spec) == (served and bool(LOOKUPS))
            assert not lookup.serves(grad, v.double(), u, spec)
            with native.using("portable"):
                assert not lookup.serves(grad, v, u, spec)
            with native.using(native.NONE):
                assert not lookup.serves(grad, v, u, spec)
        assert not lookup.serves(grad, v, u, spec)  # a second derivative is asked for

    @pytest.mark.parametrize("isa", ["portable", native.NONE])
    def test_elsewhere_as_float32(self, isa: str) -> None:
        spec = of_layer(nn.Conv2d(16, 8, 3, padding=1))
        how = factors(spec, (4, 16, 6, 6), "contiguous", _normal)
        with native.using(isa), torch.no_grad():
            found = [
                factor_gradients(*how, None, spec, (STE(), STE()), (True, True), way) for way in ("lookup", "float32")
            ]
        assert all(identical(a, b) for a, b in zip(found[0][:2], found[1][:2], strict=True))  # type: ignore[arg-type]

    def test_double_backward_goes_through_the_estimators(self) -> None:
        model = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1))
        bibench.binarize(model, "bireal", keep=[], example_inputs=torch.randn(1, 16, 6, 6))
        x = torch.randn(4, 16, 6, 6, requires_grad=True)
        found = []
        for way in ("float32", "lookup"):
            set_backward_precision(model, way)
            (first,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
            found.append((first, torch.autograd.grad(first.square().sum(), x)[0]))
        assert identical(found[0][0], found[1][0])
        torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-3)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.Hardtanh(),
        nn.Conv2d(16, 40, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(40),
        nn.Hardtanh(),
        nn.Conv2d(40, 24, 1),
        nn.Flatten(2),
        nn.Conv1d(24, 24, 3, padding=1),
        nn.Flatten(),
        nn.Linear(24 * 64, 32, bias=False),
        nn.BatchNorm1d(32),
        nn.Hardtanh(),
        nn.Linear(32, 10),
    )


@needs_lookups
class TestTraining:
    @pytest.mark.parametrize("operator", [*PAPER_ORDER[1:], "fda[noise=False]", "xnor[profile=original]"])
    @pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
    def test_gradients_of_every_operator(self, operator: str, memory: torch.memory_format) -> None:
        """The order of sums is all that differs: not a scale, a shift, an estimator or a layout."""
        chosen, x = choice(operator), _normal(6, 3, 16, 16, seed=0)
        torch.manual_seed(1)
        model = network()
        bibench.binarize(model, chosen.name, example_inputs=x, **chosen.options)
        model.to(memory_format=memory)  # type: ignore[call-overload]
        progress(model, 0.5, 0.01)
        found = []
        for way in ("float32", "lookup"):
            one = copy.deepcopy(model)
            set_backward_precision(one, way)
            assert {layer.backward_precision for _, layer in binary_layers(one)} == {way}
            one(x.contiguous(memory_format=memory)).square().mean().backward()
            found.append({name: p.grad for name, p in one.named_parameters() if p.grad is not None})
        assert found[0].keys() == found[1].keys()
        different, overall = 0, torch.stack([g.norm() for g in found[0].values()]).norm()
        for name, exact in found[0].items():
            difference = (found[1][name] - exact).norm()
            # Before batch norm the gradient of a scale is 0 but for rounding.
            assert difference <= 1e-4 * exact.norm() + 1e-6 * overall, name
            different += not identical(exact, found[1][name])
        # FDA's noise makes float products, which there is nothing to look up for.
        assert (different > 0) == (operator != "fda")

    def test_learns(self) -> None:
        torch.manual_seed(0)
        x, y = torch.randn(32, 3, 16, 16), torch.arange(32) % 10
        model = network()
        bibench.binarize(model, "reactnet", example_inputs=x)
        set_backward_precision(model, "lookup")
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(20):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]


class TestArguments:
    """The compiled functions, called with what they cannot take."""

    GOOD: dict[str, Any] = {
        "grad": torch.ones(4, 8, 6, 6).contiguous(memory_format=torch.channels_last),
        "x": torch.ones(4, 16, 6, 6).contiguous(memory_format=torch.channels_last),
        "shift": None,
        "out": torch.ones(8, 16, 3, 3).contiguous(memory_format=torch.channels_last),
        "stride": (1, 1),
        "padding": (1, 1, 1, 1),
        "dilation": (1, 1),
        "pad_value": 0,
        "threads": 1,
    }

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"grad": torch.ones(4, 8, 6, 6)}, "grad must be channels-last"),
            ({"x": torch.ones(4, 16, 6, 6)}, "x must be channels-last"),
            ({"grad": torch.ones(4, 8, 5, 6)}, r"grad must have shape \(4, 8, 6, 6\), got \(4, 8, 5, 6\)"),
            ({"x": torch.ones(4, 15, 6, 6)}, "weight has 16 input channels for x with 15"),
            ({"x": torch.ones(4, 16, 6)}, "x must have 4 axes"),
            ({"shift": torch.ones(15)}, r"shift must have shape \(16\)"),
            ({"stride": (0, 1)}, "stride and dilation must be at least 1"),
            ({"padding": (-1, 0, 0, 0)}, "padding must not be negative"),
            ({"pad_value": 2}, "pad_value must be 0, 1 or -1"),
            ({"dilation": (9, 9)}, "the filter is larger than the padded input"),
        ],
    )
    def test_weight_gradient(self, changed: dict[str, Any], message: str) -> None:
        from bibench import _core

        with pytest.raises(ValueError, match=message):
            _core.lookup_weight_gradient(**self.GOOD | changed)

    def test_input_gradient(self) -> None:
        from bibench import _core

        given = {name: self.GOOD[name] for name in ("grad", "stride", "padding", "dilation", "threads")}
        given |= {"weight": self.GOOD["out"], "scale": None, "out": self.GOOD["x"].clone()}
        _core.lookup_input_gradient(**given)
        with pytest.raises(ValueError, match="out must be channels-last"):
            _core.lookup_input_gradient(**given | {"out": torch.ones(4, 16, 6, 6)})
        with pytest.raises(ValueError, match=r"scale must have shape \(8\)"):
            _core.lookup_input_gradient(**given | {"scale": torch.ones(7)})
        with pytest.raises(TypeError):
            _core.lookup_input_gradient(**given | {"grad": given["grad"].double()})
