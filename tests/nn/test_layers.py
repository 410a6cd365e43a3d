"""Binarized layers: padding, dtypes, autocast, batches, schedules, copies."""

import copy
import io
import warnings

import pytest
import torch
from torch import nn

import bibench
from bibench.foundation.errors import BiBenchError
from bibench.kernels.spec import of_layer
from bibench.nn.layers import BinaryConv2d, BinaryLinear, binary_layers, progress


def converted(layer: nn.Module, x: torch.Tensor, name: str = "dorefa", **options) -> nn.Module:
    bibench.binarize(layer, name, example_inputs=x, keep=(), **options)
    return layer


@pytest.mark.parametrize("pad_value", [0.0, 1.0, -1.0])
def test_zero_padding_holds_the_pad_value_after_the_sign(pad_value: float) -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    x = torch.randn(1, 3, 5, 5)
    converted(layer, x, "bnn", pad_value=pad_value)
    signs = torch.where(x >= 0, 1.0, -1.0)
    weight = torch.where(layer.weight >= 0, 1.0, -1.0)
    expected = nn.functional.conv2d(nn.functional.pad(signs, (1,) * 4, value=pad_value), weight)
    assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_other_padding_modes_pad_the_signs(mode: str) -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1, padding_mode=mode, bias=False)
    x = torch.randn(1, 3, 5, 5)
    converted(layer, x, "bnn")
    signs = nn.functional.pad(torch.where(x >= 0, 1.0, -1.0), (1,) * 4, mode=mode)
    assert torch.equal(layer(x), nn.functional.conv2d(signs, torch.where(layer.weight >= 0, 1.0, -1.0)))


def test_a_layer_of_the_model_itself_can_be_binarized_and_keeps_hooks_and_parameters() -> None:
    layer = nn.Linear(8, 4)
    seen = []
    layer.register_forward_hook(lambda *_: seen.append(1))
    weight = layer.weight
    converted(layer, torch.randn(2, 8))
    layer(torch.randn(2, 8))
    assert type(layer) is BinaryLinear
    assert isinstance(layer, nn.Linear)
    assert layer.weight is weight
    assert len(seen) == 4  # the traced examples, one of them alone, the proof and our call


def test_batch_axis_is_optional() -> None:
    layer = converted(nn.Conv2d(3, 4, 3, padding=1), torch.randn(1, 3, 8, 8), "xnor").eval()
    x = torch.randn(3, 8, 8)
    assert torch.equal(layer(x), layer(x[None])[0])
    linear = converted(nn.Linear(6, 2), torch.randn(1, 6))
    y = linear(torch.randn(6))
    y.sum().backward()
    assert y.shape == (2,)


def test_wrong_channels_name_the_layer() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    converted(model, torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"layer '0' \(conv2d\) expects 3 input channels, got .*\(1, 5, 8, 8\)"):
        model(torch.randn(1, 5, 8, 8))


class TestPrecision:
    def test_products_are_exact_under_autocast(self) -> None:
        """In bfloat16 sums beyond 256 would be rounded."""
        layer = converted(nn.Linear(1001, 7, bias=False), torch.randn(1, 1001), "bnn").eval()
        x = torch.randn(5, 1001)
        with torch.autocast("cpu", torch.bfloat16):
            got = layer(x)
        assert torch.equal(got, layer(x))
        assert got.dtype == torch.float32

    def test_low_precision_inputs_give_low_precision_outputs_of_exact_products(self) -> None:
        layer = converted(nn.Conv2d(64, 8, 3, bias=False), torch.randn(1, 64, 5, 5), "bnn")
        x = torch.randn(2, 64, 5, 5)
        got = layer(x.bfloat16())
        assert got.dtype == torch.bfloat16
        assert torch.equal(got, layer(x.bfloat16().float()).bfloat16())

    def test_backward_under_autocast_equals_float32(self) -> None:
        layer = converted(nn.Conv2d(16, 8, 3, padding=1), torch.randn(1, 16, 6, 6))
        x = torch.randn(2, 16, 6, 6, requires_grad=True)
        upstream = torch.randn(2, 8, 6, 6)
        plain = torch.autograd.grad(layer(x), [x, layer.weight], upstream)
        with torch.autocast("cpu", torch.bfloat16):
            output = layer(x)
        for a, b in zip(plain, torch.autograd.grad(output, [x, layer.weight], upstream), strict=True):
            assert torch.equal(a, b)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_whole_models_of_another_dtype(self, dtype: torch.dtype) -> None:
        model = bibench.models.create("resnet20", width=4).to(dtype)
        x = torch.randn(2, 3, 32, 32, dtype=dtype)
        bibench.binarize(model, "fda", example_inputs=x)
        progress(model, 0.0, 0.1)
        model(x).float().square().sum().backward()
        assert all(p.grad is not None and p.grad.dtype == dtype for p in model.parameters())


