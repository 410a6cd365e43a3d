"""Fingerprints of weights, and loading full-precision weights into a model with asserted coverage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bibench.errors import CheckpointError


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


def load_full_precision(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load `state` into the float model; every tensor must find its place, and every place its tensor.

    Raises `CheckpointError` listing what does not fit: missing names, unexpected names, other shapes.
    """
    own = model.state_dict()
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if state[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if problems:
        covered = len(own) - len(missing) - len(shapes)
        raise CheckpointError(
            f"{source} does not belong to this architecture: {covered} of {len(own)} tensors fit; "
            f"{'; '.join(problems)}. Train the full-precision cell of the same model, or use init=scratch"
        )
    model.load_state_dict(state)


def first_not_finite(model: nn.Module) -> str | None:
    """Name of the first parameter or buffer that holds a NaN or an infinity.

    Signs hide a NaN: the loss of a binarized network stays finite when what feeds a layer does not.
    """
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            return name
    return None
