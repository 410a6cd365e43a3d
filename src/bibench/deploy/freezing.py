"""From a trained model to its inference form: layers without operators, latent weights or surrogate gradients."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bibench.deploy.calling import Example, copied
from bibench.deploy.frozen import Frozen, frozen_form
from bibench.deploy.packed import Packed
from bibench.deploy.statement import statements
from bibench.deploy.whole import ROUNDING, Whole, varied
from bibench.foundation.errors import BiBenchError, UnsupportedError
from bibench.nn.calls import trace
from bibench.nn.layers import BINARY_LAYERS, BinaryLayer
from bibench.nn.tracing.inputs import fresh
from bibench.operators import Operator


def freeze(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> nn.Module:
    """A copy of `model` (in evaluation mode) whose binarized layers are frozen and proved equal to it.

    The proof is on the example inputs, and on others like them. What an operator states to be left at inference must
    give what its layer gives, up to rounding, and the whole frozen model what the model gives, whoever watches.
    Training-only parts are gone afterwards, which is asserted.

    Raises:
        UnsupportedError: a layer that has no 1-bit inference form, or whose statement is not true; a model whose
            forward computes with more of its layers than their outputs.
    """
    model = copied(model).cpu().requires_grad_(False)
    _restore_float_layers(model)
    example = Example(args, kwargs)
    shapes = trace(model, {**_named(model, args), **kwargs} if kwargs else args)
    for module, call in shapes.items():
        if isinstance(module, BinaryLayer) and call.output_shape:  # scales may follow the size of the map
            module.operator.spec = replace(module.spec, input_shape=call.input_shape, output_shape=call.output_shape)
    frozen: dict[nn.Module, Frozen] = {}
    for stated in statements(model):
        if stated.refusal:
            raise UnsupportedError(f"layer {stated.name!r} cannot be exported: {stated.refusal}")
        frozen[stated.module] = frozen_form(stated)
    _prove(model, frozen, example)
    proofs = [Whole(model, example), *_other_proofs(model, example)] if frozen else []
    model = _counting(_replaced(model, frozen), [layer.operator for layer in frozen.values()])
    for proof in proofs:
        proof.prove(model, frozen, lambda: _trained(model, frozen))
    assert_inference_only(model)
    return model


def assert_inference_only(model: nn.Module) -> None:
    """Raise when anything of an operator (noise modules, standardization, latent weights) is left in `model`."""
    for name, module in model.named_modules():
        latent = isinstance(module, Frozen) and "weight" in module._parameters
        if isinstance(module, Operator | BinaryLayer) or latent:
            raise BiBenchError(f"{name!r} ({type(module).__name__}) is for training and was not removed: report this")


def _replaced(model: nn.Module, by: Mapping[nn.Module, nn.Module]) -> nn.Module:
    """`model` with other modules in the place of those that `by` maps to them."""
    if model in by:
        return by[model]
    for parent in list(model.modules()):
        for name, child in parent._modules.items():  # also a layer that has two names here
            if child is not None and child in by:
                setattr(parent, name, by[child])
    return model


@contextmanager
def _trained(model: nn.Module, frozen: Mapping[nn.Module, Frozen]) -> Iterator[nn.Module]:
    """Inside, the model with the trained layers in the place of the frozen ones."""
    try:
        yield _replaced(model, {layer: module for module, layer in frozen.items()})
    finally:
        _replaced(model, frozen)


def _counting(model: nn.Module, layers: Iterable[Packed]) -> nn.Module:
    """`model`, whose layers count their calls anew in each forward."""
    calls: Counter[str] = Counter()
    for layer in layers:
        layer.calls = calls
    model.register_forward_pre_hook(lambda module, inputs: calls.clear())
    return model.eval()


def _other_proofs(model: nn.Module, example: Example) -> list[Whole]:
    """Of an example with other values, if `model` takes it."""
    try:
        return [Whole(model, varied(example))]
    except BiBenchError:  # such as a logarithm of what is negative
        return []


def _prove(model: nn.Module, frozen: Mapping[nn.Module, Frozen], example: Example) -> None:
    """Compare each layer with its frozen form on what it is called with, before hooks of the user change its output."""

    def compare(name: str, left: Packed) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
            left.require_one_size(output)
            deployed = left(*inputs, **named)
            off = float((deployed - output).abs().max()) if output.numel() else 0.0
            if not output.isfinite().all():
                raise UnsupportedError(
                    f"layer {name!r} gives numbers that are not finite on the example inputs, "
                    "which prove nothing: give others, or train again"
                )
            if not off <= ROUNDING * max(1e-30, float(output.abs().max())):
                raise UnsupportedError(
                    f"layer {name!r} cannot be exported: what its operator states to be left at "
                    f"inference differs from what it computes in evaluation by {off:.3g}"
                )

        return hook

    hooks = [
        m.register_forward_hook(compare(f.operator.layer, f.operator), prepend=True, with_kwargs=True)
        for m, f in frozen.items()
    ]
    try:
        with torch.no_grad():
            args, kwargs = fresh((example.args, example.kwargs))
            model(*args, **kwargs)
    finally:
        for hook in hooks:
            hook.remove()


def _restore_float_layers(model: nn.Module) -> None:
    """Layers "binarized" by a full-precision operator are float layers again."""
    for module in model.modules():
        if isinstance(module, BinaryLayer) and module.operator.full_precision:
            del module.operator
            float_class = next(base for base, cls in BINARY_LAYERS.items() if isinstance(module, cls))
            module.__class__ = float_class  # type: ignore[assignment]


def _named(model: nn.Module, args: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(inspect.signature(model.forward).parameters, args, strict=False))
