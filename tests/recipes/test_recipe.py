"""Recipes: schedules, optimizers, what decays, and the messages about wrong settings."""

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import nn

import bibench
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError
from bibench.operators import OPERATORS
from bibench.recipes.recipe import (
    OPTIMIZERS,
    SCHEDULES,
    Recipe,
    decays,
    division_of,
    learning_rate,
    make_optimizer,
    study_of,
)

BASE = Recipe(epochs=10, batch_size=4, lr=0.2)


def rate(t: float, **settings: Any) -> float:
    return learning_rate(t, BASE.with_options(settings))


# -- schedules ---------------------------------------------------------------------------------------------

CURVES = {
    "cosine": {0: 0.2, 1 / 3: 0.15, 0.5: 0.1, 2 / 3: 0.05, 1: 0.0},
    "linear": {0: 0.2, 0.25: 0.15, 0.5: 0.1, 1: 0.0},
    "step": {0: 0.2, 0.4999: 0.2, 0.5: 0.02, 0.7499: 0.02, 0.75: 0.002, 1: 0.002},
    "constant": {0: 0.2, 0.5: 0.2, 1: 0.2},
}


@pytest.mark.parametrize("schedule", CURVES)
def test_schedules(schedule: str) -> None:
    for t, expected in CURVES[schedule].items():
        assert rate(t, schedule=schedule) == pytest.approx(expected, abs=1e-12), t


def test_every_schedule_is_tested() -> None:
    assert set(CURVES) == set(SCHEDULES)


@pytest.mark.parametrize("schedule", CURVES)
def test_warmup_is_linear_from_zero_and_then_the_schedule_begins(schedule: str) -> None:
    for t, expected in {0: 0.0, 0.05: 0.05, 0.1: 0.1, 0.2: 0.2}.items():
        assert rate(t, schedule=schedule, warmup=0.2) == pytest.approx(expected, abs=1e-12), t
    assert rate(0.2 - 1e-9, schedule=schedule, warmup=0.2) == pytest.approx(0.2)


def test_what_follows_the_warmup() -> None:
    assert rate(0.6, schedule="cosine", warmup=0.2) == pytest.approx(0.1)
    assert rate(0.6, schedule="linear", warmup=0.2) == pytest.approx(0.1)
    assert rate(1, schedule="cosine", warmup=0.2) == pytest.approx(0, abs=1e-12)
    assert rate(1, schedule="linear", warmup=0.2) == pytest.approx(0, abs=1e-12)


def test_milestones_are_fractions_of_the_whole_training() -> None:
    for warmup in (0.0, 0.1):
        rates = [rate(t, schedule="step", milestones=(0.3, 0.9), warmup=warmup) for t in (0.2999, 0.3, 0.8999, 0.9)]
        assert rates == pytest.approx([0.2, 0.02, 0.02, 0.002])
    assert rate(0.99, schedule="step", milestones=()) == 0.2


def test_rates_never_leave_their_range() -> None:
    for schedule in SCHEDULES:
        for warmup in (0.0, 0.05, 0.999):
            rates = [rate(step / 1000, schedule=schedule, warmup=warmup) for step in range(1000)]
            assert all(0 <= r <= 0.2 + 1e-12 for r in rates)


# -- settings ----------------------------------------------------------------------------------------------


def test_with_options_changes_a_copy() -> None:
    changed = BASE.with_options({"epochs": 3, "milestones": (0.1,)})
    assert (changed.epochs, changed.milestones, changed.lr) == (3, (0.1,), 0.2)
    assert BASE.epochs == 10
    assert BASE.with_options({}) == BASE


