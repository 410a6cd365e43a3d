"""Which layers a forward pass of a model calls, in which order and on what: one forward with example inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bibench.attention import Attention
from bibench.errors import BiBenchError
from bibench.fast_paths import eagerly, switched_off

WEIGHT_LAYERS = (
    nn.modules.conv._ConvNd,
    nn.Linear,
    nn.Bilinear,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    Attention,
)
"""The layers of an audit: those that hold weights, and the products between activations."""

ON_META = "outlined_on_meta"
"""Attribute of models whose layers meet shapes that depend on values (the regions of a detector) unless they are
run on the meta device, where they call every layer on as many as they would take at most."""


@dataclass
class Call:
    """Shapes seen by one layer in a traced forward, without the batch axis, and its place in the order.

    Attributes:
        keys: of an attention, the positions attended to.
        repeat: rows of the batch axis for each example, as in the head of a detector, which sees each of an
            example's regions as a row of its own.
        low, high: the input's extremes over all calls; NaN where they are unknown (meta device, integers).
    """

    order: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    keys: int = 0
    repeat: int = 1
    low: float = math.nan
    high: float = math.nan


def weight_layers(model: nn.Module) -> dict[nn.Module, list[str]]:
    """The layers an audit lists, in the order of registration, each with all its names."""
    found: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, WEIGHT_LAYERS):
            found.setdefault(module, []).append(name)
    return found


def trace(model: nn.Module, example_inputs: Any) -> dict[nn.Module, Call]:
    """Run one forward in evaluation mode without gradients and note the shapes of every weight layer.

    A model whose attribute `ON_META` is true is run on the meta device, wherever it is. Zeros, which tell
    shapes alone, are replaced by standard normal values, so that the signs inside the model can be judged.
    """
    calls: dict[nn.Module, Call] = {}
    examples = _examples(example_inputs)
    example_inputs = with_values(example_inputs)

    def note(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        inputs = (*inputs, *named.values())
        x = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        if x is None or not isinstance(output, Tensor):
            calls.setdefault(module, Call(len(calls), (), ()))
            return
        keys = inputs[1].shape[-2] if isinstance(module, Attention) else 0
        repeat = max(1, round(_rows(module, x) / examples)) if examples else 1
        shapes = _without_batch(module, x), _without_batch(module, output)
        call = Call(len(calls), *shapes, keys, repeat, *_extremes(x))
        if known := calls.get(module):
            low, high = min(call.low, known.low), max(call.high, known.high)
            larger = math.prod(call.output_shape) > math.prod(known.output_shape)
            call = replace(call if larger else known, order=known.order, low=low, high=high)
        calls[module] = call

    hooks = [m.register_forward_hook(note, with_kwargs=True) for m in weight_layers(model)]
    try:
        with evaluating(model), switched_off(model), eagerly(), torch.no_grad():
            if getattr(model, ON_META, False):
                _call_on_meta(model, example_inputs)
            else:
                call_with(model, example_inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return calls


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; behind it every module has the mode that it had, whatever its parent's."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, flag in training.items():
            module.training = flag


def _extremes(x: Tensor) -> tuple[float, float]:
    """The smallest and the largest value, or NaN."""
    if x.is_meta or not x.is_floating_point() or not x.numel():
        return math.nan, math.nan
    low, high = torch.aminmax(x)
    return low.item(), high.item()


def with_values(inputs: Any) -> Any:
    """Example inputs with normal values in the place of zeros."""
    if isinstance(inputs, Tensor):
        if inputs.is_meta or not inputs.is_floating_point() or inputs.any():
            return inputs
        normal = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(0))
        return normal.to(inputs)
    if isinstance(inputs, np.ndarray):
        raise BiBenchError(
            "example_inputs must be tensors, as the model is called with; got a NumPy array: torch.from_numpy makes one"
        )
    if isinstance(inputs, dict):
        return {k: with_values(v) for k, v in inputs.items()}
    return type(inputs)(with_values(v) for v in inputs) if type(inputs) in (tuple, list) else inputs


def call_with(model: nn.Module, example_inputs: Any) -> None:
    """Call a model with a tensor, with a tuple or list of arguments, or with a dict of named ones."""
    if isinstance(example_inputs, dict):
        model(**example_inputs)
    elif isinstance(example_inputs, tuple | list):
        model(*example_inputs)
    else:
        model(example_inputs)


def _call_on_meta(model: nn.Module, example_inputs: Any) -> None:
    state = {name: x.to("meta") for name, x in (*model.named_parameters(), *model.named_buffers())}
    inputs = on_meta(example_inputs)
    named = inputs if isinstance(inputs, dict) else {}
    functional_call(model, state, () if isinstance(inputs, dict) else inputs, named)


def on_meta(inputs: Any) -> Any:
    """Example inputs (a tensor, or a tuple or dict of them) on the meta device."""
    if isinstance(inputs, Tensor):
        return inputs.to("meta")
    if isinstance(inputs, dict):
        return {k: on_meta(v) for k, v in inputs.items()}
    return tuple(on_meta(v) for v in inputs) if isinstance(inputs, tuple | list) else inputs


def _examples(inputs: Any) -> int:
    """How many examples the first of the inputs holds, a batch or a list; 0 if that cannot be told."""
    if isinstance(inputs, dict):
        inputs = tuple(inputs.values())
    first = inputs[0] if isinstance(inputs, tuple | list) and inputs else inputs
    if isinstance(first, Tensor):
        return first.shape[0] if first.dim() else 0
    return len(first) if isinstance(first, list | tuple) else 0


def _rows(module: nn.Module, x: Tensor) -> int:
    """Size of the batch axis of a layer's input, 1 if it has none."""
    spatial = len(module.kernel_size) if isinstance(module, nn.modules.conv._ConvNd) else 0
    return x.shape[0] if x.dim() >= spatial + 2 else 1


def _without_batch(module: nn.Module, x: Tensor) -> tuple[int, ...]:
    if isinstance(module, nn.modules.conv._ConvNd):
        return tuple(x.shape[-1 - len(module.kernel_size) :])
    return tuple(x.shape[1:])
