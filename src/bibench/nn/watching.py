"""Who enters the 1-bit layers of a model, and who reads their weights, in one forward without hooks.

Hooks, gradients, tensor subclasses and function modes all switch fused paths of PyTorch off, so none of them could
find such a path. A dispatch mode switches none off: it sees each operation below autograd with the tensors it takes,
views of weights included, on the meta device too. It does not see reads that are no operation of PyTorch
(``weight.numpy()``), nor operations inside higher-order ones (`torch.cond`).
"""

from __future__ import annotations

import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Extent = tuple[int, int, int]
"""Where the values of a tensor lie: storage, first and last byte."""


class Watch(TorchDispatchMode):
    """`entered`: how often the 1-bit forward of each layer began. `readers`: who read the weight of one from outside.

    `elsewhere`: whether one began in another thread, where no mode of this one sees who reads what.

    Args:
        layers: those to watch, whose `_compute` is their 1-bit forward.
        names: of all modules, for what is said of readers.
    """

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled while it watches; to make sure, PyTorch would import the compiler

    def __init__(self, layers: Iterable[nn.Module], names: Mapping[nn.Module, str]) -> None:
        super().__init__()
        self.layers, self.names = list(layers), names
        self.entered: Counter[nn.Module] = Counter()
        self.readers: dict[nn.Module, str] = {}
        self.elsewhere, self._thread = False, threading.get_ident()
        self._inside: list[nn.Module] = []
        self._owners: dict[int, list[tuple[int, int, nn.Module]]] = {}
        # Held, so that no other storage gets their address: what moves weights in and out replaces them.
        self._held = [(layer, tensor) for layer in self.layers for tensor in _latent(layer)]
        for layer, tensor in self._held:
            if extent := _extent(tensor):
                self._owners.setdefault(extent[0], []).append((*extent[1:], layer))

    def run(self, forward: Callable[[], Any]) -> None:
        """One forward; behind it the layers are as they were."""
        classes = [(layer, type(layer)) for layer in self.layers]
        watched = {cls: self._watched(cls) for cls in dict.fromkeys(cls for _, cls in classes)}
        try:
            for layer, cls in classes:
                layer.__class__ = watched[cls]
            with self:
                forward()
        finally:
            for layer, cls in classes:
                layer.__class__ = cls

    def _watched(self, cls: Any) -> type[nn.Module]:
        """`cls`, which tells when it is entered. Not by `forward`, which may have been taken from it before."""

        def call(layer: nn.Module, *args: Any, **named: Any) -> Any:
            # What a layer's own hooks do with its weight belongs to it; a `forward` of the instance does not.
            with self._within(layer, "forward" not in vars(layer)):
                return cls.__call__(layer, *args, **named)

        def compute(layer: nn.Module, *args: Any, **named: Any) -> Any:
            self.entered[layer] += 1
            self.elsewhere |= threading.get_ident() != self._thread
            with self._within(layer, True):
                return cls._compute(layer, *args, **named)

        return type(cls.__name__, (cls,), {"__call__": call, "_compute": compute})

    @contextmanager
    def _within(self, layer: nn.Module, own: bool) -> Iterator[None]:
        if own:
            self._inside.append(layer)
        try:
            yield
        finally:
            if own:
                self._inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _composite(func):  # in inference mode these come whole, and do not tell views from copies
            with self:
                return func.decompose(*args, **(kwargs or {}))
        # What a backward inside of the forward reads (forces are gradients), the forward has read before.
        if _takes_values(func) and torch._C._current_autograd_node() is None:
            for value in tree_leaves((args, kwargs)):
                if isinstance(value, Tensor):
                    self._note(value, func)
        return func(*args, **(kwargs or {}))

    def _note(self, value: Tensor, func: Any) -> None:
        extent = _extent(value)
        if extent is None or extent[0] not in self._owners:
            return
        storage, first, last = extent
        owners = [layer for start, end, layer in self._owners[storage] if start <= last and first <= end]
        if owners and not any(layer in self._inside for layer in owners):
            reader = self._innermost(sys._getframe(2))
            for layer in owners:
                self.readers.setdefault(layer, f"{self._told(reader, layer)}: {func}")

    def _innermost(self, frame: FrameType | None) -> nn.Module | None:
        """The module at work."""
        while frame is not None:
            module = frame.f_locals.get("self")
            if isinstance(module, nn.Module) and module in self.names:
                return module
            frame = frame.f_back
        return None

    def _told(self, reader: nn.Module | None, layer: nn.Module) -> str:
        if reader is None:
            return "a function"
        if reader is layer:
            return "a forward of its own that is not the 1-bit one"
        name = self.names[reader]
        return f"{repr(name) if name else 'the model itself'} ({type(reader).__name__})"


def _latent(layer: nn.Module) -> Iterator[Tensor]:
    """What the weight of `layer` is made of."""
    for name, parameter in layer.named_parameters():
        if name != "bias" and not name.startswith("operator."):
            yield parameter
    weight = vars(layer).get("weight")  # computed by a hook, as by weight norm or pruning
    if isinstance(weight, Tensor):
        yield weight


def _extent(tensor: Tensor) -> Extent | None:
    try:
        storage: Any = tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse, nested
        return None
    if not tensor.numel():
        return None
    size, start = tensor.element_size(), int(tensor.storage_offset())
    last = start + sum(int(n - 1) * int(step) for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    return storage._cdata, start * size, (last + 1) * size - 1


@functools.cache
def _composite(operation: Any) -> bool:
    """Whether it is made of others."""
    key = torch._C.DispatchKey.CompositeImplicitAutograd
    return isinstance(operation, torch._ops.OpOverload) and operation.has_kernel_for_dispatch_key(key)


@functools.cache
def _takes_values(operation: Any) -> bool:
    """Whether it asks its tensors for more than shape and dtype; views are followed to whoever takes their values."""
    if not isinstance(operation, torch._ops.OpOverload):
        return True
    name = operation.name().partition("::")[2].partition(".")[0]
    return not (operation.is_view or name.endswith("_like") or name.startswith("new_"))