@pytest.mark.parametrize("name", ["epoch", "fp32", "grid"])
def test_an_unknown_option_lists_the_known_ones(name: str) -> None:
    with pytest.raises(BiBenchError) as caught:
        BASE.with_options({name: 3})
    known = sorted({field.name for field in fields(Recipe)} - {"fp32", "grid"})
    assert str(caught.value) == f"a recipe has no {name!r}; it has: {', '.join(known)}"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("optimizer", "lion", "one of adam, adamw, sgd, sgd_nesterov"),
        ("schedule", "cosin", "one of cosine, step, linear, constant"),
        ("init", "random", "one of fp32, scratch"),
        ("epochs", 0, "a positive integer"),
        ("epochs", 2.5, "a positive integer"),
        ("epochs", "ten", "a positive integer"),
        ("batch_size", -1, "a positive integer"),
        ("lr", 0, "a positive number"),
        ("lr", "fast", "a positive number"),
        ("lr", math.nan, "a positive number"),
        ("lr", math.inf, "a positive number"),
        ("momentum", -0.1, "a number, at least 0"),
        ("weight_decay", -1e-4, "a number, at least 0"),
        ("weight_decay", "1e-4x", "a number, at least 0"),
        ("clip_grad_norm", -1, "a number, at least 0"),
        ("warmup", 1, "a fraction of the training, at least 0 and below 1"),
        ("warmup", -0.1, "a fraction of the training, at least 0 and below 1"),
        ("warmup", 5, "a fraction of the training, at least 0 and below 1"),
        ("milestones", 0.5, "fractions of the training, as in (0.5, 0.75)"),
        ("milestones", (60, 80), "fractions of the training, as in (0.5, 0.75)"),
        ("milestones", "0.5", "fractions of the training, as in (0.5, 0.75)"),
    ],
)
def test_wrong_values_are_refused(option: str, value: object, expected: str) -> None:
    with pytest.raises(BiBenchError) as caught:
        BASE.with_options({option: value})
    assert str(caught.value) == f"recipe: {option} must be {expected}; got {value!r}"


def test_the_full_precision_stage_has_its_own_settings() -> None:
    recipe = Recipe(
        epochs=10,
        batch_size=4,
        lr=1e-3,
        weight_decay=1e-5,
        distillation="logits",
        fp32=(("optimizer", "sgd"), ("lr", 0.1)),
    )
    assert recipe.for_operator(full_precision=False) is recipe
    stage = recipe.for_operator(full_precision=True)
    assert (stage.optimizer, stage.lr) == ("sgd", 0.1)
    assert (stage.epochs, stage.batch_size, stage.weight_decay) == (10, 4, 1e-5), "the others stay"
    assert (stage.init, stage.distillation, stage.fp32) == ("scratch", "none", ())
    assert stage.for_operator(full_precision=True) == stage


def test_settings_changed_by_the_user_reach_both_stages_unless_the_stage_has_its_own() -> None:
    recipe = Recipe(epochs=10, batch_size=4, lr=1e-3, fp32=(("lr", 0.1),))
    stage = recipe.with_options({"epochs": 2, "lr": 0.5}).for_operator(full_precision=True)
    assert (stage.epochs, stage.lr) == (2, 0.1)


@pytest.mark.parametrize("precision", ["fp8", "bf16", "bf16-true", 16])
def test_precisions_that_cannot_be_trained_in(precision: Any) -> None:
    with pytest.raises(
        BiBenchError, match=f"precision must be one of 32-true, bf16-mixed, 16-mixed; got {precision!r}"
    ):
        BASE.with_options({"precision": precision})


@pytest.mark.parametrize("name", ["learning_rate", "fp32"])
def test_a_misspelt_setting_of_that_stage_is_told(name: str) -> None:
    recipe = Recipe(epochs=10, batch_size=4, lr=1e-3, fp32=((name, 0.1),))
    with pytest.raises(BiBenchError, match=f"^a recipe has no '{name}'; it has: backward, batch_size, "):
        recipe.for_operator(full_precision=True)


def test_wrong_values_of_that_stage_are_refused() -> None:
    recipe = Recipe(epochs=10, batch_size=4, lr=1e-3, fp32=(("optimizer", "lion"),))
    with pytest.raises(BiBenchError, match=r"optimizer must be one of .*; got 'lion'$"):
        recipe.for_operator(full_precision=True)


GRID = ((("optimizer", "sgd"), ("lr", 0.1)), (("optimizer", "sgd"), ("lr", 0.1), ("momentum", 0.0)))


@pytest.mark.parametrize(
    ("options", "study", "division"),
    [
        ("optimizer=sgd,lr=0.1", "name", "closed"),
        ("lr=0.1,momentum=0,optimizer=sgd", "name", "closed"),  # the larger setting that fits
        ("lr=0.1,momentum=0.5,optimizer=sgd", "name[momentum=0.5]", "open"),
        ("lr=0.1", None, "open"),
    ],
)
def test_settings_of_a_grid_are_prescribed(options: str, study: str | None, division: str) -> None:
    recipe, chosen = replace(BASE, grid=GRID), choice(f"name[{options}]")
    found = study_of(recipe, chosen)
    assert (found and str(found), division_of(recipe, chosen)) == (study, division)
    assert study_of(BASE, chosen) is None
    assert division_of(BASE, chosen) == "open"
    assert (study_of(recipe, choice("name")), division_of(recipe, choice("name"))) == (None, "closed")


