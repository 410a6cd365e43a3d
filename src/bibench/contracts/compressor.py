"""Contracts of compressors: what they leave is a smaller network that loads again and computes the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bibench.comparators.compressor import Compressor, compressor_of
from bibench.contracts.base import contract, expect
from bibench.foundation.choice import choice
from bibench.models import create
from bibench.nn import auditing
from bibench.nn.calls import trace

SHAPE = (3, 16, 16)
MODELS = ("vgg_small", "resnet20")
STEPS = 6


def made(architecture: str) -> tuple[nn.Module, Tensor]:
    """A small network with statistics in its norms, and a batch."""
    model = create(architecture, num_classes=4, input_shape=SHAPE, width=8)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return model, torch.randn(4, *SHAPE)


def trained(name: str, model: nn.Module, x: Tensor) -> Compressor:
    """`model` prepared and trained for a few steps, not yet finished."""
    compressor = compressor_of(choice(name))
    compressor.prepare(model, x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.train()
    for step in range(STEPS):
        compressor.progress(model, step / STEPS, 1 / STEPS)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    model.eval()
    return compressor


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Of all parameters and buffers."""
    return {key: tuple(value.shape) for key, value in model.state_dict().items() if isinstance(value, Tensor)}


@contract("compressor")
def parameters_exist_before_training(name: str) -> None:
    """`prepare` creates all parameters, and each receives a finite gradient."""
    for architecture in MODELS:
        model, x = made(architecture)
        compressor_of(choice(name)).prepare(model, x)
        before = {key for key, _ in model.named_parameters()}
        model(x).square().mean().backward()
        expect(before == {k for k, _ in model.named_parameters()}, f"{architecture}: a forward created parameters")
        for key, parameter in model.named_parameters():
            fine = parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())
            expect(fine, f"{architecture}: {key} receives no finite gradient")


@contract("compressor")
def what_is_left_is_smaller(name: str) -> None:
    """After `finish` the model has fewer parameters and multiply-accumulates, and the same outputs' shape."""
    for architecture in MODELS:
        model, x = made(architecture)
        full, expected = auditing.audit(model, x), tuple(model(x).shape)
        trained(name, model, x).finish(model, x)
        left = auditing.audit(model, x)
        expect(left.parameters < full.parameters, f"{architecture}: {left.parameters} of {full.parameters} parameters")
        macs, all_macs = sum(left.macs_by_bits().values()), sum(full.macs_by_bits().values())
        expect(macs < all_macs, f"{architecture}: {macs} of {all_macs} multiply-accumulates are left")
        expect(tuple(model(x).shape) == expected, f"{architecture}: the outputs have another shape")


@contract("compressor")
def finished_models_load_again(name: str) -> None:
    """`restore` gives a fresh model the form of a finished one, which then computes the same."""
    for architecture in MODELS:
        model, x = made(architecture)
        trained(name, model, x).finish(model, x)
        fresh, _ = made(architecture)
        compressor_of(choice(name)).restore(fresh, x, model.state_dict())
        fresh.load_state_dict(model.state_dict())
        with torch.no_grad():
            same = torch.equal(fresh.eval()(x), model.eval()(x))
        expect(same, f"{architecture}: the restored model computes something else")


@contract("compressor")
def checkpoints_continue(name: str) -> None:
    """The state dict in the middle of training has all that a fresh compressor needs to end the same way."""
    for architecture in MODELS:
        model, x = made(architecture)
        first = trained(name, model, x)
        state = {k: v.clone() if isinstance(v, Tensor) else v for k, v in model.state_dict().items()}
        other, _ = made(architecture)
        second = compressor_of(choice(name))
        second.prepare(other, x)
        other.load_state_dict(state)
        for compressor, each in ((first, model), (second, other)):
            compressor.progress(each, (STEPS - 1) / STEPS, 1 / STEPS)
            compressor.finish(each.eval(), x)
        expect(_equal(model.state_dict(), other.state_dict()), f"{architecture}: a continued training ends otherwise")


@contract("compressor")
def full_precision_checkpoints_load(name: str) -> None:
    """The weights of the baseline are those of the model before `prepare`, whose keys stay."""
    for architecture in MODELS:
        model, x = made(architecture)
        before = set(model.state_dict())
        compressor_of(choice(name)).prepare(model, x)
        missing = sorted(before - set(model.state_dict()))
        expect(not missing, f"{architecture}: prepare took {missing} from the state dict")


@contract("compressor")
def it_can_be_planned(name: str) -> None:
    """`check` works on the meta device and changes nothing."""
    for architecture in MODELS:
        with torch.device("meta"):
            model = create(architecture, num_classes=4, input_shape=SHAPE, width=8)
            calls = trace(model, torch.zeros(1, *SHAPE))
            before = shapes(model)
            compressor_of(choice(name)).check(model, calls)
        expect(shapes(model) == before, f"{architecture}: check changed the model")


def _equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())
