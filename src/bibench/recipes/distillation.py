"""Distillation methods: how a frozen full-precision teacher enters the loss, by name in a recipe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bibench.foundation.errors import BiBenchError

Observed = dict[str, list[tuple[tuple[Any, ...], Any]]]
"""By kind of module, for each module of that kind: the inputs and the output of its last forward."""


def soft_cross_entropy(student: Tensor, teacher: Tensor) -> Tensor:
    """mean(-p_T · log p_S) of the outputs of student and teacher (B, classes)."""
    return -(torch.softmax(teacher, -1) * F.log_softmax(student, -1)).mean()


def logits(loss: Tensor, soft: Tensor, student: Observed, teacher: Observed) -> Tensor:
    """soft + 0.5 · loss: the task's difference from the teacher's outputs, and its own loss.

    As the official release of BiBench trains BERT (https://github.com/htqin/BiBench).
    """
    return soft + 0.5 * loss


def direction_matching(loss: Tensor, soft: Tensor, student: Observed, teacher: Observed) -> Tensor:
    """`logits`, and the directions of attention and hidden states (BiBERT, https://arxiv.org/abs/2203.06390).

    Adds mean ‖S/‖S‖ - T/‖T‖‖₂ of QQᵀ, KKᵀ, VVᵀ of every head and of the hidden states of every layer,
    over the tokens that are no padding. Compares directions, since binarized magnitudes mean nothing.
    """
    total = logits(loss, soft, student, teacher)
    for (own, _), (taught, _) in zip(student["attention"], teacher["attention"], strict=True):
        mask = own[3].transpose(-1, -2).to(own[0].dtype)  # (B, 1, T, 1)
        for s, t in zip(own[:3], taught[:3], strict=True):
            total = total + direction_difference(_similarity(s * mask), _similarity(t * mask))
    tokens = student["attention"][0][0][3][:, 0].transpose(-1, -2)  # (B, T, 1)
    for (_, own_states), (_, states) in zip(student["hidden"], teacher["hidden"], strict=True):
        total = total + direction_difference(own_states * tokens, states * tokens)
    return total


def _similarity(x: Tensor) -> Tensor:
    return x @ x.mT


def direction_difference(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of ‖S/‖S‖ - T/‖T‖‖₂ over matrices (..., M, N), each normalized as a whole."""
    s = F.normalize(student.flatten(-2), dim=-1)
    t = F.normalize(teacher.flatten(-2), dim=-1)
    # The norm itself has no gradient at 0, where student and teacher agree.
    return (s - t).square().sum(-1).add(1e-12).sqrt().mean()


@dataclass(frozen=True)
class Method:
    """A distillation method.

    Attributes:
        combine: function of (the task's loss, its difference from the teacher's outputs, what was
            observed in the student, and in the teacher) to the training loss.
        observes: whether it compares what modules inside the models compute; the model then has a
            method ``distilled_modules()`` that gives them by kind.
    """

    combine: Callable[[Tensor, Tensor, Observed, Observed], Tensor]
    observes: bool = False


class Observer:
    """Keeps the inputs and outputs of a model's ``distilled_modules()`` in its last forward."""

    def __init__(self, model: nn.Module) -> None:
        name_modules = getattr(model, "distilled_modules", None)
        if not callable(name_modules):
            raise BiBenchError(
                f"distillation='dmd' compares attentions, and {type(model).__name__} names none "
                "(it has no distilled_modules); use distillation=logits or none"
            )
        self.values: Observed = {}
        self._hooks = []
        for kind, modules in name_modules().items():
            self.values[kind] = [((), None)] * len(modules)
            for index, module in enumerate(modules):
                self._hooks.append(module.register_forward_hook(self._keep(kind, index)))

    def _keep(self, kind: str, index: int) -> Callable[..., None]:
        def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.values[kind][index] = (inputs, output)

        return keep

    def remove(self) -> None:
        """Stop observing, and forget."""
        for hook in self._hooks:
            hook.remove()
        self.values.clear()


METHODS: dict[str, Method | None] = {
    "none": None,
    "logits": Method(logits),
    "dmd": Method(direction_matching, observes=True),
}


class Distillation:
    """What the teacher adds to a training loss, by the method a recipe names; nothing without a teacher."""

    def __init__(self, method: str, student: nn.Module, teacher: nn.Module | None) -> None:
        self._method = METHODS[method] if teacher is not None else None
        self._teacher = teacher
        watched = (student, teacher) if self._method is not None and self._method.observes else ()
        self._observers = [Observer(model) for model in watched if model is not None]

    def __call__(
        self, loss: Tensor, outputs: Any, batch: Any, task: Any, autocast: Callable[[], AbstractContextManager[Any]]
    ) -> Tensor:
        """The training loss, from the task's own `loss` of the student's `outputs` to `batch`."""
        if self._method is None:
            return loss
        with torch.no_grad(), autocast():
            taught = task.forward(self._teacher, batch)
        soft = task.distillation_loss(outputs, taught)
        student, teacher = (o.values for o in self._observers) if self._observers else ({}, {})
        return self._method.combine(loss, soft, student, teacher)

    def close(self) -> None:
        """Stop watching the models."""
        for observer in self._observers:
            observer.remove()
