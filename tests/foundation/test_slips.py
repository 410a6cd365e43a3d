"""Slips of the pen in a user's class are told with the name that was meant; helpers of their own are none."""

import warnings

import pytest
import torch

import bibench
from bibench import Operator, operator
from bibench.foundation.errors import DefinitionError, DefinitionWarning
from bibench.kernels.surrogate import STE

from ..worlds import fresh_registries


def told(name: str, body: dict) -> list[str]:
    """The warnings of entering an operator with these attributes."""
    with fresh_registries(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        operator(name)(type("Mine", (Operator,), body))
    return [str(w.message) for w in caught if issubclass(w.category, DefinitionWarning)]


def real(self, w):
    return w


@pytest.mark.parametrize(
    ("body", "near"),
    [
        ({"scales": real}, "'scale'"),
        ({"wieght": real, "scale": lambda self, w: None}, "'weight'"),
        ({"activation_estimater": STE(), "weight": real}, "'activation_estimator'"),
        ({"reset_paramaters": real, "weight": real}, "'reset_parameters'"),
    ],
)
def test_a_misspelled_slot_is_told_with_the_near_miss(body, near):
    said = told("slip", body)
    assert any(f"did you mean {near}?" in text for text in said), said


def test_an_operator_that_overrides_nothing_is_told():
    (said,) = told("nothing", {"title": "Nothing"})
    assert "overrides" in said and "'nothing'" in said


@pytest.mark.parametrize(
    "body", [{"weight": real}, {"weight": real, "helper": real}, {"scale_of_rows": real, "weight": real}]
)
def test_helpers_and_whole_operators_are_no_slips(body):
    assert told("whole", body) == []


class Forgetful(Operator):
    def __init__(self, spec, *, profile="default"):
        self.spec = spec


class WrongScale(Operator):
    def scale(self, w):
        return w.abs().mean()


class Late(Operator):
    def output(self, y, x):
        self.gain = torch.nn.Parameter(torch.ones(1))
        return y * self.gain


@pytest.mark.parametrize(
    ("cls", "line", "fix"),
    [
        (Forgetful, "def __init__(self, spec", "super().__init__"),
        (WrongScale, "return w.abs().mean()", "one factor per output channel"),
        (Late, "self.gain = torch.nn.Parameter", "__init__"),
    ],
)
def test_the_users_own_line_is_named_once_with_the_fix(cls, line, fix):
    with fresh_registries():
        operator("blamed")(cls)
        x = torch.randn(2, 8, 6, 6)
        with pytest.raises(DefinitionError) as caught:
            made = bibench.binarize(torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3)), "blamed", keep=(), example_inputs=x)
            made(x)
    said = str(caught.value)
    assert said.count("test_slips.py:") == 1 and line in said and fix in said, said
    assert "module.py" not in said
