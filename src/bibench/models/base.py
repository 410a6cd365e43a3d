"""The catalogue of architectures and the one function that builds them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from bibench.foundation.errors import BiBenchError
from bibench.foundation.registry import Registry, check_name
from bibench.foundation.slips import did_you_mean

MODELS: Registry[ModelEntry] = Registry("model", "bibench.models")
"""The architectures by name; `model` enters one."""

Builder = Callable[..., nn.Module]


@dataclass(frozen=True)
class ModelEntry:
    """An architecture: its builder, its family ("cnn", "transformer" or "mlp"), where it is from and its answer.

    The answer is what its outputs are: "classes" (logits of each class) or "boxes" (what detectors give, see
    `bibench.models.detector.Detector`).

    The builder takes ``num_classes`` and ``input_shape`` (one example, without the batch axis) and
    keyword options. It may mark layers that stay full precision by the attribute
    ``full_precision_layers`` of what it returns (pattern → reason).

    Attributes:
        name: as users write it.
        builder: the function that makes it.
        family: ``cnn``, ``transformer`` or ``mlp``.
        paper: where it is from.
        answer: ``classes`` or ``boxes``.
    """

    name: str
    builder: Builder
    family: str
    paper: str
    answer: str = "classes"

    def options(self) -> dict[str, Any]:
        """Names and defaults of the builder's options."""
        parameters = inspect.signature(self.builder).parameters.values()
        return {p.name: p.default for p in parameters if p.name not in ("num_classes", "input_shape")}

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise `BiBenchError` for an option this model does not have.

        Args:
            options: by name.

        Raises:
            BiBenchError: an option that this model does not have; it names those that it has.
        """
        known = self.options()
        for name in options:
            if name not in known:
                has = ", ".join(f"{k}={v!r}" for k, v in known.items()) or "none"
                raise BiBenchError(
                    f"model {self.name!r} has no option {name!r}{did_you_mean(name, known)}; it has: {has}"
                )


def model(name: str, *, family: str, paper: str, answer: str = "classes") -> Callable[[Builder], Builder]:
    """Decorator: enter a builder function into the catalogue as `name`.

    Args:
        family: ``cnn``, ``transformer`` or ``mlp``.
        paper: where it is from.
        answer: ``classes`` or ``boxes``, see `ModelEntry`.

    Raises:
        BiBenchError: the name is none.
    """
    check_name("model", name)

    def enter(builder: Builder) -> Builder:
        _check_arguments(name, builder)
        MODELS.register(name, ModelEntry(name, builder, family, paper, answer), where=builder)
        return builder

    return enter


def _check_arguments(name: str, builder: Builder) -> None:
    """Raise `BiBenchError` unless a builder takes what every model is built with."""
    parameters = inspect.signature(builder).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for asked in ("num_classes", "input_shape"):
        if asked not in parameters:
            meant = difflib.get_close_matches(asked, list(parameters), n=1, cutoff=0.6)
            raise BiBenchError(
                f"@model({name!r}): {builder.__name__} takes no {asked}, expected the keywords num_classes and "
                "input_shape" + (f"; did you mean that by {meant[0]!r}?" if meant else "")
            )


def create(
    name: str, *, num_classes: int = 10, input_shape: tuple[int, ...] = (3, 32, 32), **options: Any
) -> nn.Module:
    """Build a full-precision model.

    Args:
        name: see ``bibench list models``.
        num_classes: outputs of the classifier.
        input_shape: one example without the batch axis; image models choose their stem by it.
        **options: the architecture's own, such as ``width`` or ``binarize_downsample``.

    Raises:
        UnknownNameError: no such model.
        BiBenchError: an option that it does not have, or no classes.
    """
    entry = MODELS[name]
    entry.check_options(options)
    if num_classes < 1:
        raise BiBenchError(f"num_classes must be at least 1, got {num_classes}")
    return entry.builder(num_classes=num_classes, input_shape=tuple(input_shape), **options)
