"""Contracts of architectures."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bibench.contracts.base import contract, expect
from bibench.conversion import MARK, binarize
from bibench.errors import BiBenchError
from bibench.models import MODELS, create

CLASSES = 7
SHAPES: tuple[tuple[int, ...], ...] = ((3, 32, 32), (3, 64, 64), (3, 224, 224), (16,))
FAMILIES = ("cnn", "transformer", "mlp")


def _shape(name: str) -> tuple[int, ...]:
    problems = []
    for shape in SHAPES:
        try:
            create(name, num_classes=CLASSES, input_shape=shape)
            return shape
        except BiBenchError as error:
            problems.append(str(error))
    raise BiBenchError(f"cannot be built for any of the input shapes {SHAPES}: {problems[-1]}")


def _build(name: str, **more: Any) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    shape = _shape(name)
    model = create(name, num_classes=CLASSES, input_shape=shape, **more)
    return model, _inputs(model, shape)


def _inputs(model: nn.Module, shape: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Two examples: the model's own, if it takes anything but one tensor of real numbers."""
    own = getattr(model, "example_inputs", None)
    return tuple(own()) if callable(own) else (torch.randn(2, *shape),)


@contract("model")
def family_is_known(name: str) -> None:
    """The family decides where the neural-architecture track counts the model."""
    family = MODELS[name].family
    expect(family in FAMILIES, f"family is {family!r}, expected one of {', '.join(FAMILIES)}")


@contract("model")
def output_is_one_logit_per_class(name: str) -> None:
    """(B, ...) gives (B, num_classes), finite."""
    model, x = _build(name)
    with torch.no_grad():
        out = model(*x)
    expect(tuple(out.shape) == (2, CLASSES), f"output has shape {tuple(out.shape)}, expected (2, {CLASSES})")
    expect(bool(torch.isfinite(out).all()), "output is not finite")


@contract("model")
def every_parameter_receives_a_gradient(name: str) -> None:
    """No dead parameters."""
    model, x = _build(name)
    model(*x).square().mean().backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None]
    expect(not dead, f"no gradient reaches {', '.join(dead[:5])}")


@contract("model")
def its_marks_name_layers(name: str) -> None:
    """Each pattern of full_precision_layers matches a layer, and conversion finds something to replace."""
    model, x = _build(name)
    marks = getattr(model, MARK, {})
    audit = binarize(model, "bnn", example_inputs=x)
    kept = {row.reason for row in audit.rows}
    unused = [pattern for pattern, reason in marks.items() if reason not in kept]
    expect(not unused, f"marks match no layer: {', '.join(unused)}")


@contract("model")
def plans_on_the_meta_device(name: str) -> None:
    """Can be built without memory, so that planning is cheap."""
    shape = _shape(name)
    with torch.device("meta"):
        model = create(name, num_classes=CLASSES, input_shape=shape)
        out = model(*_inputs(model, shape))
    expect(out.is_meta, "does not stay on the meta device")
