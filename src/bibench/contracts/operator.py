"""Contracts of operators. Each line is a defect once found in a published implementation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bibench.contracts.base import concerns, contract, expect
from bibench.foundation.choice import choice
from bibench.kernels.input_scale import activation_scale
from bibench.kernels.products import scaled_product
from bibench.kernels.spec import LayerSpec
from bibench.nn.computing import Case, finished
from bibench.nn.conversion import binarize
from bibench.nn.layers import BinaryLayer, progress
from bibench.operators import OPERATORS, InferenceForm
from bibench.operators.base import Operator
from bibench.operators.shapes import check_shapes

LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "conv2d 3×3": (nn.Conv2d(8, 12, 3, padding=1, bias=False), (8, 9, 7)),
    "conv2d 3×3 stride 2, bias": (nn.Conv2d(8, 12, 3, stride=2, padding=1), (8, 9, 7)),
    "conv2d 5×3, dilation 2, groups 4": (nn.Conv2d(8, 12, (5, 3), padding=(3, 1), dilation=2, groups=4), (8, 11, 9)),
    "conv2d depthwise, same padding": (nn.Conv2d(8, 8, 4, padding="same", groups=8), (8, 9, 7)),
    "conv2d 1×1, reflect": (nn.Conv2d(70, 5, 3, padding=1, padding_mode="reflect"), (70, 5, 5)),
    "conv1d": (nn.Conv1d(8, 12, 5, padding=2, stride=2), (8, 17)),
    "conv1d depthwise": (nn.Conv1d(8, 8, 3, groups=8, bias=False), (8, 17)),
    "linear": (nn.Linear(66, 10), (66,)),
    "linear over tokens, no bias": (nn.Linear(16, 10, bias=False), (6, 16)),
}
"""The layers every operator must serve, with the shape of one example."""


class Holder(nn.Module):
    """A model of one layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def build(name: str, layer: str, profile: str = "default", **options: Any) -> tuple[Holder, Tensor]:
    """A converted layer in the midst of training and an input of two examples.

    The operator's own parameters have moved: many start at 0 or 1, where a wrong sign or factor does not show.
    """
    if profile != "default":  # an operator without profiles need not know of them
        options["profile"] = profile
    module, shape = LAYERS[layer]
    module = copy.deepcopy(module)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    holder, x = Holder(module), torch.randn(2, *shape)
    binarize(holder, name, example_inputs=x, keep=(), **options)
    progress(holder, 0.5, 0.1)
    for parameter in operator_of(holder).parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return holder, x


def variants(name: str) -> Iterator[tuple[str, str]]:
    """Every layer with every profile but ``bibench``, whose peculiarities break contracts on purpose."""
    chosen = choice(name)
    profiles = ("default",) if "profile" in chosen.options else ("default", *_class(name).profiles)
    for profile in profiles:
        if profile != "bibench":
            yield from ((layer, profile) for layer in LAYERS)


def _class(name: str) -> type[Operator]:
    return OPERATORS[choice(name).name]


def operator_of(holder: Holder) -> Operator:
    """The operator of the one layer."""
    layer = holder.layer
    assert isinstance(layer, BinaryLayer)
    return layer.operator


@contract("operator")
def output_has_the_float_layers_shape(name: str) -> None:
    """Stride, padding, dilation, groups and bias are honoured."""
    for layer, profile in variants(name):
        holder, x = build(name, layer, profile=profile)
        expected = tuple(LAYERS[layer][0](x).shape)
        got = tuple(holder(x).shape)
        expect(got == expected, f"{layer}: output has shape {got}, the float layer's is {expected}")


@contract("operator")
def slots_keep_their_shapes(name: str) -> None:
    """Activations, weights, products and gradients keep their shapes; a scale has one factor per output channel."""
    concerns(not _class(name).full_precision)
    for layer in LAYERS:
        holder, x = build(name, layer)
        check_shapes(operator_of(holder), holder.layer.weight, x)  # type: ignore[arg-type]


@contract("operator")
def values_are_exactly_plus_or_minus_one(name: str) -> None:
    """In evaluation, weights and activations are ±1, also where the input is 0 or -0."""
    concerns(_class(name).weight_bits == _class(name).activation_bits == 1)
    for layer, profile in variants(name):
        holder, x = build(name, layer, profile=profile)
        holder.eval()
        op, weight = operator_of(holder), holder.layer.weight
        with torch.no_grad():
            x.flatten()[::3] = 0.0
            x.flatten()[1::3] = -0.0
            for what, values in (
                ("activations", op.quantize_activation(x)),
                ("activations of zeros", op.quantize_activation(torch.zeros_like(x))),
                ("weights", op.quantize_weight(weight)),  # type: ignore[arg-type]
            ):
                expect(bool((values.abs() == 1).all()), f"{layer}: {what} hold values other than ±1")


