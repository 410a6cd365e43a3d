"""Which parameters and buffers a tensor was made of, while a model runs: of a transposed, cast or merged weight too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from bibench.tracing.formulas import tensors


class Sources:
    """Names (module, dot, attribute) of the parameters and buffers behind tensors that depend on nothing else.

    Tensors are known by their storage, as views of one share it. A tensor that a forward makes of known ones alone is
    known too; one that is written to with anything else is no longer known.

    Args:
        model: whose names count, all of one tensor.
        state: what stands in for the parameters and buffers of these names.
    """

    def __init__(self, model: nn.Module, state: Mapping[str, Tensor] | None = None) -> None:
        self._known: dict[int, tuple[StorageWeakRef, tuple[str, ...]]] = {}
        self.used: set[str] = set()
        names: dict[int, list[str]] = {}
        held: dict[int, Tensor] = {}
        for at, module in model.named_modules():  # each module under its first name
            for own in (module.named_parameters(recurse=False), module.named_buffers(recurse=False)):
                for name, tensor in own:
                    names.setdefault(id(tensor), []).append(f"{at}.{name}")
                    held[id(tensor)] = tensor if state is None else state.get(f"{at}.{name}".strip("."), tensor)
        for key, tensor in held.items():
            self._learn(tensor, (*(self.of(tensor) or ()), *names[key]))

    def of(self, tensor: Tensor) -> tuple[str, ...] | None:
        """The names behind `tensor`, none of a constant; None where it depends on something else."""
        known = self._known.get(_address(tensor))
        return None if known is None else known[1]

    def follow(self, args: Iterable[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Note what an operation made of its arguments."""
        found = [self.of(t) for t in tensors((*args, *kwargs.values()))]
        names = tuple(dict.fromkeys(name for one in found for name in one or ()))
        self.used.update(names)
        for tensor in tensors((out,)):
            if None in found:
                self._known.pop(_address(tensor), None)
            elif self.of(tensor) != names:
                self._learn(tensor, names)

    def _learn(self, tensor: Tensor, names: tuple[str, ...]) -> None:
        address = _address(tensor)
        if address:
            # The reference keeps the address from being given to another storage.
            self._known[address] = StorageWeakRef(tensor.untyped_storage()), names


def _address(tensor: Tensor) -> int:
    """Of the storage; 0 of tensors that have none."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError, ValueError):  # sparse, lazy and batched ones
        return 0
