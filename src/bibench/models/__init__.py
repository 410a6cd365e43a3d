"""Architectures: plain full-precision PyTorch, one file per family. `create` builds any of them."""

from bibench.models.base import MODELS, ModelEntry, create, model

__all__ = ["MODELS", "ModelEntry", "create", "model"]