def test_a_training_knows_nothing_of_the_grid() -> None:
    assert replace(BASE, grid=GRID).without_grid() == BASE


def test_plain_data() -> None:
    data = json.loads(json.dumps(BASE.to_dict()))
    assert data["epochs"] == 10
    assert set(data) == {field.name for field in fields(Recipe)}


# -- optimizers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cls", "settings"),
    [
        ("adam", torch.optim.Adam, {}),
        ("adamw", torch.optim.AdamW, {}),
        ("sgd", torch.optim.SGD, {"momentum": 0.8, "nesterov": False}),
        ("sgd_nesterov", torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    ],
)
def test_optimizers(name: str, cls: type[torch.optim.Optimizer], settings: dict[str, Any]) -> None:
    recipe = BASE.with_options({"optimizer": name, "momentum": 0.8, "weight_decay": 0.01})
    optimizer = make_optimizer(nn.Linear(3, 2), recipe)
    assert type(optimizer) is cls
    decayed, others = optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.01, 0.0)
    for group in (decayed, others):
        assert group["lr"] == 0.2
        for setting, value in settings.items():
            assert group[setting] == value


def test_every_optimizer_is_tested() -> None:
    assert set(OPTIMIZERS) == {"adam", "adamw", "sgd", "sgd_nesterov"}


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3),
        nn.GroupNorm(2, 4),
        nn.Flatten(),
        nn.Linear(64, 6),
        nn.Linear(6, 2),
    )


WEIGHTS = {"0.weight", "2.weight", "5.weight", "6.weight"}


def groups(network: nn.Module, **settings: Any) -> tuple[set[str], set[str]]:
    """Names of the decayed and of the other trained parameters."""
    optimizer = make_optimizer(network, BASE.with_options({"weight_decay": 0.1, **settings}))
    names = {id(p): name for name, p in network.named_parameters()}
    found: dict[float, set[str]] = {0.1: set(), 0.0: set()}
    for group in optimizer.param_groups:
        found[group["weight_decay"]] |= {names[id(p)] for p in group["params"]}
    return found[0.1], found[0.0]


@pytest.mark.parametrize("operator", [None, *OPERATORS])
def test_only_weight_matrices_and_filters_decay(operator: str | None) -> None:
    network = model()
    if operator not in (None, "fp32"):
        bibench.binarize(network, operator, example_inputs=torch.zeros(2, 3, 8, 8))
    decayed, others = groups(network)
    assert decayed == WEIGHTS
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert others == trained - WEIGHTS
    assert {"0.bias", "1.weight", "1.bias", "2.bias", "3.weight", "3.bias", "6.bias"} <= others


@pytest.mark.parametrize(
    ("operator", "own"), [("reactnet", {"2.operator.shift", "5.operator.shift"}), ("recu", {"2.operator.alpha"})]
)
def test_scales_and_thresholds_of_operators_are_trained_without_decay(operator: str, own: set[str]) -> None:
    network = model()
    bibench.binarize(network, operator, example_inputs=torch.zeros(2, 3, 8, 8))
    decayed, others = groups(network)
    assert own <= others
    assert not own & decayed


def test_a_model_that_is_one_binarized_layer() -> None:
    network = nn.Conv2d(3, 4, 3)
    bibench.binarize(network, "reactnet", example_inputs=torch.zeros(2, 3, 8, 8), keep=())
    decayed, others = groups(network)
    assert decayed == {"weight"}
    assert others == {"bias", "operator.shift"}


def test_frozen_parameters_are_left_out() -> None:
    network = nn.Linear(3, 2)
    network.weight.requires_grad_(False)
    decayed, others = groups(network)
    assert decayed == set()
    assert others == {"bias"}


def test_decay_shrinks_weights_alone() -> None:
    network = nn.Linear(3, 2)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = make_optimizer(network, BASE.with_options({"optimizer": "sgd", "weight_decay": 0.1, "lr": 0.5}))
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    torch.testing.assert_close(network.weight.detach(), before["weight"] * 0.95)
    assert torch.equal(network.bias, before["bias"])


def test_names_that_only_resemble_operators_decay() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    assert decays("layer.weight", weight)
    assert decays("my_operators.weight", weight)
    assert not decays("layer.operator.down", weight)
    assert not decays("layer.bias", nn.Parameter(torch.zeros(2)))
