"""bibench.binarize on the networks people bring: torchvision, timm, shared, wrapped, odd layers."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import bibench
from bibench.foundation.errors import BiBenchError, ConversionError, UnknownNameError
from bibench.nn.layers import BinaryConv2d, BinaryLayer, BinaryLinear, binary_layers


def small() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.Hardtanh(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Hardtanh(),
        nn.Flatten(),
        nn.Linear(8 * 64, 16),
        nn.Linear(16, 5),
    )


X = torch.zeros(1, 3, 8, 8)


def kinds(model: nn.Module) -> dict[str, type]:
    return {name: type(m) for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


class TestKeep:
    def test_first_and_last_stay_by_default(self) -> None:
        model = small()
        audit = bibench.binarize(model, "bnn", example_inputs=X)
        assert kinds(model) == {"0": nn.Conv2d, "3": BinaryConv2d, "6": BinaryLinear, "7": nn.Linear}
        assert [row.reason for row in audit.rows] == ["first layer", "", "", "last layer"]

    def test_nothing(self) -> None:
        model = small()
        audit = bibench.binarize(model, "bnn", example_inputs=X, keep=())
        assert len(audit.binarized) == 4

    def test_names_and_patterns(self) -> None:
        model = small()
        bibench.binarize(model, "bnn", example_inputs=X, keep=["[67]"])
        assert kinds(model) == {"0": BinaryConv2d, "3": BinaryConv2d, "6": nn.Linear, "7": nn.Linear}

    def test_predicate_with_reason(self) -> None:
        model = small()
        audit = bibench.binarize(
            model, "bnn", example_inputs=X, keep=lambda name, m: "a head" if isinstance(m, nn.Linear) else False
        )
        assert [row.reason for row in audit.rows] == ["", "", "a head", "a head"]

    def test_a_pattern_without_match_is_an_error(self) -> None:
        with pytest.raises(BiBenchError, match=r"keep='head' matches no weight layer; the model has: 0, 3, 6, 7"):
            bibench.binarize(small(), "bnn", example_inputs=X, keep=["head"])

    def test_patterns_of_operators_must_match(self) -> None:
        with pytest.raises(BiBenchError, match=r"operator: 'layer9\*' matches no weight layer; the model has: 0, 3"):
            bibench.binarize(small(), {"layer9*": "xnor", "*": "bnn"}, example_inputs=X)

    def test_options_in_the_name(self) -> None:
        model = small()
        rules = {"3": "recu[scale_init=weight]", "*": "xnorpp"}
        bibench.binarize(model, rules, example_inputs=X, keep=["0", "7"], scale_init="paper")
        chosen = {name: layer.operator.scale_init for name, layer in binary_layers(model)}
        assert chosen == {"3": "weight", "6": "paper"}
        with pytest.raises(BiBenchError, match="operator 'bnn' has no option 'scale_init'"):
            bibench.binarize(small(), "bnn[scale_init=weight]", example_inputs=X)

    def test_marks_of_the_model(self) -> None:
        model = small()
        model.full_precision_layers = {"6": "a bottleneck"}
        audit = bibench.binarize(model, "bnn", example_inputs=X)
        assert [row.reason for row in audit.rows] == ["first layer", "", "a bottleneck", "last layer"]

    def test_first_is_by_execution_not_by_registration(self) -> None:
        class Backwards(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.last, self.middle, self.first = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

            def forward(self, x):
                return self.last(self.middle(self.first(x)))

        model = Backwards()
        bibench.binarize(model, "bnn", example_inputs=torch.zeros(1, 4))
        assert [type(m) for m in (model.first, model.middle, model.last)] == [nn.Linear, BinaryLinear, nn.Linear]


class TestOperatorChoice:
    def test_mapping_of_patterns(self) -> None:
        model = small()
        audit = bibench.binarize(model, {"3": "reactnet", "6": None, "*": "bnn"}, example_inputs=X, keep=())
        assert [row.operator for row in audit.rows] == ["bnn", "reactnet", "", "bnn"]
        assert audit.rows[2].reason == "no operator chosen for it"

    def test_function(self) -> None:
        audit = bibench.binarize(
            small(), lambda name, m: "xnor" if isinstance(m, nn.Linear) else "recu", example_inputs=X, keep=()
        )
        assert [row.operator for row in audit.rows] == ["recu", "recu", "xnor", "xnor"]

    def test_class(self) -> None:
        model = small()
        bibench.binarize(model, bibench.OPERATORS["fda"], example_inputs=X)
        assert model[3].operator.name == "fda"

    def test_unknown_name_suggests(self) -> None:
        with pytest.raises(UnknownNameError, match=r"unknown operator 'reacnet'; did you mean 'reactnet'"):
            bibench.binarize(small(), "reacnet", example_inputs=X)

    def test_unknown_option_lists_the_known_ones(self) -> None:
        with pytest.raises(BiBenchError, match=r"operator 'bnn' has no option 'act_scale'; it has: profile='default'"):
            bibench.binarize(small(), "bnn", example_inputs=X, act_scale="none")

    @pytest.mark.parametrize("bad", [3, nn.Linear, None])
    def test_nonsense(self, bad) -> None:
        with pytest.raises(BiBenchError, match="operator must be a name"):
            bibench.binarize(small(), bad, example_inputs=X)


class TestRefusals:
    def test_already_binarized(self) -> None:
        model = small()
        bibench.binarize(model, "bnn", example_inputs=X)
        with pytest.raises(ConversionError, match=r"already binarized.*'3'.*'bnn'"):
            bibench.binarize(model, "bnn", example_inputs=X)

    def test_data_parallel(self) -> None:
        with pytest.raises(ConversionError, match=r"wrapped \(DataParallel\); binarize model.module first"):
            bibench.binarize(nn.DataParallel(small()), "bnn", example_inputs=X)

    def test_compiled(self) -> None:
        with pytest.raises(ConversionError, match=r"wrapped \(OptimizedModule\); binarize model._orig_mod first"):
            bibench.binarize(torch.compile(small()), "bnn", example_inputs=X)

    def test_not_a_module(self) -> None:
        with pytest.raises(ConversionError, match=r"must be a torch.nn.Module, got function"):
            bibench.binarize(lambda x: x, "bnn", example_inputs=X)

    def test_nothing_to_replace_says_why(self) -> None:
        model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
        with pytest.raises(ConversionError, match=r"0: first layer; 1: last layer.*keep=\(\) keeps none"):
            bibench.binarize(model, "bnn", example_inputs=torch.zeros(1, 3))

    def test_no_weight_layer(self) -> None:
        with pytest.raises(ConversionError, match="has no convolution or linear layer"):
            bibench.binarize(nn.ReLU(), "bnn", example_inputs=X)

    def test_a_failure_changes_nothing(self) -> None:
        class Refuses(bibench.Operator):
            name = "refuses"

            def __init__(self, spec, *, profile="default"):
                super().__init__(spec, profile=profile)
                if spec.kind == "linear":
                    raise bibench.BiBenchError("no linear layers")

        model = small()
        before = {k: v.clone() for k, v in model.state_dict().items()}
        with pytest.raises(bibench.BiBenchError, match="no linear layers"):
            bibench.binarize(model, Refuses, example_inputs=X)
        assert not any(isinstance(m, BinaryLayer) for m in model.modules())
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


class TestOddLayers:
    def reason(self, model: nn.Module, x: torch.Tensor, name: str) -> str:
        audit = bibench.binarize(model, "bnn", example_inputs=x, keep=())
        return next(row.reason for row in audit.rows if row.name == name)

    def test_transposed_convolution(self) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 2, 3))
        assert self.reason(model, X, "1") == "ConvTranspose2d has no binarized form"

    def test_conv3d(self) -> None:
        model = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Flatten(), nn.Linear(16, 2))
        assert self.reason(model, torch.zeros(1, 1, 2, 2, 2), "0") == "Conv3d has no binarized form"

    def test_embedding_and_lstm(self) -> None:
        class Text(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embed, self.rnn, self.head = nn.Embedding(10, 4), nn.LSTM(4, 4), nn.Linear(4, 2)

            def forward(self, x):
                return self.head(self.rnn(self.embed(x))[0])

        model = Text()
        audit = bibench.binarize(model, "bnn", example_inputs=torch.zeros(3, 2, dtype=torch.long), keep=())
        assert {row.name: row.reason for row in audit.rows} == {
            "embed": "Embedding has no binarized form",
            "rnn": "LSTM has no binarized form",
            "head": "",
        }

    def test_attention_projection_that_torch_calls_functionally(self) -> None:
        class Attention(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 2)

            def forward(self, x):
                return self.head(self.attention(x, x, x)[0])

        audit = bibench.binarize(Attention(), "bnn", example_inputs=torch.zeros(1, 4, 8), keep=())
        reasons = {row.name: row.reason for row in audit.rows}
        assert reasons["attention"] == "MultiheadAttention has no binarized form"
        assert reasons["attention.out_proj"] == "not called in the example forward"

    def test_parametrized_weight(self) -> None:
        model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 2))
        assert self.reason(model, torch.zeros(1, 3), "0") == "its weight is parametrized"

    def test_subclass_with_its_own_forward(self) -> None:
        class Scaled(nn.Linear):
            def forward(self, x):
                return 2 * super().forward(x)

        model = nn.Sequential(Scaled(3, 4), nn.Linear(4, 2))
        assert self.reason(model, torch.zeros(1, 3), "0") == "Scaled computes its own forward"

    def test_subclass_without_one_is_converted(self) -> None:
        class Named(nn.Linear):
            pass

        model = nn.Sequential(Named(3, 4), nn.Linear(4, 2))
        assert self.reason(model, torch.zeros(1, 3), "0") == ""

    def test_layer_that_the_example_does_not_reach(self) -> None:
        class Branch(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.used, self.unused = nn.Linear(3, 2), nn.Linear(3, 2)

            def forward(self, x):
                return self.used(x)

        assert self.reason(Branch(), torch.zeros(1, 3), "unused") == "not called in the example forward"

    def test_shared_layer_is_one_row_with_its_other_names(self) -> None:
        shared = nn.Linear(4, 4)
        model = nn.Sequential(nn.Linear(4, 4), shared, nn.ReLU(), shared, nn.Linear(4, 4))
        audit = bibench.binarize(model, "bnn", example_inputs=torch.zeros(1, 4))
        row = next(row for row in audit.rows if row.name == "1")
        assert row.aliases == ("3",)
        assert model[1] is model[3]
        assert type(model[3]) is BinaryLinear
        assert audit.parameters == 3 * 20

    def test_layer_called_with_several_sizes_takes_the_largest_map(self) -> None:
        class Pyramid(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stem, self.head, self.out = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 1)

            def forward(self, x):
                x = self.stem(x)
                return [self.out(self.head(x[..., ::2, ::2])), self.out(self.head(x))]

        model = Pyramid()
        bibench.binarize(model, "xnorpp", example_inputs=torch.zeros(1, 3, 16, 16))
        assert model.head.spec.output_shape == (4, 12, 12)
        model(torch.randn(2, 3, 20, 20))[0].sum().backward()


class TestStrangersModels:
    @pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0"])
    def test_torchvision(self, name: str) -> None:
        import torchvision

        model, x = torchvision.models.get_model(name), torch.randn(2, 3, 64, 64)
        audit = bibench.binarize(model, "reactnet", example_inputs=x)
        model.train()(x).sum().backward()
        assert len(audit.binarized) >= len(audit.rows) - 2 > 5
        assert all(p.grad is not None for p in model.parameters())

    @pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "vit_tiny_patch16_224"])
    def test_timm(self, name: str) -> None:
        import timm

        options = {"img_size": 64} if name.startswith("vit") else {}
        model, x = timm.create_model(name, num_classes=5, **options), torch.randn(2, 3, 64, 64)
        audit = bibench.binarize(model, "fda", example_inputs=x)
        bibench.progress(model, 0.0, 0.1)
        model.train()(x).sum().backward()
        assert len(audit.binarized) > 10

    def test_training_mode_of_every_module_survives(self) -> None:
        model = small()
        model[1].eval()
        bibench.binarize(model, "bnn", example_inputs=X)
        assert model.training
        assert model[3].training
        assert model[3].operator.training
        assert not model[1].training

    def test_batch_norm_statistics_survive_the_trace(self) -> None:
        model = small()
        before = model[1].running_mean.clone()
        bibench.binarize(model, "bnn", example_inputs=torch.randn(4, 3, 8, 8))
        assert torch.equal(model[1].running_mean, before)

    def test_keyword_and_positional_inputs(self) -> None:
        class Two(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

            def forward(self, x, shift):
                return self.c(self.b(self.a(x) + shift))

        x, shift = torch.zeros(1, 3), torch.zeros(4)
        for inputs in ((x, shift), {"x": x, "shift": shift}):
            assert len(bibench.binarize(Two(), "bnn", example_inputs=inputs).binarized) == 1


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x,), lambda x: {"input": x}])
def test_arrays_as_example_inputs_are_named(wrap: Any) -> None:
    with pytest.raises(BiBenchError, match=r"example_inputs must be tensors.*NumPy array: torch.from_numpy"):
        bibench.binarize(small(), "bnn", example_inputs=wrap(X.numpy()))


class ByName(nn.Module):
    """Calls its layers as the float ones may be called."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.conv, self.line, self.head = (
            nn.Embedding(7, 6),
            nn.Conv1d(6, 6, 3, padding=1),
            nn.Linear(6, 6),
            nn.Linear(6, 2),
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        y = self.conv(input=self.words(input=ids).mT)
        out: torch.Tensor = self.head(input=self.line(input=y.mT))
        return out


