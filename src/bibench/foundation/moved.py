"""Modules by names that they had before the rooms, and by shorter ones that users know, such as ``bibench.layers``.

An import by such a name gives the very module, so that what is set on it is set everywhere. `bibench` installs the
finder once; the names of `MOVED` are for one version, each with a word. The abstract classes of `importlib.abc` are
not imported for it: they cost more than all else that `import bibench` does.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

PUBLIC = {"errors": "foundation.errors", "layers": "nn.layers"}
"""Short names that stay."""

MOVED = {
    "attention": "nn.attention",
    "auditing": "nn.auditing",
    "calls": "nn.calls",
    "cell": "suite.cell",
    "choice": "foundation.choice",
    "compressor": "comparators.compressor",
    "conversion": "nn.conversion",
    "distillation": "recipes.distillation",
    "embedding": "nn.embedding",
    "files": "foundation.files",
    "functions": "kernels.functions",
    "fused": "kernels.fused",
    "lookup": "kernels.lookup",
    "native": "kernels.native",
    "noise": "kernels.noise",
    "plan": "execution.plan",
    "products": "kernels.products",
    "provenance": "records.provenance",
    "recipe": "recipes.recipe",
    "rectified": "kernels.rectified",
    "registry": "foundation.registry",
    "rows": "kernels.rows",
    "run": "execution.runner",
    "spec": "kernels.spec",
    "stats": "records.accuracies",
    "store": "suite.store",
    "surrogate": "kernels.surrogate",
    "worker": "execution.worker",
}
"""Where the modules went that lay flat in `bibench` up to 0.1."""


class _Finder:
    """Comes last: only what is found nowhere else was moved."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        place = (PUBLIC | MOVED).get(name) if package == "bibench" else None
        if place is None:
            return None
        return ModuleSpec(fullname, _Loader(f"bibench.{place}", told=name in MOVED))  # type: ignore[arg-type]


class _Loader:
    """Gives the module that has another name, as it is."""

    def __init__(self, place: str, *, told: bool) -> None:
        self._place, self._told = place, told
        self._own: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if self._told:
            warnings.warn(f"{spec.name} is now {self._place}; the old name goes with version 0.3", FutureWarning, 2)
        module = importlib.import_module(self._place)
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own  # the import system put that of the old name there


def install() -> None:
    """Have the import system know the names."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())  # type: ignore[arg-type]
