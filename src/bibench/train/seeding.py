"""Seeds: each purpose draws from its own stream, so that one consumer never shifts another."""

from __future__ import annotations

import random

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
