"""Quantizers of k bits: forward and backward against the papers' formulas, starts, bits, and what a padding is."""

import math

import pytest
import torch
from torch import Tensor, nn

import bibench
from bibench.comparators.dorefa_k import DoReFaK
from bibench.comparators.lsq import LSQ, Step
from bibench.comparators.pact import PACT
from bibench.comparators.uniform import to_levels
from bibench.foundation.errors import BiBenchError
from bibench.kernels.spec import LayerSpec

SPEC = LayerSpec("linear", in_channels=6, out_channels=4)
BITS = (2, 3, 4, 8)


def gradients(y: Tensor, upstream: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(y, leaves, upstream)


def spread(count: int = 401, bound: float = 2.0) -> Tensor:
    return torch.linspace(-bound, bound, count, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("bits", BITS)
class TestDoReFa:
    def test_activations_forward(self, bits: int) -> None:
        x, n = spread(), 2**bits - 1
        expected = [2 * round((min(max(v, -1), 1) + 1) / 2 * n) / n - 1 for v in x.tolist()]
        assert torch.allclose(DoReFaK(SPEC, bits=bits).quantize_activation(x), x.new_tensor(expected))

    def test_activations_of_the_original(self, bits: int) -> None:
        x, n = spread(), 2**bits - 1
        y = DoReFaK(SPEC, bits=bits, profile="original").quantize_activation(x)
        assert torch.allclose(y, x.new_tensor([round(min(max(v, 0), 1) * n) / n for v in x.tolist()]))
        upstream = torch.randn_like(x)
        assert torch.allclose(gradients(y, upstream, x)[0], upstream * ((x >= 0) & (x <= 1)))

    def test_activations_backward(self, bits: int) -> None:
        x = spread()
        upstream = torch.randn_like(x)
        (got,) = gradients(DoReFaK(SPEC, bits=bits).quantize_activation(x), upstream, x)
        assert torch.allclose(got, upstream * (x.abs() <= 1))

    def test_weights(self, bits: int) -> None:
        """Eq. 9; the gradient is that of the formula without the rounding, the maximum's included."""
        w = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
        n, upstream = 2**bits - 1, torch.randn(4, 6, dtype=torch.float64)
        y = DoReFaK(SPEC, bits=bits).quantize_weight(w)
        smooth = torch.tanh(w) / torch.tanh(w).abs().max()
        assert torch.allclose(y, 2 * torch.round((smooth / 2 + 0.5) * n) / n - 1)
        assert torch.allclose(gradients(y, upstream, w)[0], gradients(smooth, upstream, w)[0])


def test_one_step_between_levels() -> None:
    assert to_levels(torch.tensor([0.0, 0.16, 0.17, 0.5, 0.84, 1.0]), 3).mul(3).tolist() == [0, 0, 1, 2, 3, 3]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("signed", [True, False])
def test_pact(bits: int, signed: bool) -> None:
    """Eq. 2-3 with α inside the range of the inputs, the values on ±α included."""
    op = PACT(SPEC, bits=bits, decay=0.0, profile="default" if signed else "original").eval().double()
    with torch.no_grad():
        op.alpha.fill_(0.8)
    x, n = torch.cat([spread().detach(), torch.tensor([0.8, -0.8]).double()]).requires_grad_(), 2**bits - 1
    y, alpha = op.quantize_activation(x), 0.8
    if signed:
        expected = [alpha * (2 * round((min(max(v, -alpha), alpha) / alpha + 1) / 2 * n) / n - 1) for v in x.tolist()]
    else:
        expected = [round(min(max(v, 0), alpha) * n / alpha) * alpha / n for v in x.tolist()]
    assert torch.allclose(y, x.new_tensor(expected))
    upstream = torch.randn_like(x)
    for_x, for_alpha = gradients(y, upstream, x, op.alpha)
    bound = op.alpha.detach()
    low = x <= -bound if signed else x < 0
    assert torch.equal(for_x, upstream * ~((x >= bound) | low))
    below = upstream[low].sum() if signed else 0
    assert torch.allclose(for_alpha, upstream[x >= bound].sum() - below)


def test_the_penalty_of_pact_is_the_derivative_of_the_squared_bound() -> None:
    x = torch.randn(50)
    free, decayed = (PACT(SPEC, decay=d).eval() for d in (0.0, 0.25))
    found = []
    for op in (free, decayed):
        with torch.no_grad():
            op.alpha.fill_(1.5)
        op.quantize_activation(x).sum().backward()
        found.append(float(op.alpha.grad))
    assert found[1] - found[0] == pytest.approx(0.25 * 1.5)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("relative", [True, False])
def test_lsq(bits: int, relative: bool) -> None:
    """Eq. 1-3 and 5, and the scale of section 2.2."""
    low, high, s = 2 ** (bits - 1), 2 ** (bits - 1) - 1, 0.3
    step = Step(low, high, relative).double()
    with torch.no_grad():
        step.initial.fill_(s)
    v, upstream = spread(bound=1.5 * low * s), torch.randn(401, dtype=torch.float64)
    y = step(v, count=50)
    assert torch.allclose(y, v.new_tensor([min(max(round(i / s), -low), high) * s for i in v.tolist()]))
    for_v, for_step = gradients(y, upstream, v, step.step)
    ratio = v.detach() / s
    inside = (ratio > -low) & (ratio < high)
    assert torch.equal(for_v, upstream * inside)
    of_s = torch.where(inside, torch.round(ratio) - ratio, ratio.clamp(-low, high))
    expected = (upstream * of_s).sum() / math.sqrt(50 * high)
    assert torch.allclose(for_step, expected * (s if relative else 1))  # by the chain rule: s = unit · step


def test_levels_of_lsq() -> None:
    signed, unsigned = LSQ(SPEC, bits=4), LSQ(SPEC, bits=4, profile="original")
    assert (signed.weights.low, signed.weights.high) == (unsigned.weights.low, unsigned.weights.high) == (8, 7)
    assert (signed.activations.low, signed.activations.high) == (8, 7)
    assert (unsigned.activations.low, unsigned.activations.high) == (0, 15)


@pytest.mark.parametrize("profile", ["default", "original"])
class TestStart:
    def layer(self, profile: str) -> nn.Linear:
        layer = nn.Sequential(nn.Linear(6, 4))
        bibench.binarize(layer, "lsq", example_inputs=torch.randn(2, 6), keep=(), bits=4, profile=profile)
        return layer[0]

    def test_weights_start_from_the_converted_weight(self, profile: str) -> None:
        layer = self.layer(profile)
        expected = 2 * layer.weight.abs().mean() / math.sqrt(7)
        assert torch.allclose(layer.operator.weights.value, expected)

    def test_activations_start_from_the_first_training_batch_alone(self, profile: str) -> None:
        layer, x = self.layer(profile), 5 * torch.rand(32, 6)
        before = layer.operator.activations.value.clone()
        layer.eval()(x)
        assert torch.equal(layer.operator.activations.value, before)
        high = layer.operator.activations.high
        layer.train()(0 * x)  # tells nothing
        layer(x)
        assert torch.allclose(layer.operator.activations.value, 2 * x.mean() / math.sqrt(high))
        layer(100 * x)
        assert torch.allclose(layer.operator.activations.value, 2 * x.mean() / math.sqrt(high))

    def test_a_loaded_start_stays(self, profile: str) -> None:
        trained, fresh = self.layer(profile), self.layer(profile)
        trained(torch.randn(8, 6))
        fresh.load_state_dict(trained.state_dict())
        fresh.train()(100 * torch.randn(8, 6))
        assert torch.equal(fresh.operator.activations.value, trained.operator.activations.value)

    def test_the_bound_of_pact_starts_at_the_largest_input(self, profile: str) -> None:
        op = PACT(SPEC, profile=profile).train()
        op.quantize_activation(torch.tensor([[0.5, -3.0, 2.0]]))
        assert op.alpha.item() == 3.0


@pytest.mark.parametrize("name", ["dorefa_k", "pact", "lsq"])
class TestAll:
    def test_zero_padding_is_zero_whatever_a_sign_is_padded_with(self, name: str) -> None:
        outputs = []
        for pad in (0.0, 1.0):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
            x = torch.randn(2, 3, 5, 5)
            bibench.binarize(model, name, example_inputs=x, keep=(), pad_value=pad)
            outputs.append(model.eval()(x))
        assert torch.equal(*outputs)

    def test_more_bits_are_closer_to_full_precision(self, name: str) -> None:
        model = nn.Sequential(nn.Linear(64, 32))
        x = torch.randn(16, 64).clamp(-1, 1)
        errors = []
        for bits in (2, 4, 8, 12):
            spec = LayerSpec("linear", 64, 32)
            op = bibench.OPERATORS[name](spec, bits=bits)
            with torch.no_grad():
                op.reset_parameters(model[0].weight)
                errors.append(float((op.train().quantize_activation(x) - x).abs().mean()))
        assert errors == sorted(errors, reverse=True) and errors[-1] < 0.05 * errors[0]

    @pytest.mark.parametrize("bits", [1, 17, 2.0, True, "2"])
    def test_bits_out_of_range(self, name: str, bits: object) -> None:
        with pytest.raises(BiBenchError, match=f"{name}.*bits must be an integer from 2 to 16"):
            bibench.OPERATORS[name](SPEC, bits=bits)

    def test_the_audit_tells_the_bits(self, name: str) -> None:
        model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2))
        audit = bibench.binarize(model, name, example_inputs=torch.randn(1, 6), bits=4)
        assert [row.precision for row in audit.rows] == ["W32A32", "W4A4", "W32A32"]
        assert audit.parameters_by_bits()[4] == 42
        assert "0 of 3 weight layers binarized" in audit.summary() and "1 quantized (W4A4)" in audit.summary()

    def test_attention_stays_as_it_is(self, name: str) -> None:
        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.linear, self.attention = nn.Linear(8, 8), bibench.nn.attention.Attention()

            def forward(self, x: Tensor) -> Tensor:
                return self.attention(self.linear(x), x, x)

        model = Block()
        audit = bibench.binarize(model, name, example_inputs=torch.randn(1, 3, 8), keep=())
        assert type(model.attention) is bibench.nn.attention.Attention
        assert {r.name: r.precision for r in audit.rows} == {"linear": "W2A2", "attention": "W32A32"}

    def test_sixteen_bit_inputs_are_quantized_in_full(self, name: str) -> None:
        op = bibench.OPERATORS[name](SPEC, bits=8).eval()
        x = torch.linspace(-1, 1, 1000).bfloat16()
        assert torch.equal(op.quantize_activation(x), op.quantize_activation(x.float()))

    @pytest.mark.parametrize("profile", ["default", "original"])
    @pytest.mark.parametrize("bits", BITS)
    @pytest.mark.parametrize("kind", ["linear", "conv"])
    def test_integers_and_one_factor_are_what_is_left_at_inference(
        self, name: str, kind: str, bits: int, profile: str
    ) -> None:
        """The layer is scale · Σ w·a + bias over whole w and a below 2^k, a whole steps of the activations apart."""
        torch.manual_seed(0)
        layer = nn.Linear(12, 5) if kind == "linear" else nn.Conv2d(3, 5, 3, stride=2, padding=1)
        x = torch.randn(8, 12) if kind == "linear" else torch.randn(8, 3, 7, 7)
        model = nn.Sequential(layer).double()
        bibench.binarize(model, name, example_inputs=x.double(), keep=(), bits=bits, profile=profile)
        model(x.double())  # the first batch in training sets steps and bounds
        (layer,) = model.eval()
        with torch.no_grad():
            form = layer.operator.inference_form(layer.weight)
            weight = form.weight.round()
            assert torch.allclose(weight, form.weight, atol=1e-9) and weight.abs().max() < 2**bits
            of_weights = layer.operator.quantize_weight(layer.weight).abs().sum() / weight.abs().sum()
            assert form.channel_scale.unique().numel() == 1
            a = layer.operator.quantize_activation(x.double()) / (form.channel_scale[0] / of_weights)
            assert torch.allclose(a, a.round(), atol=1e-6) and a.abs().max() < 2**bits
            steps = (a - a.min()) * (form.channel_scale[0] / of_weights) / form.activation_step
            assert torch.allclose(steps, steps.round(), atol=1e-6) and steps.round().max() < 2**bits
            if kind == "linear":
                y = nn.functional.linear(a.round(), weight)
            else:
                y = nn.functional.conv2d(a.round(), weight, stride=2, padding=1)
            shape = (-1, 1, 1) if kind == "conv" else (-1,)
            expected = y * form.channel_scale.reshape(shape) + layer.bias.reshape(shape)
            assert torch.allclose(layer(x.double()), expected, rtol=1e-9, atol=1e-9)
