"""What operators may say in their description beyond the eight of the paper, each against its definition; and that all
computations which serve a description give the same numbers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bibench
from bibench.complexity.counting import complexity
from bibench.contracts import check
from bibench.contracts.operator import LAYERS, build, operator_of
from bibench.deploy.statement import statements
from bibench.foundation.errors import BiBenchError
from bibench.kernels.spec import LayerSpec
from bibench.nn.computing import CANDIDATES, Case, compute
from bibench.operators import Description, Gate, InferenceForm, Operator, Signs, operator
from bibench.recipes.recipe import Recipe, make_optimizer

from ..worlds import fresh_registries


class Affine(Operator):
    """Weights take the two values μ ± α: y = α (a ⊛ b) + μ (a ⊛ 1) + 1."""

    def describe(self, w: Tensor) -> Description:
        rows = w.detach().flatten(1)
        alpha, centre = rows.abs().mean(1), rows.mean(1)
        return replace(super().describe(w), scale=alpha, window=centre, offset=torch.ones_like(alpha))


class Heaviside(Operator):
    """Activations {0, 1} are ±1 with a border of -1 and a constant: a = (s + 1)/2."""

    def describe(self, w: Tensor) -> Description:
        signs = torch.where(w >= 0, 1.0, -1.0).to(w.dtype)
        total = signs.flatten(1).sum(1)
        return replace(super().describe(w), scale=torch.full_like(total, 0.5), offset=0.5 * total)


class Centred(Operator):
    """The threshold is the mean of the input, over an example or a token."""

    decays_filters = False

    def activation_signs(self) -> Signs:
        centre = "token" if self.spec.kind == "linear" else "sample"
        return replace(super().activation_signs(), centre=centre)


class Gated(Operator):
    """Real-to-Binary's gate."""

    def __init__(self, spec: LayerSpec, *, profile: str = "default") -> None:
        super().__init__(spec, profile=profile)
        hidden = max(1, spec.in_channels // 8)
        self.down = nn.Parameter(torch.randn(hidden, spec.in_channels))
        self.up = nn.Parameter(torch.randn(spec.out_channels, hidden))

    def describe(self, w: Tensor) -> Description:
        return replace(super().describe(w), gate=Gate(self.down, self.up, self.spec))


class Earlier(Operator):
    """Written against the slots before there were descriptions: factors along the map and of the input."""

    def __init__(self, spec: LayerSpec, *, profile: str = "default") -> None:
        super().__init__(spec, profile=profile)
        self.gain = nn.Parameter(torch.rand(spec.out_channels) + 0.5)

    def output_gamma(self, sizes: tuple[int, ...]) -> Tensor:
        return self.spec.per_output(self.gain).expand(-1, *sizes)

    def output_pixels(self, x: Tensor) -> Tensor:
        return x.detach().abs().mean(tuple(range(1, x.dim())), keepdim=True)

    def inference_form(self, w: Tensor) -> InferenceForm:
        signs = torch.where(w >= 0, 1.0, -1.0).to(w.dtype)
        return InferenceForm(signs, channel_scale=self.gain.detach(), activation_scale="sample")


OWN = {"affine": Affine, "heaviside": Heaviside, "centred": Centred, "gated": Gated}
"""What leaves more than 1-bit nodes carry."""


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    with fresh_registries():
        for name, cls in {**OWN, "earlier": Earlier}.items():
            operator(name)(cls)
        yield


@pytest.mark.parametrize("name", [*OWN, "earlier"])
def test_each_keeps_the_contracts(name: str) -> None:
    assert not [f for f in check("operator", name) if f.problem]


@pytest.mark.parametrize("layer", ["conv2d 3×3", "conv2d 5×3, dilation 2, groups 4", "conv1d", "linear"])
def test_window_and_offset_are_two_values_of_the_weights(layer: str) -> None:
    holder, x = build("affine", layer)
    module = holder.layer
    w, plain = module.weight.detach(), copy.deepcopy(LAYERS[layer][0])
    rows, shape = w.flatten(1), (-1, *(1,) * (w.dim() - 1))
    alpha, centre = rows.abs().mean(1).reshape(shape), rows.mean(1).reshape(shape)
    plain.weight.data = centre + alpha * torch.where(w >= 0, 1.0, -1.0)
    plain.bias = nn.Parameter(torch.ones(len(w)) + (0 if module.bias is None else module.bias.detach()))
    torch.testing.assert_close(holder(x), plain(torch.where(x >= 0, 1.0, -1.0)), rtol=1e-5, atol=1e-5)


def test_zero_and_one_are_signs_with_a_border_of_minus_one() -> None:
    module = nn.Conv2d(6, 5, 3, padding=1, bias=False)
    holder = nn.Sequential(module)
    x = torch.randn(2, 6, 7, 7)
    w = module.weight.detach().clone()
    bibench.binarize(holder, "heaviside", example_inputs=x, keep=(), pad_value=-1.0)
    expected = F.conv2d((x >= 0).float(), torch.where(w >= 0, 1.0, -1.0), padding=1)
    assert torch.equal(holder(x), expected)


def test_the_gates_published_numbers() -> None:
    x = torch.tensor([[0.3, -0.2, 0.05, -1.2], [1.7, -0.6, 0.9, 0.4]], dtype=torch.float64, requires_grad=True)
    layer = nn.Linear(4, 2, bias=False).double()
    layer.weight.data = torch.tensor([[0.5, -0.3, 0.1, -0.8], [-0.2, 0.7, -0.05, 0.25]], dtype=torch.float64)
    holder = nn.Sequential(layer)
    bibench.binarize(holder, "gated", example_inputs=x.detach(), keep=())
    op = layer.operator
    op.down.data = torch.tensor([[0.2, -0.1, 0.4, 0.3]], dtype=torch.float64)
    op.up.data = torch.tensor([[0.5], [-1.0]], dtype=torch.float64)
    y = holder(x)
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(y.tolist(), [[2.0, -2.0], [1.216518, -0.586356]], **close)
    upstream = torch.tensor([[1.0, -0.5], [0.25, 2.0]], dtype=torch.float64)
    down, up, of_x = torch.autograd.grad(y, (op.down, op.up, x), upstream)
    torch.testing.assert_close(down.flatten().tolist(), [1.510396, -0.533081, 0.799621, 0.355387], **close)
    torch.testing.assert_close(up.flatten().tolist(), [0.104843, -0.729430], **close)
    torch.testing.assert_close(of_x[1].tolist(), [0.177694, 0.345444, -0.078903, 0.700831], **close)


@pytest.mark.parametrize("name", OWN)
def test_no_1_bit_node_carries_them_and_the_reason_is_said(name: str) -> None:
    holder, _ = build(name, "conv2d 3×3")
    (stated,) = statements(holder.eval())
    words = {"affine": "window", "heaviside": "offset", "centred": "mean of the input", "gated": "gate"}
    assert words[name] in stated.refusal
    with pytest.raises(BiBenchError, match=words[name]):
        bibench.export(holder, "never.onnx", torch.zeros(1, 8, 9, 7))


def test_what_they_leave_is_counted() -> None:
    found = {}
    for name in OWN:
        model = nn.Sequential(nn.Conv2d(16, 4, 3, padding=1, bias=False))
        bibench.binarize(model, name, example_inputs=torch.randn(1, 16, 5, 5), keep=())
        (row,) = [r for r in complexity(model, torch.randn(1, 16, 5, 5)).rows if r.weight_bits == 1]
        found[name] = row
    assert found["affine"].leftovers == {"channel_scale": 4, "window": 4, "offset": 4}
    assert found["heaviside"].leftovers == {"channel_scale": 4, "offset": 4}
    assert found["centred"].leftovers == {}
    assert found["gated"].leftovers == {"gate": 2 * 16 + 4 * 2}


def test_filters_may_be_left_out_of_weight_decay() -> None:
    recipe = Recipe(epochs=1, batch_size=1, lr=0.1, weight_decay=0.01)
    decayed = {}
    for name in ("bnn", "centred"):
        holder, _ = build(name, "linear")
        groups = make_optimizer(holder, recipe).param_groups
        decayed[name] = any(p is holder.layer.weight for g in groups if g["weight_decay"] for p in g["params"])
    assert decayed == {"bnn": True, "centred": False}


@pytest.mark.parametrize("name", [n for n in bibench.operators.known_operators() if n != "fp32"])
@pytest.mark.parametrize("layer", ["conv2d 3×3", "conv2d 3×3 stride 2, bias", "conv1d", "linear"])
def test_all_computations_that_serve_give_the_same_bits(name: str, layer: str) -> None:
    """Outputs and gradients; the choice is one of speed alone. FDA without its noise, which has one way only.

    A learned scale multiplies the product of floats after it, and its filters' gradients before: last bits differ.
    """
    holder, x = build(name, layer, **({"noise": False} if name == "fda" else {}))
    op, w = operator_of(holder), holder.layer.weight
    upstream = torch.randn_like(holder(x))
    found = {}
    for candidate in CANDIDATES:
        leaf = x.clone().requires_grad_()
        y = candidate(Case(op.describe(w), leaf, w, op.spec, "float32"))
        if y is not None:
            leaves = [leaf, w, *(p for p in op.parameters() if p.requires_grad)]
            found[candidate.__name__] = [y.detach(), *torch.autograd.grad(y, leaves, upstream)]
    assert "sign_product" in found and "float_product" in found
    floats = found.pop("float_product")
    first, *others = found.values()
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert torch.equal(first[0], floats[0])
    same = torch.equal if name != "recu" else lambda a, b: torch.allclose(a, b, rtol=1e-5, atol=1e-4)
    assert all(same(a, b) for a, b in zip(first, floats, strict=True))


def test_the_first_that_serves_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def noted(candidate):
        def run(case: Case) -> Tensor | None:
            y = candidate(case)
            if y is not None:
                taken.append(candidate.__name__)
            return y

        return run

    monkeypatch.setattr("bibench.nn.computing.CANDIDATES", tuple(map(noted, CANDIDATES)))
    expected = {"bnn": "sign_product", "recu": "rectified_product", "fda": "float_product"}
    for name, kind in expected.items():
        taken.clear()
        holder, x = build(name, "conv2d 3×3")
        op, w = operator_of(holder), holder.layer.weight
        taken.clear()
        compute(Case(op.describe(w), x, w, op.spec, "float32"))
        assert taken == [kind]
