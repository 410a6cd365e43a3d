"""Changes of modules in place that can be taken back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn


class Before:
    """Modules as they were when `save` was first told of them: class, attributes and which children, not values."""

    def __init__(self) -> None:
        self._saved: dict[nn.Module, tuple[type[nn.Module], dict[str, Any], dict[str, nn.Module | None]]] = {}

    def __len__(self) -> int:
        return len(self._saved)

    def __contains__(self, module: object) -> bool:
        return module in self._saved

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._saved)

    def save(self, module: nn.Module) -> None:
        """Remember `module` as it is now, unless it is remembered already."""
        self._saved.setdefault(module, (type(module), dict(vars(module)), dict(module._modules)))

    def restore(self, modules: Iterable[nn.Module] | None = None) -> None:
        """Give these modules (default: all) back what they had, and forget them."""
        for module in list(self._saved if modules is None else modules):
            cls, attributes, children = self._saved.pop(module)
            module.__class__ = cls
            vars(module).clear()
            vars(module).update(attributes)
            module._modules.clear()
            module._modules.update(children)
