"""Proof that a frozen model as a whole computes what the model computes, on its example inputs.

Layer by layer is not enough: a forward may compute with what it reads of a layer, and may read more where nobody
watches. PyTorch's fused paths (`nn.TransformerEncoderLayer` in evaluation) read weights in place of calling layers, but
not where hooks are attached or a graph is traced. So the model runs as its user runs it, and the frozen one as the
tracers run it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_map

from bibench.deploy.calling import Example
from bibench.foundation.errors import UnsupportedError

ROUNDING = 1e-4
"""How far what is frozen may be from what it is made of, relative to its largest output."""

Calls = dict[nn.Module, list[Tensor]]
"""What each binarized layer gave, call by call."""
Trained = Callable[[], AbstractContextManager[nn.Module]]


class AsTraced(TorchFunctionMode):
    """Inside, as while a graph is traced, PyTorch takes no fused path that reads the weights of layers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def outputs(model: nn.Module, example: Example) -> Any:
    """What `model` gives, whatever it draws at random or changes of itself and its inputs: each run is the first."""
    before = {name: value.clone() for name, value in model.named_buffers()}
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(0)
        try:
            return example.call(model)  # with copies of its inputs
        finally:
            for name, value in model.named_buffers():
                if name in before and value.shape == before[name].shape:
                    value.copy_(before[name])


@contextmanager
def recorded(layers: Mapping[nn.Module, Any]) -> Iterator[Calls]:
    """What `layers` give inside."""
    calls: Calls = defaultdict(list)

    def note(module: nn.Module, _: Any, output: Tensor) -> None:
        calls[module].append(output)

    hooks = [layer.register_forward_hook(note, prepend=True) for layer in layers]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def following(layers: Mapping[nn.Module, nn.Module], calls: Calls) -> Iterator[None]:
    """The frozen forms of `layers` give inside what these gave in `calls`, as long as there is any."""
    waiting = {frozen: iter(calls.get(layer, ())) for layer, frozen in layers.items()}

    def follow(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return next(waiting[module], output)

    hooks = [layer.register_forward_hook(follow, prepend=True) for layer in waiting]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class Whole:
    """What a model gives on one example, before its layers are replaced by their frozen forms."""

    def __init__(self, model: nn.Module, example: Example) -> None:
        self.example = example
        self.expected = outputs(model, example)

    def prove(self, frozen: nn.Module, layers: Mapping[nn.Module, nn.Module], trained: Trained) -> None:
        """Raise unless `frozen` gives the same.

        A value within rounding of its threshold may get the other sign in it, and everything behind it differs then. So
        where outputs differ, it runs once more, and its layers give what the model's gave: all between them must agree.

        Args:
            layers: the frozen form of each layer.
            trained: a context with the model as it was.

        Raises:
            UnsupportedError: naming the first output that differs, by how much, and what to do.
        """
        apart = difference(self.expected, self._given(frozen))
        if not apart:
            return
        with trained() as model, recorded(layers) as calls:
            watched = outputs(model, self.example)
        if hidden := difference(self.expected, watched):
            raise UnsupportedError(
                f"the model cannot be exported: in evaluation it does not compute with its 1-bit layers: its {hidden} "
                "where they are called, as in training and in an exported graph. A fused path of PyTorch reads their "
                "weights instead: keep these layers full precision (keep=...), or use modules without such a path"
            )
        with following(layers, calls):
            apart = difference(watched, self._given(frozen))
        if apart:
            raise UnsupportedError(
                f"the model cannot be exported: its {apart} where its 1-bit layers are packed. Its forward uses "
                "something of them other than their outputs: have it call the layer, or keep that layer full precision "
                "(keep=...)"
            )

    def _given(self, frozen: nn.Module) -> Any:
        try:
            with AsTraced():
                return outputs(frozen, self.example)
        except UnsupportedError:
            raise
        except Exception as error:  # whatever a model's own code does without what it looks for
            cause = error.__cause__ or error
            reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
            raise UnsupportedError(
                f"the model cannot be exported: its forward fails where its 1-bit layers are packed ({reason}). It "
                "uses something of them that an exported layer does not have: have it call the layer, or keep that "
                "layer full precision (keep=...)"
            ) from error


def difference(expected: Any, given: Any) -> str:
    """How the first output that differs does so, in words; "" if all agree to `ROUNDING`, NaN with NaN."""
    (ours, structure), (theirs, other) = tree_flatten_with_path(expected), tree_flatten_with_path(given)
    if structure != other:
        return f"outputs are {_outline(other)} in the place of {_outline(structure)}"
    told = (_compare(_named(path), mine, yours) for (path, mine), (_, yours) in zip(ours, theirs, strict=True))
    return next(filter(None, told), "")


def varied(example: Example) -> Example:
    """Another example: floats moved by one place along the last axis, normal values where all are equal."""

    def other(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or not value.dim():
            return value
        if (value == value.flatten()[0]).all():
            return torch.randn(value.shape, generator=torch.Generator().manual_seed(0)).to(value)
        return value.roll(1, -1)

    return Example(*tree_map(other, (example.args, example.kwargs)))


def _compare(name: str, mine: Any, yours: Any) -> str:
    kind: Callable[..., str] = _compare_tensors if isinstance(mine, Tensor) else _compare_objects
    return kind(name, mine, yours)


def _compare_tensors(name: str, mine: Tensor, yours: Any) -> str:
    if not isinstance(yours, Tensor) or (mine.shape, mine.dtype) != (yours.shape, yours.dtype):
        return f"{name} is {_described(yours)} in the place of {_described(mine)}"
    exactly = not (mine.is_floating_point() or mine.is_complex())
    if exactly or not mine.numel():
        return "" if torch.equal(mine, yours) else f"{name} has other values"
    same = (mine == yours) | (mine.isnan() & yours.isnan())
    off = torch.where(same, torch.zeros((), dtype=mine.dtype), mine - yours).abs()
    finite = mine.abs()[mine.isfinite()]
    largest = float(finite.max()) if finite.numel() else 0.0
    most = float(off.max())
    if most <= ROUNDING * max(largest, 1e-30):
        return ""
    return f"{name} differs by {most:.3g} (the largest is {largest:.3g})"


def _compare_objects(name: str, mine: Any, yours: Any) -> str:
    plain = mine is None or isinstance(mine, bool | int | float | str)
    near = isinstance(mine, float) and isinstance(yours, float) and abs(mine - yours) <= ROUNDING * abs(mine)
    return "" if not plain or mine == yours or near else f"{name} is {yours!r} in the place of {mine!r}"


def _named(path: Any) -> str:
    return f"output {keystr(path)}" if path else "output"


def _described(value: Any) -> str:
    return f"{tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _outline(structure: Any) -> str:
    return str(structure)[:200]
