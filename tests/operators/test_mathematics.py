"""Forward and backward of every operator against the independent float64 reference."""

import copy

import pytest
import torch
from torch import nn

import bibench
from bibench.contracts.operator import LAYERS, Holder
from bibench.kernels.products import product
from bibench.nn.layers import progress

from . import reference

T, DT = 0.3, 0.1
TAU = (0.99 - 0.85) / (torch.e - 1) * (torch.e**T - 1) + 0.85
FDA_N = 9 + int(9 * T)
FDA_NOISE = 0.05 * (1 + torch.cos(torch.tensor(torch.pi * (T + DT), dtype=torch.float64)).item())

REFERENCES = {
    "bnn": reference.bnn,
    "xnor": reference.xnor,
    "dorefa": reference.dorefa,
    "bireal": reference.bireal,
    "xnorpp": reference.xnorpp,
    "reactnet": reference.reactnet,
    "recu": lambda x, layer, op: reference.recu(x, layer, op, TAU),
    "fda": lambda x, layer, op: reference.fda(x, layer, op, FDA_N, FDA_NOISE),
}


def build(name: str, layer: str, **options):
    module, shape = LAYERS[layer]
    module = copy.deepcopy(module).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.7)
    holder = Holder(module)
    x = torch.randn(2, *shape, dtype=torch.float64) * 0.8
    bibench.binarize(holder, name, example_inputs=x, keep=(), **options)
    for key, parameter in holder.layer.operator.named_parameters():
        if "noise" not in key:
            parameter.data += 0.3 * torch.randn_like(parameter)
    progress(holder, T, DT)
    return holder.train(), x


def gradients(output, upstream, leaves):
    return torch.autograd.grad(output, leaves, upstream)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", REFERENCES)
