"""What an audit lists: layers, other modules and parameters with a matrix; and of which of them each product is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from bibench.layers import BinaryLayer
from bibench.tracing.work import Work

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)
"""What multiplies element by element, whatever the shape of its weight."""


@dataclass
class Entry:
    """One thing to list.

    Attributes:
        module: that is or holds it.
        names: all of them, the first one first.
        weight: the parameter or buffer of `module` that is listed alone; "" where the module is.
        layer: whether the module is one of the known layers.
        parameters: that count as its own.
        macs: of one example, outside of the calls of watched layers.
        reached: whether the traced forward used it.
    """

    module: nn.Module
    names: list[str]
    weight: str = ""
    layer: bool = False
    parameters: list[nn.Parameter] = field(default_factory=list)
    macs: int = 0
    reached: bool = False


class Listing:
    """The entries of a model in the order of registration.

    A module with a matrix that is no known layer is an entry itself, or, where other modules inside of it have
    parameters too (or nothing calls it), each of its matrices is one. So is what a product was made with, whatever its
    shape.

    Args:
        layers: the known ones, with all their names.
        called: those of them that the traced forward called.
        work: of that forward; None where none was traced.

    Attributes:
        between: multiply-accumulates of one example that are of no entry: products of activations.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[nn.Module, list[str]],
        called: Collection[nn.Module],
        work: Work | None,
    ) -> None:
        self.entries: list[Entry] = []
        self.between = 0
        self._layers, self._called = layers, called
        self._products = {key for key, macs in work.products.items() if macs} if work else set()
        self._homes: dict[str, Entry | None] = {}
        self._alone: dict[tuple[str, str], Entry] = {}
        self._counted: set[int] = set()
        operators = {part for m in model.modules() if isinstance(m, BinaryLayer) for part in m.operator.modules()}
        for name, module in model.named_modules():
            around = self._homes.get(name.rpartition(".")[0]) if name else None
            self._homes[name] = around if module in operators else self._enter(name, module, around)
        if work:
            self._share(work)

    def _enter(self, name: str, module: nn.Module, around: Entry | None) -> Entry | None:
        """List a module; the entry that what happens in it is of."""
        own = {k: p for k, p in module.named_parameters(recurse=False) if id(p) not in self._counted}
        home = around if around and around.layer else None
        if module in self._layers:
            entry = self._add(Entry(module, self._layers[module], layer=True))
            home = home if home and self._is_part(module, home) else entry
            entry.reached = module in self._called or home is not entry
        if home is None:
            return self._enter_other(name, module, own) or around
        self._hold(home, own)
        return home

    def _is_part(self, module: nn.Module, around: Entry) -> bool:
        """Whether a layer's weights are taken by the one around it, which does not call it."""
        whole = isinstance(around.module, nn.MultiheadAttention)
        return whole and module not in self._called and not isinstance(module, BinaryLayer)

    def _enter_other(self, name: str, module: nn.Module, own: dict[str, nn.Parameter]) -> Entry | None:
        held = {**own, **dict(module.named_buffers(recurse=False))}
        multiplied = [k for k in held if (name, k) in self._products]
        matrices = [k for k, p in own.items() if is_matrix(p) and not isinstance(module, NORMS)]
        listed = [k for k in held if k in multiplied or k in matrices]
        if not listed:
            return None
        if name and _is_whole(module):
            entry = self._add(Entry(module, [name]))
            self._hold(entry, own)
            return entry
        for key in listed:
            entry = self._add(Entry(module, [f"{name}.{key}".strip(".")], weight=key))
            self._alone[name, key] = entry
            self._hold(entry, {key: own[key]} if key in own else {})
        return None

    def _add(self, entry: Entry) -> Entry:
        self.entries.append(entry)
        return entry

    def _hold(self, entry: Entry, parameters: Mapping[str, nn.Parameter]) -> None:
        entry.parameters += parameters.values()
        self._counted.update(map(id, parameters.values()))

    def _of(self, module: str, weight: str) -> Entry | None:
        return self._alone.get((module, weight)) or self._homes.get(module)

    def _share(self, work: Work) -> None:
        for (module, weight), count in work.products.items():
            entry, macs = self._of(module, weight), work.of_one(count)
            if entry is None:
                self.between += macs
            else:
                entry.macs += macs
        for name in work.used:
            module, _, weight = name.rpartition(".")
            if entry := self._of(module, weight):
                entry.reached = True


def is_matrix(parameter: Tensor) -> bool:
    """Whether a parameter has several rows of numbers; axes of length 1 beyond the second are none."""
    if is_lazy(parameter):
        return False
    shape = tuple(parameter.shape)
    return shape[0] > 1 if len(shape) == 2 else sum(n > 1 for n in shape) > 1


def _is_whole(module: nn.Module) -> bool:
    """Whether a module computes something itself and has all the parameters inside of it."""
    inside = {id(p) for m in module.children() for p in m.parameters()}
    computes = isinstance(module, torch.jit.ScriptModule) or type(module).forward is not nn.Module.forward
    return computes and not inside
