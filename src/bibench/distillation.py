"""Distillation methods: how a frozen full-precision teacher enters the loss, by name in a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Distill = Callable[[Tensor, Any, Any], Tensor]


def logits(loss: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
    """mean(-p_T · log p_S) + 0.5 · loss, on the outputs of student and teacher (B, classes)."""
    soft = -(torch.softmax(teacher, -1) * F.log_softmax(student, -1)).mean()
    return soft + 0.5 * loss


METHODS: dict[str, Distill | None] = {"none": None, "logits": logits}