@contract("operator")
def levels_are_those_of_the_bits(name: str) -> None:
    """Quantized weights and activations have at most 2^bits values, and the integers left at inference are such."""
    concerns(1 < _class(name).weight_bits < 32)
    for layer, profile in variants(name):
        holder, x = build(name, layer, profile=profile)
        op, weight = operator_of(holder), holder.layer.weight
        assert isinstance(weight, Tensor)
        with torch.no_grad():
            holder(x)
            holder.eval()
            quantized = op.quantize_weight(weight)
            for what, values, bits in (
                ("weights", quantized, op.weight_bits),
                ("activations", op.quantize_activation(3 * x), op.activation_bits),
            ):
                count = values.unique().numel()
                expect(count <= 2**bits, f"{layer}: {what} have {count} values, {bits} bits tell {2**bits} apart")
            integers = op.inference_form(weight).weight
            whole = torch.allclose(integers, integers.round(), atol=1e-3)
            expect(
                whole and float(integers.abs().max()) < 2**op.weight_bits, f"{layer}: inference_form has no integers"
            )
            unit = quantized.abs().sum() / integers.abs().sum()
            expect(torch.allclose(integers * unit, quantized, atol=1e-5), f"{layer}: inference_form has other weights")


@contract("operator")
def padding_follows_the_sign(name: str) -> None:
    """The border holds exactly the pad value (0, +1 or -1) when the product is taken."""
    concerns(_class(name).weight_bits == _class(name).activation_bits == 1)
    for pad in (0.0, 1.0, -1.0):
        holder, x = build(name, "conv2d 3×3", pad_value=pad)
        holder.eval()
        op, layer = operator_of(holder), holder.layer
        assert isinstance(layer, BinaryLayer)
        with torch.no_grad():
            described = op.describe(layer.weight)
            padded = nn.functional.pad(described.activations(x), (1, 1, 1, 1), value=pad)
            product = nn.functional.conv2d(padded, described.weights(layer.weight))
            if described.scale is not None:
                product = product * described.scale[:, None, None]
            expected = finished(Case(described, x, layer.weight, op.spec, "float32"), product)
            expect(
                torch.equal(holder(x), expected), f"pad_value={pad}: the border is not padded with {pad} after the sign"
            )


@contract("operator")
def latent_weights_survive_conversion(name: str) -> None:
    """Weights and biases keep their bits and their state-dict keys."""
    for layer in LAYERS:
        module, shape = copy.deepcopy(LAYERS[layer])
        before = {k: v.clone() for k, v in Holder(module).state_dict().items()}
        holder = Holder(module)
        binarize(holder, name, example_inputs=torch.randn(2, *shape), keep=())
        after = holder.state_dict()
        for key, value in before.items():
            expect(key in after, f"{layer}: {key} is no longer in the state dict")
            expect(torch.equal(after[key], value), f"{layer}: {key} was changed by the conversion")
        extra = [k for k in after.keys() - before.keys() if not k.startswith("layer.operator.")]
        expect(not extra, f"{layer}: the conversion added {extra}")


@contract("operator")
def parameters_exist_and_are_trained(name: str) -> None:
    """Every parameter is there before the first forward and receives a finite gradient."""
    for layer, profile in variants(name):
        holder, x = build(name, layer, profile=profile)
        op = operator_of(holder)
        # As it is built: the conversion has run forwards by now.
        own = {} if profile == "default" else {"profile": profile}
        built = type(op)(op.spec, **(own | choice(name).options))
        x = x.requires_grad_()
        holder(x).square().mean().backward()
        created = {k for k, _ in op.named_parameters()} - {k for k, _ in built.named_parameters()}
        expect(not created, f"{layer}: the forward pass created parameters {sorted(created)}")
        received = {f"{k}": p.grad for k, p in holder.named_parameters() if p.requires_grad} | {"the input": x.grad}
        for key, grad in received.items():
            expect(grad is not None, f"{layer}: {key} receives no gradient")
            expect(_finite(grad), f"{layer}: the gradient of {key} is not finite")


@contract("operator")
def gradients_are_those_of_the_declared_estimators(name: str) -> None:
    """The gradient through a sign is the upstream gradient times the declared surrogate."""
    concerns(_class(name).weight_bits == _class(name).activation_bits == 1)
    holder, x = build(name, "conv2d 3×3")
    holder.eval()
    op, weight = operator_of(holder), holder.layer.weight
    x = torch.linspace(-1.5, 1.5, x.numel()).reshape(x.shape)
    assert isinstance(weight, Tensor)
    for what, quantize, inner, estimator, value in (
        ("activation", op.quantize_activation, op.activation_signs().real, op.activation_estimator, x),
        ("weight", op.quantize_weight, op.weight_signs().real, op.weight_estimator, weight.detach()),
    ):
        leaf = value.clone().requires_grad_()
        upstream = torch.randn_like(leaf)
        (got,) = torch.autograd.grad(quantize(leaf), leaf, upstream)
        other = value.clone().requires_grad_()
        hidden = inner(other) * 1  # a copy, so that a gradient flows also where `inner` is the identity
        (expected,) = torch.autograd.grad(hidden, other, upstream * estimator.gradient(hidden.detach()))
        worst = float((got - expected).abs().max())
        expect(worst < 1e-5, f"the {what}'s gradient differs from {type(estimator).__name__} by up to {worst:.3g}")


