"""Example inputs: what a model is called with, how that is meant, how many examples it holds, and one of them."""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from bibench.foundation.errors import BiBenchError, ExampleInputsError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Of a call: by position and by name."""
Result = TypeVar("Result")
LISTS = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
"""Annotations of a parameter that takes a list or tuple as a whole."""


def mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """`value` with all that it holds, at any depth, replaced by `change`; every container keeps its type.

    Containers are mappings, tuples, lists and instances of dataclasses. One in which nothing changes is kept itself.
    """
    held = _held(value)
    if held is None:
        return change(value)
    new = {key: mapped(change, item) for key, item in held.items()}
    return value if all(new[key] is item for key, item in held.items()) else _rebuilt(value, new)


def _held(value: Any) -> dict[Any, Any] | None:
    """What a container holds, by key, field or position; None of anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | list):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _rebuilt(value: Any, new: dict[Any, Any]) -> Any:
    if isinstance(value, tuple):
        named = hasattr(value, "_fields")
        return type(value)(*new.values()) if named else type(value)(new.values())
    made = copy.copy(value)
    if isinstance(value, Mapping | list):
        for key, item in new.items():
            made[key] = item  # type: ignore[index]
    if dataclasses.is_dataclass(value):  # also one that is a mapping too
        for name in (field.name for field in dataclasses.fields(value) if field.name in new):
            object.__setattr__(made, name, new[name])
    return made


def leaves(value: Any) -> Iterator[Any]:
    """All that `value` holds and that holds nothing itself."""
    held = _held(value)
    if held is None:
        yield value
    else:
        for item in held.values():
            yield from leaves(item)


