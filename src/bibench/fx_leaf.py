"""Binarized modules in graphs of `torch.fx`: leaves, as the layers of PyTorch that they were before."""

from __future__ import annotations

from torch import nn

NAMESPACE = "torch.nn"
"""`torch.fx.Tracer.is_leaf_module` takes a module for a leaf whose ``__module__`` starts so; tracers derived from it,
as torchvision's feature extraction, ask it too. Without a dot behind it, `torch.compile` does not take the module for
one of PyTorch's own and looks into it."""


def make_leaf(module: nn.Module) -> None:
    """Have `torch.fx` call `module` in the graphs that it makes, and not look into it.

    Said by the instance: its class keeps the name under which it is pickled.
    """
    module.__module__ = NAMESPACE
