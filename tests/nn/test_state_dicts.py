"""Weights are found in what others save, and nothing else is taken for them."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from bibench.foundation.errors import CheckpointError
from bibench.nn.state_dicts import fit, misfits, tell_choice

State = dict[str, Any]


def net(scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Sequential(nn.Linear(4, 2)))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter *= scale
    return made


OWN = net().state_dict()
PLAIN, EMA = net(2).state_dict(), net(3).state_dict()


def under(prefix: str, state: State = PLAIN) -> State:
    return {prefix + name: value for name, value in state.items()}


def compiled_inside() -> State:
    return {name.replace("2.", "2._orig_mod.module."): value for name, value in PLAIN.items()}


LAYOUTS: dict[str, Callable[[], State]] = {
    "plain": lambda: PLAIN,
    "DDP": lambda: under("module."),
    "compiled": lambda: under("_orig_mod."),
    "compiled DDP": lambda: under("module._orig_mod."),
    "Lightning": lambda: {"state_dict": under("model."), "epoch": 3, "pytorch-lightning_version": "2.5"},
    "net": lambda: {"net": under("module."), "acc": 93.1, "epoch": 199},
    "torchvision": lambda: {"model": PLAIN, "optimizer": {"state": {0: {"step": torch.ones(())}}, "param_groups": []}},
    "nested": lambda: {"model": {"state_dict": under("backbone.")}, "args": {"lr": 0.1}},
    "some prefix": lambda: {"weights": under("anything.at.all.")},
    "inside": compiled_inside,
    "inside and before": lambda: {"state_dict": {f"model.{name}": v for name, v in compiled_inside().items()}},
    "params": lambda: {"params": PLAIN},
    "other tensors": lambda: {**PLAIN, "n_averaged": torch.tensor(3)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str) -> None:
    fitted = fit(LAYOUTS[layout](), OWN)
    assert fitted.exact
    assert not misfits(OWN, fitted)
    assert fitted.state.keys() == PLAIN.keys()
    assert all(torch.equal(fitted.state[name], value) for name, value in PLAIN.items())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_choice(fitted, "file")


BOTH = {
    "timm": ({"state_dict": PLAIN, "state_dict_ema": EMA}, "state_dict_ema"),
    "torchvision": (
        {"model_ema": {"n_averaged": torch.tensor(2), **under("module.", EMA)}, "model": PLAIN},
        "model_ema",
    ),
    "BasicSR": ({"params_ema": EMA, "params": PLAIN}, "params_ema"),
    "ema": ({"ema": under("module.", EMA), "net": under("module.")}, "ema"),
}


@pytest.mark.parametrize("how", BOTH)
def test_plain_weights_unless_asked(how: str) -> None:
    checkpoint, where = BOTH[how]
    plain, averaged = fit(checkpoint, OWN), fit(checkpoint, OWN, averaged=True)
    assert torch.equal(plain.state["0.weight"], PLAIN["0.weight"])
    assert torch.equal(averaged.state["0.weight"], EMA["0.weight"])
    with pytest.warns(
        UserWarning, match=f"file: the plain weights were loaded, not the averaged ones of '{where}'; --ema"
    ):
        tell_choice(plain, "file", ask="--ema")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_choice(averaged, "file", averaged=True)


def test_only_averaged_weights() -> None:
    only = fit({"state_dict_ema": EMA, "epoch": 3}, OWN)
    with pytest.warns(UserWarning, match="the weights of 'state_dict_ema' were loaded, which are averaged"):
        tell_choice(only, "file")
    model = AveragedModel(net(3))
    assert torch.equal(fit(model.state_dict(), OWN).state["0.weight"], EMA["0.weight"])


def test_averaged_weights_that_are_not_there() -> None:
    with pytest.raises(CheckpointError, match="file holds no averaged weights"):
        tell_choice(fit({"state_dict": PLAIN}, OWN, averaged=True), "file", averaged=True)


def test_what_does_not_fit_is_told() -> None:
    other = {**under("model."), "criterion.weight": torch.ones(2)}
    assert misfits(OWN, fit(other, OWN)) == (
        "0 of 9 tensors fit; 9 missing (0.bias, 0.weight, 1.bias, ...); "
        "10 unexpected (criterion.weight, model.0.bias, model.0.weight, ...); "
        "9 of 10 names in the file begin with 'model.'"
    )
    wide = copy.deepcopy(PLAIN)
    wide["2.0.weight"] = torch.ones(5, 4)
    assert misfits(OWN, fit(under("module.", wide), OWN)) == (
        "8 of 9 tensors fit; 1 of another shape (2.0.weight (5, 4) instead of (2, 4))"
    )
    assert misfits(OWN, fit({"epoch": 3, "optimizer": {0: {"step": torch.ones(1)}}}, OWN)).startswith("0 of 9 tensors")


def test_a_model_whose_names_begin_so_is_left_alone() -> None:
    own = under("module.", under("model."))
    assert fit({"state_dict": own}, own).state.keys() == own.keys()
    assert fit(under("module.", own), own).prefix == "module."


def test_translation() -> None:
    def ours(state: State) -> State:
        return {name.replace("conv.", "0."): v for name, v in state.items() if not name.startswith("head.")}

    theirs = {name.replace("0.", "conv.", 1) if name.startswith("0.") else name: v for name, v in PLAIN.items()}
    fitted = fit({"state_dict": under("module.", {**theirs, "head.weight": torch.ones(1)})}, OWN, translate=ours)
    assert fitted.exact
    assert "head.weight" in fitted.raw