class TestGradients:
    def test_statistical_scale_scales_the_input_gradient_but_not_the_weight_gradient(self) -> None:
        layer = converted(nn.Linear(4, 2, bias=False), torch.randn(1, 4))
        layer.weight.data.uniform_(-0.9, 0.9)
        x = torch.randn(3, 4).clamp_(-0.9, 0.9).requires_grad_()
        upstream = torch.randn(3, 2)
        grad_x, grad_w = torch.autograd.grad(layer(x), [x, layer.weight], upstream)
        alpha = layer.weight.abs().mean(1)
        signs_w, signs_x = torch.sign(layer.weight), torch.sign(x)
        torch.testing.assert_close(grad_x, (upstream * alpha) @ signs_w)
        torch.testing.assert_close(grad_w, upstream.T @ signs_x)

    def test_a_filter_of_zeros_still_receives_a_gradient(self) -> None:
        layer = converted(nn.Linear(4, 2, bias=False), torch.randn(1, 4))
        layer.weight.data.zero_()
        layer(torch.ones(3, 4)).sum().backward()
        assert torch.equal(layer.weight.grad, torch.full((2, 4), 3.0))

    def test_second_derivatives_exist(self) -> None:
        layer = converted(nn.Conv2d(3, 4, 3, padding=1), torch.randn(1, 3, 5, 5), "bireal")
        x = torch.randn(2, 3, 5, 5, requires_grad=True)
        (grad,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
        grad.square().sum().backward()
        assert torch.isfinite(layer.weight.grad).all()

    def test_frozen_weight_gets_no_gradient(self) -> None:
        layer = converted(nn.Conv2d(3, 4, 3), torch.randn(1, 3, 5, 5))
        layer.weight.requires_grad_(False)
        x = torch.randn(1, 3, 5, 5, requires_grad=True)
        layer(x).sum().backward()
        assert x.grad is not None
        assert layer.weight.grad is None


class TestSchedules:
    def test_a_scheduled_operator_that_is_not_told_the_progress_warns_once(self) -> None:
        layer = converted(nn.Linear(4, 2), torch.randn(1, 4), "recu")
        with pytest.warns(UserWarning, match=r"'recu' follows a schedule.*bibench.progress"):
            layer(torch.randn(2, 4))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layer(torch.randn(2, 4))

    @pytest.mark.parametrize("name", ["bnn", "xnor", "dorefa"])
    def test_others_do_not_warn(self, name: str) -> None:
        layer = converted(nn.Linear(4, 2), torch.randn(1, 4), name)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layer(torch.randn(2, 4))

    def test_evaluation_does_not_warn(self) -> None:
        layer = converted(nn.Linear(4, 2), torch.randn(1, 4), "fda").eval()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layer(torch.randn(2, 4))


class TestCopies:
    def model(self) -> tuple[nn.Module, torch.Tensor]:
        model, x = bibench.models.create("resnet20", width=4), torch.randn(2, 3, 32, 32)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)  # else the residual branches start at zero
        bibench.binarize(model, "reactnet", example_inputs=x)
        return model.eval(), x

    def test_deepcopy(self) -> None:
        model, x = self.model()
        other = copy.deepcopy(model)
        assert torch.equal(other(x), model(x))
        next(iter(binary_layers(other)))[1].operator.shift.data += 5
        assert not torch.equal(other(x), model(x))

    def test_pickle(self) -> None:
        model, x = self.model()
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        assert torch.equal(torch.load(buffer, weights_only=False)(x), model(x))

    def test_state_dict_keys_are_those_of_the_float_model_plus_the_operators(self) -> None:
        model, _ = self.model()
        plain = bibench.models.create("resnet20", width=4)
        extra = model.state_dict().keys() - plain.state_dict().keys()
        assert plain.state_dict().keys() <= model.state_dict().keys()
        assert extra and all(".operator." in key for key in extra)


def test_layer_spec_resolves_same_padding() -> None:
    spec = of_layer(nn.Conv1d(2, 3, 4, padding="same"))
    assert spec.padding == (1, 2)
    assert spec.padded(torch.zeros(1, 2, 5))[0].shape == (1, 2, 8)


def test_channels_last_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = converted(nn.Conv2d(16, 8, 3, padding=1), torch.randn(1, 16, 6, 6), "xnor")
    x = torch.randn(2, 16, 6, 6)
    torch.testing.assert_close(layer(x.to(memory_format=torch.channels_last)), layer(x))
    assert type(layer) is BinaryConv2d


def test_pad_value_is_checked() -> None:
    with pytest.raises(BiBenchError, match=r"pad_value must be 0, 1 or -1.*got 0.5"):
        converted(nn.Linear(4, 2), torch.randn(1, 4), pad_value=0.5)