def test_layers_are_called_by_name_as_the_float_ones() -> None:
    model, ids = ByName(), torch.arange(6).reshape(2, 3)
    audit = bibench.binarize(model, "bnn", example_inputs=ids, keep=("head",))
    assert {row.name for row in audit.rows if row.weight_bits == 1} >= {"conv", "line"}
    model(ids).sum().backward()
    assert model.conv.weight.grad is not None


class TestFrozen:
    """What does not require grad before the conversion does not require it afterwards."""

    @pytest.mark.parametrize("name", sorted(n for n in bibench.OPERATORS if n != "fp32"))
    def test_parameters_of_operators(self, name: str) -> None:
        model = small().requires_grad_(False)
        model[6].requires_grad_(True)
        trained = copy.deepcopy(model).requires_grad_(True)
        for one in (model, trained):
            torch.manual_seed(0)
            bibench.binarize(one, name, example_inputs=X)
        for kept in (model[:6], model[7]):
            assert not any(p.requires_grad for p in kept.parameters())
        # bit for bit what a conversion without freezing gives, and trainable where that is
        assert {n for n, p in model[6].named_parameters() if p.requires_grad} == {
            n for n, p in trained[6].named_parameters() if p.requires_grad
        }
        assert all(torch.equal(v, trained.state_dict()[k]) for k, v in model.state_dict().items())
        x = torch.randn(2, 3, 8, 8)
        torch.testing.assert_close(model.eval()(x), trained.eval()(x))

    def test_a_frozen_weight_alone_decides(self) -> None:
        model = small()
        model[3].weight.requires_grad_(False)
        bibench.binarize(model, "reactnet", example_inputs=X)
        assert not any(p.requires_grad for p in model[3].operator.parameters())
        assert model[3].bias.requires_grad
        assert all(p.requires_grad for p in model[6].parameters())

    @pytest.mark.parametrize("name", ["bnn[profile=original]", "xnor[profile=original]"])
    def test_frozen_weights_are_not_constrained(self, name: str) -> None:
        model = small()
        with torch.no_grad():
            for layer in (model[3], model[6]):
                layer.weight.mul_(100)
        model[3].requires_grad_(False)
        bibench.binarize(model, {"*": name}, example_inputs=X)
        before = model[3].weight.clone(), model[6].weight.clone()
        bibench.progress(model, 0.0, 0.1)
        assert torch.equal(model[3].weight, before[0])
        assert not torch.equal(model[6].weight, before[1])


def test_optimizer_made_before_conversion_still_trains_the_weights() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    bibench.binarize(model, "bnn", example_inputs=X)
    before = model[3].weight.clone()
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model[3].weight, before)


@pytest.mark.slow
def test_compiled_after_conversion() -> None:
    model = small()
    bibench.binarize(model, "reactnet", example_inputs=X)
    x = torch.randn(2, 3, 8, 8)
    traced = torch.compile(model, backend="aot_eager")  # all of it, forward and backward
    torch.testing.assert_close(traced(x), model(x))
    traced(x).sum().backward()
    assert model[3].weight.grad is not None
    layer, y = model[3], model[:3](x).detach()
    made = torch.compile(layer)(y)  # down to machine code, which takes long
    torch.testing.assert_close(made, layer(y))
    made.sum().backward()
