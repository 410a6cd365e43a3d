"""Which layers a forward pass of a model calls, in which order and on what: one forward with example inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bibench.nn.attention import Attention
from bibench.nn.fast_paths import eagerly, switched_off
from bibench.nn.tracing.inputs import Arguments, batch_of, called, fresh, one_example, with_values
from bibench.nn.tracing.inputs import on_meta as on_meta
from bibench.nn.tracing.work import Work

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
        count: how often the layer is called; the shapes are those of the call with the largest output.
        macs: multiply-accumulates of one example over all calls; None where only the whole forward's are known.
    """

    order: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    keys: int = 0
    repeat: int = 1
    low: float = math.nan
    high: float = math.nan
    count: int = 1
    macs: int | None = None


def weight_layers(model: nn.Module) -> dict[nn.Module, list[str]]:
    """The layers an audit lists, in the order of registration, each with all its names."""
    found: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, WEIGHT_LAYERS):
            found.setdefault(module, []).append(name)
    return found


class Calls(dict[nn.Module, Call]):
    """The calls of weight layers in a traced forward.

    `work`: what one example costs. `arguments`: what the model was called with, as the example inputs are meant.
    """

    work: Work
    arguments: Arguments


def trace(model: nn.Module, example_inputs: Any) -> Calls:
    """Run a forward in evaluation mode without gradients; note the shapes of every weight layer and count all work.

    The counts are of one example: of a second forward, of the first example alone, where there are several. Where
    examples work on each other (their axis is that of a sequence, and no batch) or none can be taken out, they are a
    share of the first forward.

    A model whose attribute `ON_META` is true is run on the meta device, wherever it is. Zeros, which tell
    shapes alone, are replaced by standard normal values, so that the signs inside the model can be judged.

    Raises:
        ExampleInputsError: the model cannot be called with `example_inputs`.
    """
    state, inputs = None, with_values(example_inputs)
    if getattr(model, ON_META, False):
        state = {name: x.to("meta") for name, x in (*model.named_parameters(), *model.named_buffers())}
        inputs = on_meta(inputs)
    calls, arguments = called(model, inputs, lambda *args, **named: _forward(model, state, args, named))
    calls.arguments, several = arguments, batch_of(arguments)
    if several > 1:
        calls.work = _of_one(model, state, arguments, calls.work, several)
    for module, call in calls.items():
        if module in calls.work.calls:
            call.macs = calls.work.layer_macs(module)
    return calls


def _forward(model: nn.Module, state: dict[str, Tensor] | None, args: tuple[Any, ...], named: dict[str, Any]) -> Calls:
    from bibench.nn.tracing.watching import watching

    calls, examples = Calls(), batch_of((args, named))

    def note(module: nn.Module, inputs: tuple[Any, ...], by_name: dict[str, Any], output: Any) -> None:
        if isinstance(module, WEIGHT_LAYERS):
            _note(calls, examples, module, (*inputs, *by_name.values()), output)

    with evaluating(model), switched_off(model), eagerly(), torch.no_grad(), watching(model, note, state) as work:
        if state is None:
            model(*args, **named)
        else:
            functional_call(model, state, args, named)
    calls.work = work
    return calls


def _of_one(
    model: nn.Module, state: dict[str, Tensor] | None, arguments: Arguments, all_work: Work, examples: int
) -> Work:
    """The work of one example, given that of all."""
    one = one_example(arguments)
    if one is not arguments:
        try:
            with torch.random.fork_rng(devices=[]):  # what follows draws as if there were one forward
                work = _forward(model, state, *fresh(one)).work
        except Exception:  # the first axis is no batch for this model
            pass
        else:
            if work.macs * examples >= all_work.macs:
                return work
    all_work.examples = examples
    return all_work


def _note(calls: Calls, examples: int, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    known = calls.get(module)
    x = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
    if x is None or not isinstance(output, Tensor):
        calls[module] = replace(known, count=known.count + 1) if known else Call(len(calls), (), ())
        return
    keys = inputs[1].shape[-2] if isinstance(module, Attention) else 0
    repeat = max(1, round(_rows(module, x) / examples)) if examples else 1
    shapes = _without_batch(module, x), _without_batch(module, output)
    call = Call(len(calls), *shapes, keys, repeat, *_extremes(x))
    if known:
        low, high = _joined(min, call.low, known.low), _joined(max, call.high, known.high)
        larger = math.prod(call.output_shape) > math.prod(known.output_shape) or not known.output_shape
        chosen = call if larger else known
        call = replace(chosen, order=known.order, low=low, high=high, count=known.count + 1)
    calls[module] = call


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; behind it every module has the mode that it had, whatever its parent's."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, flag in training.items():  # parents first
            if module.training != flag:
                module.train(flag)  # which may do more, as adapters that merge into a weight for evaluation
        for module, flag in training.items():
            module.training = flag


def _joined(of: Callable[[float, float], float], one: float, other: float) -> float:
    return math.nan if math.isnan(one) or math.isnan(other) else of(one, other)


def _extremes(x: Tensor) -> tuple[float, float]:
    """The smallest and the largest value, or NaN."""
    batched = torch._C._functorch.is_batchedtensor(x)  # inside of vmap, where no value is one number
    if batched or x.is_meta or not x.is_floating_point() or not x.numel():
        return math.nan, math.nan
    low, high = torch.aminmax(x)
    return low.item(), high.item()


def _rows(module: nn.Module, x: Tensor) -> int:
    """Size of the batch axis of a layer's input, 1 if it has none."""
    spatial = len(module.kernel_size) if isinstance(module, nn.modules.conv._ConvNd) else 0
    return x.shape[0] if x.dim() >= spatial + 2 else 1


def _without_batch(module: nn.Module, x: Tensor) -> tuple[int, ...]:
    if isinstance(module, nn.modules.conv._ConvNd):
        return tuple(x.shape[-1 - len(module.kernel_size) :])
    return tuple(x.shape[1:])
