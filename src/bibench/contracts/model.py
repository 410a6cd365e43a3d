"""Contracts of architectures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from bibench.contracts.base import contract, expect
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError
from bibench.models import MODELS, create
from bibench.models.base import ModelEntry
from bibench.nn.conversion import MARK, binarize

CLASSES = 7
SHAPES: tuple[tuple[int, ...], ...] = ((3, 32, 32), (3, 64, 64), (3, 224, 224), (6, 64), (16,))
FAMILIES = ("cnn", "transformer", "mlp")


def _logits(out: Any) -> str:
    """What is wrong with logits for two examples (or for their every position), or an empty string."""
    if tuple(out.shape[:2]) != (2, CLASSES):
        return f"output has shape {tuple(out.shape)}, expected (2, {CLASSES}), or (2, {CLASSES}, positions)"
    return "" if bool(torch.isfinite(out).all()) else "output is not finite"


def _boxes(out: Any) -> str:
    """What is wrong with the detections in two images, or an empty string."""
    if len(out) != 2:
        return f"{len(out)} answers to 2 images"
    for found in out:
        count = len(found["scores"])
        if found["boxes"].shape != (count, 4) or found["labels"].shape != (count,):
            return f"boxes {tuple(found['boxes'].shape)} and labels {tuple(found['labels'].shape)} for {count} scores"
        if count and not 0 <= int(found["labels"].min()) <= int(found["labels"].max()) < CLASSES:
            return f"labels are not among 0 to {CLASSES - 1}"
        if not bool(torch.isfinite(found["boxes"]).all()):
            return "boxes are not finite"
    return ""


def _square(model: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    return model(*inputs).square().mean()


def _detection_loss(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    side = x.shape[-1]
    target = {"boxes": torch.tensor([[0.0, 0.0, side / 2, side / 2]]), "labels": torch.tensor([CLASSES - 1])}
    return torch.stack(list(model(x, [target] * len(x)).values())).sum()


ANSWERS: dict[str, tuple[Callable[[Any], str], Callable[..., torch.Tensor]]] = {
    "classes": (_logits, _square),
    "boxes": (_boxes, _detection_loss),
}
"""By `ModelEntry.answer`: what is wrong with an output, and a scalar to train on."""


def _entry(name: str) -> ModelEntry:
    return MODELS[choice(name).name]


def _create(name: str, **more: Any) -> nn.Module:
    chosen = choice(name)
    return create(chosen.name, **{**chosen.options, **more})


def _shape(name: str) -> tuple[int, ...]:
    problems = []
    for shape in SHAPES:
        try:
            _create(name, num_classes=CLASSES, input_shape=shape)
            return shape
        except BiBenchError as error:
            problems.append(str(error))
    raise BiBenchError(f"cannot be built for any of the input shapes {SHAPES}: {problems[-1]}")


def _build(name: str, **more: Any) -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    shape = _shape(name)
    model = _create(name, num_classes=CLASSES, input_shape=shape, **more)
    return model, _inputs(model, shape)


def _inputs(model: nn.Module, shape: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Two examples: the model's own, if it takes anything but one tensor of real numbers."""
    own = getattr(model, "example_inputs", None)
    return tuple(own()) if callable(own) else (torch.randn(2, *shape),)


@contract("model")
def family_is_known(name: str) -> None:
    """The family decides where the neural-architecture track counts the model."""
    family = _entry(name).family
    expect(family in FAMILIES, f"family is {family!r}, expected one of {', '.join(FAMILIES)}")


@contract("model")
def output_is_the_declared_answer(name: str) -> None:
    """(B, ...) gives what the model says it answers, for each of its classes, finite."""
    answer = _entry(name).answer
    expect(answer in ANSWERS, f"answer is {answer!r}, expected one of {', '.join(ANSWERS)}")
    model, x = _build(name)
    with torch.no_grad():
        problem = ANSWERS[answer][0](model.eval()(*x))
    expect(not problem, problem)


@contract("model")
def every_parameter_receives_a_gradient(name: str) -> None:
    """No dead parameters."""
    model, x = _build(name)
    ANSWERS[_entry(name).answer][1](model, *x).backward()
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
        model = _create(name, num_classes=CLASSES, input_shape=shape)
        out = model(*_inputs(model, shape))
    expect(out.is_meta, "does not stay on the meta device")