@contract("operator")
def evaluation_is_deterministic(name: str) -> None:
    """In evaluation the same input gives the same output, and examples do not influence each other."""
    for layer, profile in variants(name):
        holder, x = build(name, layer, profile=profile)
        holder.eval()
        with torch.no_grad():
            first, second, alone = holder(x), holder(x), holder(x[:1])
        expect(torch.equal(first, second), f"{layer}: two evaluations of the same input differ")
        close = torch.allclose(first[:1], alone, rtol=1e-5, atol=1e-5)
        expect(close, f"{layer}: an example's output depends on the other examples of its batch")


@contract("operator")
def state_dict_round_trip(name: str) -> None:
    """A fresh layer that loads the state dict computes the same."""
    for layer, profile in variants(name):
        trained, x = build(name, layer, profile=profile)
        for parameter in trained.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        fresh, _ = build(name, layer, profile=profile)
        fresh.load_state_dict(trained.state_dict())
        with torch.no_grad():
            same = torch.equal(fresh.eval()(x), trained.eval()(x))
        expect(same, f"{layer}: after loading its state dict a fresh layer computes something else")


@contract("operator")
def inference_form_is_complete(name: str) -> None:
    """What the operator says is left of it at inference reproduces its output."""
    concerns(_class(name).weight_bits == _class(name).activation_bits == 1)
    for layer, profile in variants(name):
        holder, x = build(name, layer, profile=profile)
        holder.eval()
        op, module = operator_of(holder), holder.layer
        assert isinstance(module, BinaryLayer)
        with torch.no_grad():
            form = op.inference_form(module.weight)
            expect(bool((form.weight.abs() == 1).all()), f"{layer}: inference_form has weights other than ±1")
            got = infer(form, x, op.spec, module.bias)
            expected = holder(x)
        close = torch.allclose(got, expected, rtol=1e-5, atol=1e-5)
        expect(close, f"{layer}: inference_form computes something else than the layer in evaluation")


@contract("operator")
def degenerate_inputs_stay_finite(name: str) -> None:
    """Zero inputs, zero weights and an empty batch give finite outputs and gradients."""
    for layer in LAYERS:
        holder, x = build(name, layer)
        nn.init.zeros_(holder.layer.weight)  # type: ignore[arg-type]
        zero = torch.zeros_like(x).requires_grad_()
        out = holder(zero)
        out.sum().backward()
        finite = all(_finite(t) for t in (out, zero.grad, *(p.grad for p in holder.parameters())))
        expect(finite, f"{layer}: zeros lead to numbers that are not finite")
        expect(holder(x[:0]).shape[0] == 0, f"{layer}: an empty batch does not stay empty")


@contract("operator")
def full_precision_is_the_plain_network(name: str) -> None:
    """A full-precision operator is bit-identical to the float layer, forward and backward."""
    concerns(_class(name).full_precision)
    for layer in LAYERS:
        holder, x = build(name, layer)
        plain = copy.deepcopy(LAYERS[layer][0])
        plain.load_state_dict({k.removeprefix("layer."): v for k, v in holder.state_dict().items()})
        ours, theirs = holder(x), plain(x)
        expect(torch.equal(ours, theirs), f"{layer}: output differs from the float layer")
        ours.square().sum().backward()
        theirs.square().sum().backward()
        weight = holder.layer.weight
        assert isinstance(weight, Tensor) and isinstance(plain.weight, Tensor)
        expect(torch.equal(weight.grad, plain.weight.grad), f"{layer}: gradient differs from the float layer")  # type: ignore[arg-type]


def infer(form: InferenceForm, x: Tensor, spec: LayerSpec, bias: Tensor | None) -> Tensor:
    """Compute a layer from its `InferenceForm` alone, straight from the definition."""
    given = x
    if form.centre is not None:
        x = x - x.mean((-1,) if form.centre == "token" else tuple(range(1, x.dim())), keepdim=True)
    shifted = x if form.threshold is None else x - spec.per_input(form.threshold)
    signs = torch.where(shifted >= 0, 1.0, -1.0)
    y = scaled_product(signs, form.weight, None, spec)
    if form.channel_scale is not None:
        y = y * spec.per_output(form.channel_scale)
    if form.window is not None:
        sums = scaled_product(signs, torch.ones_like(form.weight), None, spec)
        y = y + spec.per_output(form.window) * sums
    if form.offset is not None:
        y = y + spec.per_output(form.offset)
    if form.activation_scale is not None:
        kind = "sample" if form.activation_scale == "sample" else "spatial"
        y = y * activation_scale(given, spec, kind)
    if form.gate is not None:
        y = y * form.gate(given)
    for axis, values in enumerate(form.spatial_scale or ()):
        y = y * values.reshape(-1, *(1,) * (spec.spatial_axes - 1 - axis))
    return y if bias is None else y + spec.per_output(bias)


def _finite(values: Tensor | None) -> bool:
    return values is None or bool(torch.isfinite(values).all())
