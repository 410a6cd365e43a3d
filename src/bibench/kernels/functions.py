"""Autograd functions in two forms: one that torch.func and torch.compile can see into, one that is quick to apply."""

from __future__ import annotations

from typing import Any, TypeVar

import torch

Class = TypeVar("Class", bound=type[torch.autograd.Function])


def eager(function: Class) -> Class:
    """Class decorator: give a function with `setup_context` a second form for `apply`, whose `forward` does both.

    Where `setup_context` stands by itself, autograd binds the arguments to the signature of `forward` every time, which
    takes three times as long as all the rest.
    """

    def forward(ctx: Any, *inputs: Any) -> Any:
        output = function.forward(*inputs)
        function.setup_context(ctx, inputs, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(function.backward)}
    function._eager = type(function.__name__, (torch.autograd.Function,), members)  # type: ignore[attr-defined]
    return function


def apply(function: type[torch.autograd.Function], *inputs: Any) -> Any:
    """``function.apply(*inputs)`` of a function decorated as `eager`."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return function.apply(*inputs)
    return function._eager.apply(*inputs)  # type: ignore[attr-defined]