def fresh(arguments: Arguments) -> Arguments:
    """Copies of what a model is called with, as a forward may take a mapping apart or write into a tensor.

    What is one object stays one; what cannot be copied is kept itself.
    """
    copies: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        if id(value) not in copies:
            copies[id(value)] = made(value)
        return copies[id(value)]

    def made(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.detach().clone().requires_grad_(value.requires_grad)
        held = _held(value)
        if held is None:
            return value
        new = {key: copied(item) for key, item in held.items()}
        try:
            return _rebuilt(value, new)
        except TypeError:  # a view of a mapping, or a container made from something else than its items
            return value

    args, kwargs = arguments
    return tuple(map(copied, args)), {name: copied(value) for name, value in kwargs.items()}


def _checked(inputs: Any) -> Any:
    """`inputs`, which must not hold a NumPy array."""
    if any(isinstance(leaf, np.ndarray) for leaf in leaves(inputs)):
        raise BiBenchError(
            "example_inputs must be tensors, as the model is called with; got a NumPy array: torch.from_numpy makes one"
        )
    return inputs


def with_values(inputs: Any) -> Any:
    """Example inputs with standard normal values in the place of zeros, which tell shapes alone."""

    def change(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.is_meta or not leaf.is_floating_point() or leaf.any():
            return leaf
        return torch.randn(leaf.shape, generator=torch.Generator().manual_seed(0)).to(leaf)

    return mapped(change, inputs)


def on_meta(inputs: Any) -> Any:
    """Example inputs on the meta device."""
    return mapped(lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) else leaf, inputs)


def zeros(inputs: Any) -> Any:
    """Example inputs of zeros on the CPU."""
    return mapped(
        lambda leaf: torch.zeros(leaf.shape, dtype=leaf.dtype, device="cpu") if isinstance(leaf, Tensor) else leaf,
        inputs,
    )


# -- examples ------------------------------------------------------------------------------------------


def batch_of(arguments: Arguments) -> int:
    """How many examples the first argument with an axis holds, a batch or a list; 0 if that cannot be told."""
    args, kwargs = arguments
    return next((n for value in (*args, *kwargs.values()) if (n := _length(value))), 0)


def _length(value: Any) -> int:
    if isinstance(value, PackedSequence):
        return int(value.batch_sizes[0])
    if isinstance(value, Tensor):
        return len(value) if value.dim() else 0
    if isinstance(value, list | tuple):
        return len(value)
    return next((n for item in (_held(value) or {}).values() if (n := _length(item))), 0)


def one_example(arguments: Arguments) -> Arguments:
    """The first of several examples: all that is as long as the batch, cut to length 1; `arguments` if nothing is."""
    batch = batch_of(arguments)
    args, kwargs = arguments
    one: Arguments = tuple(_cut(v, batch) for v in args), {name: _cut(v, batch) for name, v in kwargs.items()}
    changed = any(a is not b for a, b in zip((*args, *kwargs.values()), (*one[0], *one[1].values()), strict=True))
    return one if changed else arguments


def first_of(inputs: Any) -> Any:
    """Example inputs of one example, as `one_example`."""
    if isinstance(inputs, Mapping):
        return one_example(((), dict(inputs)))[1]
    if isinstance(inputs, tuple | list):
        return one_example((tuple(inputs), {}))[0]
    return one_example(((inputs,), {}))[0][0]


def _cut(value: Any, batch: int) -> Any:
    """The first example of `value`: lists hold examples; tuples, mappings and dataclasses hold batches."""
    if isinstance(value, PackedSequence):
        return value  # its sequences end at different steps: the first one is no slice
    held = _held(value)
    if held is None or (isinstance(value, list) and len(value) == batch):
        return value[:1] if batch and isinstance(value, Tensor | list) and _length(value) == batch else value
    new = {key: _cut(item, batch) for key, item in held.items()}
    if any(new[key] is not item for key, item in held.items()):
        return _rebuilt(value, new)
    return value[:1] if type(value) is tuple and len(value) == batch else value


# -- calling -------------------------------------------------------------------------------------------


def called(model: nn.Module, inputs: Any, call: Callable[..., Result]) -> tuple[Result, Arguments]:
    """The result of `call` (the model, or something around it), and the arguments it took.

    A mapping is keyword arguments, a tuple or list positional ones, anything else the only argument. Where the forward
    cannot take them so, the mapping, tuple or list is the only argument, as a detector's list of images.

    Raises:
        ExampleInputsError: the model cannot be called with them.
    """
    failures: list[tuple[Arguments, Exception]] = []
    for args, kwargs in readings(model, _checked(inputs)):
        own, named = fresh((args, kwargs))
        try:
            _bind(model, args, kwargs)
            return call(*own, **named), (args, kwargs)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a model's own code raises
            failures.append(((args, kwargs), error))
    arguments, first = failures[0]
    if isinstance(first, BiBenchError):
        raise first
    raise ExampleInputsError(_refusal(model, arguments, first)) from first


def readings(model: nn.Module, inputs: Any) -> list[Arguments]:
    """What `inputs` may mean, the likeliest first: arguments, or the only one."""
    only: Arguments = (inputs,), {}
    if isinstance(inputs, Mapping) and all(isinstance(name, str) for name in inputs):
        known = not set(inputs).isdisjoint(_parameters(model))
        named: Arguments = (), dict(inputs)
        return [named] if known else [named, only]
    if isinstance(inputs, tuple | list) and not isinstance(inputs, PackedSequence):
        spread: Arguments = tuple(inputs), {}
        whole = inputs and _takes_a_list(model) and _held(inputs[0]) is None
        return [only, spread] if whole else [spread, only]
    return [only]


def _parameters(model: nn.Module) -> dict[str, inspect.Parameter]:
    """Those of the forward by name; none where they cannot be told, as of scripted modules."""
    try:
        return dict(inspect.signature(model.forward).parameters)
    except (TypeError, ValueError):
        return {}


def _bind(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise a TypeError where the forward cannot take the arguments by their number and names."""
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # of a scripted module
        return
    signature.bind(*args, **kwargs)


def _takes_a_list(model: nn.Module) -> bool:
    """Whether the first parameter of the forward is annotated as a list or sequence."""
    first = next(iter(_parameters(model).values()), None)
    if first is None:
        return False
    try:
        hint = typing.get_type_hints(model.forward).get(first.name)
    except Exception:  # names that the model's file imports for type checkers alone
        return re.match(r"(\w+\.)*(list|tuple|sequence|iterable)\[", str(first.annotation), re.IGNORECASE) is not None
    return (typing.get_origin(hint) or hint) in LISTS


def _refusal(model: nn.Module, arguments: Arguments, error: Exception) -> str:
    args, kwargs = arguments
    given = ", ".join((*map(_described, args), *(f"{name}={_described(value)}" for name, value in kwargs.items())))
    takes = ", ".join(str(p.replace(annotation=p.empty)) for p in _parameters(model).values())
    said = (str(error).splitlines() or [""])[0].rstrip(".")
    return (
        f"example_inputs: the model ({type(model).__name__}) cannot be called with them, as model({given}): "
        f"{type(error).__name__}: {said}. Expected what its forward{f'({takes})' if takes else ''} takes: a tensor, a "
        "tuple of positional or a dict of keyword arguments; one argument that is a list itself, such as the images "
        "of a detector, is given as ([image, image],)"
    )


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    kind = type(value).__name__
    if isinstance(value, list | tuple):
        return f"{kind} of {len(value)}" + (f": {_described(value[0])}, ..." if value else "")
    return repr(value) if value is None or isinstance(value, bool | int | float) else kind
