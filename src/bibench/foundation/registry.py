"""Catalogues of what can be named: operators, models, tasks, suites, tracks.

A thing enters its catalogue by a decorator in its own file. Files inside BiBench are found by
listing the package, a stranger's by an entry point (group ``bibench.operators``, ``bibench.models``,
``bibench.tasks``, ...) or by `load_file`. Nothing is imported before the first look-up.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from bibench.foundation.errors import BiBenchError, DefinitionWarning, UnknownNameError
from bibench.foundation.slips import did_you_mean

T = TypeVar("T")

PACKAGE = Path(__file__).parents[1]


class Registry(Generic[T]):
    """One catalogue. `kind` is the singular noun of its error messages ("operator"); `packages` hold its entries."""

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self._packages = packages
        self._entries: dict[str, T] = {}
        self._sources: dict[str, str] = {}
        self._broken: list[str] = []
        self._marks: dict[str, tuple[str, ...]] = {}
        self._discovered = False

    def register(self, name: str, entry: T, *, where: object = None) -> T:
        """Add `entry` under `name`; `where` is the class or function that says which file it is from."""
        source = _source(where if where is not None else entry)
        known = self._sources.get(name)
        if known is not None and known.rpartition(":")[0] != source.rpartition(":")[0]:
            raise BiBenchError(f"{self.kind} {name!r} is defined twice: in {known} and in {source}; rename one of them")
        self._entries[name] = entry
        self._sources[name] = source
        return entry

    def __getitem__(self, name: str) -> T:
        self._discover()
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(self._unknown(name)) from None

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._discover()
        return len(self._entries)

    def source(self, name: str) -> str:
        """``file:line`` where the entry is defined."""
        self[name]
        return self._sources[name]

    def names_from(self, file: str | Path) -> list[str]:
        """Names that were defined in `file`."""
        path = str(Path(file).resolve())
        return sorted(n for n, source in self._sources.items() if source.rpartition(":")[0] == path)

    def users_file(self, name: str) -> Path | None:
        """The file of an entry that is none of BiBench's own; None for one of those, and for one that is in no file."""
        file, _, line = self.source(name).rpartition(":")
        path = Path(file)
        return None if line == "0" or path.is_relative_to(PACKAGE) else path

    def mark(self, chosen: str, *flags: str) -> None:
        """Have all records of what is `chosen` (a name, options or not) carry these flags.

        Args:
            flags: see `bibench.records.flags`.
        """
        self._marks[chosen] = flags

    def marks(self, chosen: str) -> tuple[str, ...]:
        """The flags that records of what is `chosen` carry."""
        return self._marks.get(chosen, ())

    def discover(self) -> None:
        """Import all entries of BiBench and of plug-ins, if that has not been done."""
        self._discover()

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        for package in map(importlib.import_module, self._packages):
            for module in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
                importlib.import_module(module.name)
        for point in importlib.metadata.entry_points(group=f"bibench.{self.kind}s"):
            try:
                with warnings.catch_warnings(action="ignore", category=DefinitionWarning):  # told where it is used
                    point.load()
            except Exception as error:  # a stranger's broken plug-in must not take the others down
                self._broken.append(f"{point.name} ({point.value}): {type(error).__name__}: {error}")

    def _unknown(self, name: str) -> str:
        names = sorted(self._entries)
        near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
        message = f"unknown {self.kind} {name!r}"
        if near:
            message += f"; did you mean {' or '.join(repr(n) for n in near)}?"
        message += f"{'' if near else '.'} Known {self.kind}s: {', '.join(names) or 'none'}."
        if self._broken:
            message += f" Plug-ins that failed to load: {'; '.join(self._broken)}."
        return message


def check_name(kind: str, name: object) -> None:
    """Raise `BiBenchError` unless users can choose `name`, as in name[option=value], and folders be called by it."""
    if not isinstance(name, str):  # the decorator without its brackets gets the class
        raise BiBenchError(f"@{kind} needs a name, as in @{kind}('name'); got {name!r}")
    if not re.fullmatch(r"[\w.+-]+", name):
        raise BiBenchError(f"@{kind}({name!r}): a name consists of letters, digits and _ . + -")


def load_file(path: str | Path) -> Path:
    """Import a stranger's Python file so that its decorators register what it defines.

    It may import what lies beside it; what is installed comes first. Returns the resolved path. Raises
    `BiBenchError` with the line at fault when the file is missing or raises. Importing runs the file: load
    only files you trust.
    """
    return import_file(path, "--load")[0]


def import_file(path: str | Path, option: str) -> tuple[Path, ModuleType]:
    """As `load_file`: the resolved path and the module.

    Args:
        path: of the file.
        option: by which users named the file, for errors.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file() or file.suffix != ".py":
        raise BiBenchError(f"{option} {path}: expected an existing Python file (.py), found none there")
    name = f"bibench_loaded_{file.stem}_{hashlib.sha256(os.fsencode(file)).hexdigest()[:8]}"
    if name in sys.modules:
        return file, sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise BiBenchError(f"{file} cannot be imported: {fault(file, error)}") from error
    return file, module


def fault(file: Path, error: BaseException) -> str:
    """What a stranger's file raised, with its own line: ``line 3: NameError: ...``."""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else None)
    said = " ".join(str(error).split())
    return f"{f'line {line}: ' if line else ''}{type(error).__name__}: {said}{_meant(file, error)}"


def _meant(file: Path, error: BaseException) -> str:
    """What a misspelled keyword argument was meant to be, from the function that the user's line calls."""
    found = re.match(r"([\w.]+)\(\) got an unexpected keyword argument '(\w+)'", str(error))
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(file)]
    if not (found and frames) or "Did you mean" in str(error):
        return ""
    name = found[1].removesuffix(".__init__").rpartition(".")[2]
    places = [
        frames[-1].f_globals,
        *(vars(value) for value in frames[-1].f_globals.values() if inspect.ismodule(value)),
    ]
    called = next((place[name] for place in places if callable(place.get(name))), None)
    try:
        return "" if called is None else did_you_mean(found[2], inspect.signature(called).parameters)
    except (TypeError, ValueError):
        return ""


def _source(entry: object) -> str:
    """``file:line`` of a class or function; ``module:0`` where no file has its code (a prompt, a block of a page).

    The file has to be there: under the name of one that is not, `linecache` finds any of that name on `sys.path`,
    such as the page that a block is from. And the code is not tokenized, which fails on what is no Python.
    """
    code = inspect.unwrap(entry if inspect.isclass(entry) or inspect.isfunction(entry) else type(entry))
    try:
        file = Path(inspect.getsourcefile(code) or "").resolve()
        if file.is_file():
            return f"{file}:{inspect.findsource(code)[1] + 1}"
    except (OSError, TypeError, ValueError, SyntaxError):  # null bytes are a ValueError in early releases of 3.11
        pass
    return f"{getattr(code, '__module__', '?')}:0"
