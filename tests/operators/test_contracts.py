"""Every registered operator keeps every contract; broken operators are found."""

import pytest
import torch
from torch import nn

import bibench
from bibench.contracts import check
from bibench.foundation.errors import BiBenchError
from bibench.operators import OPERATORS


@pytest.mark.parametrize("name", list(OPERATORS))
def test_operator_keeps_its_contracts(name: str) -> None:
    findings = list(check("operator", name))
    assert len(findings) >= 7
    assert not [f for f in findings if f.problem]


@pytest.fixture
def enter(monkeypatch: pytest.MonkeyPatch):
    """Enter an operator for one test."""
    monkeypatch.setattr(OPERATORS, "_entries", dict(OPERATORS._entries))
    monkeypatch.setattr(OPERATORS, "_sources", dict(OPERATORS._sources))
    return lambda cls: bibench.operator("broken")(cls)


def problems() -> str:
    return " | ".join(f"{f.contract}: {f.problem}" for f in check("operator", "broken") if f.problem)


class DropsBias(bibench.Operator):
    def output(self, y, x):
        return y[..., :-1]


class Ternary(bibench.Operator):
    def quantize_activation(self, x):
        return super().quantize_activation(x) * (x != 0)


class LateParameter(bibench.Operator):
    def output(self, y, x):
        if not hasattr(self, "late"):
            self.late = nn.Parameter(torch.ones(()))
        return y * self.late


class DeadParameter(bibench.Operator):
    def __init__(self, spec, *, profile="default"):
        super().__init__(spec, profile=profile)
        self.dead = nn.Parameter(torch.ones(()))


class OtherGradient(bibench.Operator):
    def quantize_weight(self, w):
        return w + (bibench.kernels.surrogate.sign(w) - w).detach()


class Noisy(bibench.Operator):
    def output(self, y, x):
        return y + torch.rand(())


class MixesExamples(bibench.Operator):
    def output(self, y, x):
        return y * x.abs().mean()


class HiddenLeftover(bibench.Operator):
    def output(self, y, x):
        return 2 * y


class OtherThreshold(bibench.Operator):
    """States the threshold with the wrong sign, which nobody sees at its initial value, 0."""

    def __init__(self, spec, *, profile="default"):
        super().__init__(spec, profile=profile)
        self.shift = nn.Parameter(spec.per_input(torch.zeros(spec.in_channels)))

    def activation_shift(self):
        return self.shift

    def inference_form(self, w):
        return bibench.InferenceForm(bibench.kernels.surrogate.sign(w), threshold=self.shift.flatten())


class DividesByZero(bibench.Operator):
    def activation(self, x):
        return x / x.std()


class ChangesWeights(bibench.Operator):
    def reset_parameters(self, w):
        w.mul_(2)


class Raises(bibench.Operator):
    def output(self, y, x):
        raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("broken", "contract"),
    [
        (DropsBias, "output_has_the_float_layers_shape"),
        (Ternary, "values_are_exactly_plus_or_minus_one"),
        (LateParameter, "parameters_exist_and_are_trained: .*created parameters"),
        (DeadParameter, "parameters_exist_and_are_trained: .*receives no gradient"),
        (OtherGradient, "gradients_are_those_of_the_declared_estimators"),
        (Noisy, "evaluation_is_deterministic"),
        (MixesExamples, "evaluation_is_deterministic"),
        (HiddenLeftover, "inference_form_is_complete"),
        (OtherThreshold, "inference_form_is_complete"),
        (DividesByZero, "degenerate_inputs_stay_finite"),
        (ChangesWeights, "latent_weights_survive_conversion"),
        (Raises, "the model fails with binarized layers: RuntimeError: boom"),
    ],
)
def test_broken_operators_are_found(enter, broken: type[bibench.Operator], contract: str) -> None:
    enter(broken)
    with pytest.raises(AssertionError, match=contract):
        raise AssertionError(problems())


class OptionOfItsOwn(bibench.Operator):
    """A constructor as one writes it first: it knows nothing of profiles."""

    def __init__(self, spec, init=1.0):
        super().__init__(spec)
        self.factor = nn.Parameter(torch.full((spec.out_channels,), init))

    def scale(self, w):
        return self.factor


class PassesOn(OptionOfItsOwn):
    def __init__(self, spec, *, more=2, **options):
        super().__init__(spec, **options)


def test_the_options_are_those_that_the_constructor_takes(enter) -> None:
    enter(OptionOfItsOwn)
    assert OptionOfItsOwn.options() == {"init": 1.0}
    assert PassesOn.options() == {"init": 1.0, "more": 2}
    assert OPERATORS["recu"].options() == {"profile": "default", "scale_init": "paper"}
    assert problems() == ""
    model = nn.Sequential(nn.Linear(4, 4))
    bibench.binarize(model, "broken[init=0.5]", example_inputs=torch.zeros(1, 4), keep=())
    assert model[0].operator.factor.tolist() == [0.5] * 4
    with pytest.raises(BiBenchError, match=r"has no option 'profile'; it has: init=1.0"):
        bibench.binarize(nn.Linear(4, 4), "broken[profile=original]", example_inputs=torch.zeros(1, 4), keep=())
