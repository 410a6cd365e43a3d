"""Peak memory of a training step, of one model among several in a process.

The memory of the process (RSS) tells neither what one model needs nor how much of a freed block went
back to the system. So on a CPU the profiler's events of PyTorch's allocator are summed in order: exact,
repeatable, and of the step alone. What a library takes from the system itself, such as scratch memory
inside oneDNN, is no event and not counted, for any contender. On CUDA the caching allocator keeps the
peak itself. Both count as one sum: what the model holds between steps, plus how much the steps add.
"""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bibench.measure.step import TrainingStep

STEPS = 2
"""The second step has the gradients of the first one in memory during its forward, as in training."""


def peak_memory(step: TrainingStep) -> int | None:
    """Bytes at the worst moment of a step in the midst of training; None when nothing can be told."""
    step.optimizer.zero_grad()
    step.loss = None  # as the gradients: its release would have no allocation to it
    held = _bytes(step.persistent())

    def steps() -> None:
        for _ in range(STEPS):
            step()

    added = (_added_on_cuda if step.device.type == "cuda" else _added_on_cpu)(steps, step.device)
    return None if added is None else held + added


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind `tensors`, each once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def _added_on_cuda(work: Callable[[], None], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _added_on_cpu(work: Callable[[], None], device: torch.device) -> int | None:
    from torch.profiler import ProfilerActivity, profile

    gc.collect()  # what earlier work left behind must not be released meanwhile, as if the step had done it
    with _quiet(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    results = getattr(profiler.profiler, "kineto_results", None)
    return None if results is None else _highest(results.experimental_event_tree())


def _highest(tree: Iterable[Any]) -> int | None:
    """The highest sum of the allocations and releases in a tree of profiler events, in the order of time."""
    events, waiting = [], list(tree)
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag == torch._C._profiler._EventType.Allocation:
            events.append((event.start_time_ns, event.extra_fields.alloc_size))
    held = peak = 0
    for _, change in sorted(events, key=lambda e: e[0]):
        held += change
        peak = max(peak, held)
    return peak or None


@contextmanager
def _quiet() -> Iterator[None]:
    """The profiler's native code writes notes to the standard error; they are not for the user."""
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
