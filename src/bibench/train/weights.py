"""Fingerprints of weights, and loading full-precision weights into a model with asserted coverage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bibench.errors import CheckpointError
from bibench.state_dicts import fit, misfits, tell_choice


def digest(model: nn.Module) -> str:
    """SHA-256 over names and values of all parameters and buffers."""
    return digest_of_state(model.state_dict())


def digest_of_state(state: Mapping[str, Tensor]) -> str:
    """The same of a state dict."""
    sha = hashlib.sha256()
    for name, value in sorted(state.items()):
        sha.update(name.encode())
        sha.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


def load_full_precision(model: nn.Module, state: dict[str, Any], source: str) -> None:
    """Load a state dict, or a checkpoint that holds one (see `bibench.state_dicts.fit`), into the float model.

    Every tensor must find its place, and every place its tensor.

    Raises `CheckpointError` listing what does not fit: missing names, unexpected names, other shapes.
    """
    own = model.state_dict()
    fitted = fit(state, own)
    if problem := misfits(own, fitted):
        raise CheckpointError(
            f"{source} does not belong to this architecture: {problem}. Train the full-precision cell of the same "
            "model, or use init=scratch"
        )
    tell_choice(fitted, source)
    model.load_state_dict(fitted.state)


def first_not_finite(model: nn.Module) -> str | None:
    """Name of the first parameter or buffer that holds a NaN or an infinity.

    Signs hide a NaN: the loss of a binarized network stays finite when what feeds a layer does not.
    """
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            return name
    return None