def test_forward_and_backward_equal_the_reference(name: str, layer: str) -> None:
    holder, x = build(name, layer)
    x.requires_grad_()
    parameters = dict(holder.named_parameters())
    ours = holder(x)
    operator = {k.removeprefix("layer.operator."): p for k, p in parameters.items() if ".operator." in k}
    theirs = REFERENCES[name](x, holder.layer, operator)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)

    upstream = torch.randn_like(ours)
    leaves = [x, *parameters.values()]
    for key, a, b in zip(
        ["input", *parameters], gradients(ours, upstream, leaves), gradients(theirs, upstream, leaves), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("name", REFERENCES)
def test_integer_products_are_exact(name: str) -> None:
    """Without scales what a layer computes in evaluation is a whole number."""
    holder, x = build(name, "conv2d 3×3")
    layer = holder.float().eval().layer
    op = layer.operator
    with torch.no_grad():
        y = product(op.quantize_activation(x.float()), op.quantize_weight(layer.weight), op.spec)
    assert torch.equal(y, y.round())
    assert y.abs().max() <= op.spec.fan_in


class TestProfiles:
    def test_bnn_original_passes_all_gradients_and_clips_the_latent_weight(self) -> None:
        holder, x = build("bnn", "linear", profile="original")
        x = (5 * x).requires_grad_()
        holder(x).sum().backward()
        w = holder.layer.weight
        assert torch.allclose(x.grad, torch.where(w >= 0, 1.0, -1.0).double().sum(0).expand_as(x))
        w.data.mul_(10)
        progress(holder, 0.5, 0.1)
        assert w.abs().max() == 1

    def test_dorefa_original_has_one_scale_per_layer(self) -> None:
        holder, x = build("dorefa", "conv2d 3×3", profile="original")
        w = holder.layer.weight
        scaled = reference.scaled_weight(w, layer_scale=True, estimator=reference.identity)
        expected = reference.convolve(reference.ste(x), scaled, holder.layer)
        torch.testing.assert_close(holder(x), expected)
        got, want = (torch.autograd.grad(y.square().sum(), w)[0] for y in (holder(x), expected))
        torch.testing.assert_close(got, want)

    def test_bireal_original_multiplies_the_weight_gradient_by_alpha(self) -> None:
        default, x = build("bireal", "conv2d 3×3")
        original = copy.deepcopy(default)
        original.layer.operator.scale_in_weight_gradient = True
        upstream = torch.randn_like(default(x))
        (plain,) = torch.autograd.grad(default(x), default.layer.weight, upstream)
        (scaled,) = torch.autograd.grad(original(x), original.layer.weight, upstream)
        torch.testing.assert_close(scaled, plain * reference.alpha(default.layer.weight))
        assert bibench.OPERATORS["bireal"](default.layer.spec, profile="original").scale_in_weight_gradient

    def test_xnor_original_gradient_has_the_term_through_alpha(self) -> None:
        """α·1{|w|<1}·g + sign(w)/n · Σ g·sign(w) (the corrected gradient of the authors' PyTorch port)."""
        holder, x = build("xnor", "linear", profile="original", act_scale="none")
        w = holder.layer.weight
        upstream = torch.randn_like(holder(x))
        (got,) = torch.autograd.grad(holder(x), w, upstream)
        g = upstream.T @ torch.where(x >= 0, 1.0, -1.0).double()
        s, n = torch.where(w >= 0, 1.0, -1.0).double(), w.shape[1]
        expected = w.abs().mean(1, keepdim=True) * (w.abs() <= 1) * g + s / n * (g * s).sum(1, keepdim=True)
        torch.testing.assert_close(got, expected)

    def test_xnor_original_centres_and_clips_before_every_step(self) -> None:
        holder, _ = build("xnor", "conv2d 3×3", profile="original")
        w = holder.layer.weight
        w.data.mul_(4)
        progress(holder, 0.0, 0.1)
        assert w.abs().max() <= 1
        w.data.div_(10)
        progress(holder, 0.0, 0.1)
        torch.testing.assert_close(w.mean(1), torch.zeros_like(w.mean(1)))

    @pytest.mark.parametrize("form", ["spatial", "sample", "none"])
    @pytest.mark.parametrize("center", ["none", "cin", "fan"])
    def test_xnor_options(self, form: str, center: str) -> None:
        holder, x = build("xnor", "conv2d 3×3", act_scale=form, center=center)
        w = holder.layer.weight
        axes = {"none": (), "cin": (1,), "fan": (1, 2, 3)}[center]
        centred = w - w.mean(axes, keepdim=True) if axes else w
        y = reference.convolve(reference.hard_sign(x), reference.hard_sign(centred), holder.layer)
        y = y * reference.alpha(centred).reshape(-1, 1, 1)
        factor = {"spatial": reference.spatial_k(x, holder.layer), "sample": x.abs().mean((1, 2, 3), keepdim=True)}
        torch.testing.assert_close(holder(x), y * factor.get(form, torch.ones(())))

    def test_xnorpp_interpolates_its_scales_for_another_map_size(self) -> None:
        holder, _ = build("xnorpp", "conv2d 3×3")
        rows = holder.layer.operator.axis_scales[0]
        rows.data = torch.arange(rows.numel(), dtype=torch.float64)
        y = holder(torch.randn(1, 8, 18, 7, dtype=torch.float64))
        assert y.shape == (1, 12, 18, 7)

    def test_scale_init_weight_reads_the_weight_at_conversion(self) -> None:
        for name in ("xnorpp", "recu"):
            module = nn.Linear(64, 8)
            holder = Holder(module)
            bibench.binarize(holder, name, example_inputs=torch.randn(2, 64), keep=(), scale_init="weight")
            torch.testing.assert_close(holder.layer.operator.alpha, module.weight.abs().mean(1))

    def test_scale_init_keeps_the_output_in_range(self) -> None:
        """The finding behind the option: ones blow up the output of a pretrained 512→512 layer."""
        conv = nn.Conv2d(512, 512, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        x = torch.randn(1, 512, 8, 8)
        spread = {}
        for init in ("paper", "weight"):
            holder = Holder(copy.deepcopy(conv))
            bibench.binarize(holder, "xnorpp", example_inputs=x, keep=(), scale_init=init)
            spread[init] = holder(x).std().item()
        assert spread["paper"] > 30 * conv(x).std()
        assert 0.5 < spread["weight"] / conv(x).std() < 2

    def test_bibench_profile_keeps_zero_as_zero(self) -> None:
        holder, x = build("bnn", "linear", profile="bibench")
        assert holder.layer.operator.quantize_activation(torch.zeros_like(x)).abs().max() == 0

    def test_bibench_profile_refuses_what_the_release_ignores(self) -> None:
        with pytest.raises(bibench.BiBenchError, match="groups=4"):
            build("bnn", "conv2d 5×3, dilation 2, groups 4", profile="bibench")

    def test_bibench_reactnet_linear_ignores_the_threshold_in_the_forward_pass(self) -> None:
        holder, x = build("reactnet", "linear", profile="bibench")
        shift = holder.layer.operator.shift
        before = holder(x)
        (grad,) = torch.autograd.grad(before.sum(), shift)
        shift.data += 10
        assert torch.equal(holder(x), before)
        assert grad.abs().max() > 0

    def test_unknown_profile_names_the_known_ones(self) -> None:
        with pytest.raises(
            bibench.BiBenchError, match="'reactnet' has no profile 'original'; it has: default, bibench"
        ):
            build("reactnet", "linear", profile="original")

    @pytest.mark.parametrize("profile", ["default", "original"])
    def test_fda_evaluation_is_dorefa(self, profile: str) -> None:
        fda, x = build("fda", "conv2d 3×3", profile=profile)
        other, _ = build("dorefa", "conv2d 3×3", profile=profile)
        other.layer.weight.data = fda.layer.weight.data
        assert torch.equal(fda.eval()(x), other.eval()(x))


class TestSchedules:
    def test_recu_quantile_vectors(self) -> None:
        from bibench.operators.recu import tau_at

        b = 1.0
        assert -b * torch.log(torch.tensor(2 - 2 * tau_at(0.0))).item() == pytest.approx(1.2040, abs=1e-4)
        assert -b * torch.log(torch.tensor(2 - 2 * tau_at(1.0))).item() == pytest.approx(3.9120, abs=1e-4)
        assert tau_at(199 / 200) == pytest.approx(0.9889, abs=1e-4)

    def test_fda_follows_epochs(self) -> None:
        holder, _ = build("fda", "linear")
        op = holder.layer.operator
        epochs = 20
        seen = []
        for epoch in range(epochs):
            progress(holder, epoch / epochs, 1 / epochs)
            seen.append((op.activation_estimator.n, op.noise_scale))
        assert seen[0][0] == 9
        assert seen[-1] == (17, 0.0)
        assert seen[0][1] == pytest.approx(0.05 * (1 + torch.cos(torch.tensor(torch.pi / epochs)).item()))

    def test_progress_rejects_nonsense(self) -> None:
        holder, _ = build("fda", "linear")
        with pytest.raises(ValueError, match=r"t in \[0, 1\)"):
            progress(holder, 1.0, 0.1)
