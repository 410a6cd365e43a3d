"""Proof that what is called 1-bit is what runs: the layers are entered as often as called, and nobody else reads them.

A layer that was replaced may still compute in full precision: a fused path of its parent reads its weight, the
instance has a `forward` of its own, a decoder is tied to it. Nothing of the proof stays in the model.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from bibench.foundation.errors import BinarizationWarning, ProofError
from bibench.nn.attention import BinaryAttention
from bibench.nn.calls import ON_META, evaluating, on_meta
from bibench.nn.embedding import BinaryEmbedding
from bibench.nn.fast_paths import eagerly, switched_off
from bibench.nn.layers import BinaryLayer
from bibench.nn.tracing.inputs import Arguments, fresh
from bibench.nn.watching import Watch

THREADS = "the model calls layers in other threads, where it is not seen who reads their weights"


@dataclass(frozen=True)
class Proof:
    """`failed`: layers that do not run as they are called, each with the reason.

    `skipped`: why nothing, or not all, was proved.
    """

    failed: dict[nn.Module, str] = field(default_factory=dict)
    skipped: str = ""


def low_bit_layers(model: nn.Module) -> list[nn.Module]:
    """Every module of `model` whose forward is another one than before its conversion."""
    found = []
    for module in model.modules():
        layer = isinstance(module, BinaryLayer) and not module.operator.full_precision
        if layer or isinstance(module, BinaryAttention | BinaryEmbedding):
            found.append(module)
    return found


def prove(model: nn.Module, forward: Callable[[], Any], called: Mapping[nn.Module, int] | None = None) -> Proof:
    """Run one forward of `model` in evaluation mode, without hooks or gradients, and see what its layers do.

    Args:
        forward: calls the model. It is called again where the layers were entered less often than expected.
        called: how often each layer is called, if that is known; what counts is a forward with hooks.

    Raises:
        Exception: whatever the forward raises by itself.
    """
    layers = low_bit_layers(model)
    if not layers:
        return Proof()
    with evaluating(model), torch.no_grad(), eagerly():
        watch = Watch(layers, {module: name for name, module in model.named_modules()})
        torch.clear_autocast_cache()  # a weight cast before would not be read again
        try:
            with _random_numbers_kept(model):
                watch.run(forward)
        except Exception as error:
            if not _cannot_run_yet(model, layers):
                with _random_numbers_kept(model):
                    forward()  # raises by itself, unless what watches is at fault
            return Proof(skipped=f"the forward that is watched failed: {type(error).__name__}: {error}")
        if called is None or any(watch.entered[layer] < called[layer] for layer in layers):
            # Values may decide which layers are called, as in a mixture of experts.
            with _random_numbers_kept(model), switched_off(model), counting(layers) as called:
                forward()
    failed = {layer: _reason(layer, watch, called[layer]) for layer in layers}
    return Proof({layer: reason for layer, reason in failed.items() if reason}, THREADS if watch.elsewhere else "")


def prove_traced(model: nn.Module, arguments: Arguments, called: Mapping[nn.Module, int] | None = None) -> Proof:
    """As `prove`, with the arguments of a traced forward (`bibench.nn.calls.trace`); on the meta device if that was."""
    if not getattr(model, ON_META, False):
        return prove(model, lambda: _call(model, arguments), called)
    twin = _on_meta(model)
    original = dict(zip(twin.modules(), model.modules(), strict=True))
    known = None if called is None else {other: called[module] for other, module in original.items()}
    args, named = arguments
    outlined = on_meta(args), on_meta(named)
    proof = prove(twin, lambda: _call(twin, outlined), known)
    return Proof({original[module]: reason for module, reason in proof.failed.items()}, proof.skipped)


def require_proof(model: nn.Module, forward: Callable[[], Any]) -> None:
    """Raise `ProofError` if a layer of `model` does not run as called, warn if that cannot be told; see `prove`."""
    proof = prove(model, forward)
    failed = proof.failed
    if proof.skipped:
        warnings.warn(f"not proved that 1-bit layers are what runs: {proof.skipped}", BinarizationWarning, stacklevel=2)
    if not failed:
        return
    names = {module: name for name, module in model.named_modules()}
    told = "; ".join(f"{names[module]!r}: {reason}" for module, reason in failed.items())
    raise ProofError(
        f"{len(failed)} of {len(low_bit_layers(model))} 1-bit layers do not run as such in evaluation ({told}). "
        "Keep them (keep=...), or undo what was done to them after the conversion"
    )


@contextmanager
def proved_at_first_call(model: nn.Module) -> Iterator[None]:
    """`require_proof` with the arguments of the first call inside, before it."""

    def prove_once(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hook.remove()
        require_proof(module, lambda: _call(module, (args, kwargs)))

    hook = model.register_forward_pre_hook(prove_once, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def _call(model: nn.Module, arguments: Arguments) -> Any:
    args, named = fresh(arguments)
    return model(*args, **named)


@contextmanager
def counting(modules: Iterable[nn.Module]) -> Iterator[Counter[nn.Module]]:
    """How often each of `modules` is called inside."""
    called: Counter[nn.Module] = Counter()
    hooks = [m.register_forward_hook(lambda module, inputs, output: called.update([module])) for m in modules]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()


def _cannot_run_yet(model: nn.Module, layers: list[nn.Module]) -> bool:
    """Whether values are missing that the forward of an operator may ask for: weights, or the training's progress."""
    scheduled = any(isinstance(layer, BinaryLayer) and layer.operator.scheduled for layer in layers)
    return scheduled or any(p.is_meta for p in model.parameters())


def _reason(layer: nn.Module, watch: Watch, called: int) -> str:
    if reader := watch.readers.get(layer):
        return f"its weight is read by {reader}"
    entered = watch.entered[layer]
    if entered >= called:
        return ""
    cause = "its instance has a forward of its own" if "forward" in vars(layer) else "without hooks it is passed by"
    return f"{cause}: {called - entered} of {called} calls compute something else"


@contextmanager
def _random_numbers_kept(model: nn.Module) -> Iterator[None]:
    """Whatever is drawn inside is drawn again behind it."""
    devices = {p.device.index for p in model.parameters() if p.is_cuda}
    python, numpy = random.getstate(), np.random.get_state(legacy=True)  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy of `model` on the meta device."""
    copied: dict[int, Any] = {}
    for parameter in model.parameters():
        copied[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        copied[id(buffer)] = buffer.to("meta")
    return copy.deepcopy(model, copied)
