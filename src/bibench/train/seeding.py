"""Seeds: each purpose draws from its own stream, so that one consumer never shifts another."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from bibench.data.batches import mix

INITIAL_WEIGHTS, OPERATOR_PARAMETERS, TRAINING = 1, 2, 3


def seed_all(seed: int, purpose: int) -> None:
    """Seed Python, NumPy and torch (all devices) for one purpose of a run with `seed`."""
    value = mix(seed, purpose)
    random.seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002 - strangers' code may draw from it
    torch.manual_seed(value)


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of everything that `seed_all` seeds, as tensors and plain data."""
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Continue where `random_state` was asked."""
    kind, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
