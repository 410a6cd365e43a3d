"""Setting a parameter from the first training batch, without a wait for the device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class FirstBatch(nn.Module):
    """Sets `target` to a statistic of the first training batch in which that is positive.

    Whether it was set is a buffer: it stays on the device and travels with checkpoints, so that a
    continued training does not start anew. Until then `target` keeps the value it was built with.
    """

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))
        self._calls = 0

    @torch.no_grad()
    def forward(self, x: Tensor, statistic: Callable[[Tensor], Tensor], target: Tensor) -> None:
        if self._calls >= LOOKS or not x.numel():
            return
        self._calls += 1
        value = statistic(x.detach()).to(target.dtype)
        fresh = ~self.seen & (value > 0)
        target.copy_(torch.where(fresh, value, target))
        self.seen.logical_or_(fresh)


LOOKS = 8
"""Batches looked at in a process: the flag decides on the device, and Python cannot ask it without waiting."""
