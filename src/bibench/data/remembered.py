"""What the catalogues say, remembered in the cache, so that whoever only lists or looks needs no PyTorch.

Nothing can be in a catalogue before PyTorch is imported but what BiBench brings and plug-ins add. So where it is not
imported, what was said before still holds, as long as nothing changed: the files of BiBench, and what is installed.
With anything of others in the catalogues, nothing is remembered.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from bibench.data.location import cache_dir
from bibench.foundation.errors import BiBenchError
from bibench.foundation.files import read_json, write_json
from bibench.foundation.registry import foreign

T = TypeVar("T")

PACKAGE = Path(__file__).parents[1]
_SAID: dict[str, Any] = {}
KEPT = 8
"""So many states of the code are remembered beside each other, as of several environments."""


def remembered(name: str, ask: Callable[[], T]) -> T:
    """What `ask` returns, plain data of JSON, or what it returned before.

    It is asked wherever PyTorch is imported, or anything of others is in a catalogue.
    """
    if live():
        found = ask()
        if name not in _SAID and recall(name) is None:
            keep(name, found)
        _SAID[name] = found
        return found
    if name not in _SAID:
        if (said := recall(name)) is None:
            said = ask()
            keep(name, said)
        _SAID[name] = said
    return _SAID[name]  # type: ignore[no-any-return]


def live() -> bool:
    """Whether the catalogues are to be asked themselves: they are there, or hold anything of others."""
    return "torch" in sys.modules or foreign()


def recall(name: str) -> Any:
    """What was kept under `name` by the code as it is now, or None."""
    try:
        return read_json(_folder() / f"{name}.json")["said"]
    except (BiBenchError, OSError, ValueError, KeyError, TypeError):  # it is not there, or damaged: it is asked again
        return None


def keep(name: str, said: Any) -> None:
    """Remember plain data under `name`; nowhere if the cache cannot be written or the catalogues are not ours alone."""
    if foreign():
        return
    folder = _folder()
    try:
        if not folder.is_dir():
            _forget(folder.parent)
            folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / f"{name}.json", {"said": json.loads(json.dumps(said))})
    except (BiBenchError, OSError):
        return


def plugged() -> bool:
    """Whether anything that is installed adds to the catalogues."""
    return any(group.startswith("bibench.") for group in importlib.metadata.entry_points().groups)


def _forget(states: Path) -> None:
    """The states of the code that were used longest ago."""
    known = sorted((one for one in states.glob("*") if one.is_dir()), key=lambda one: one.stat().st_mtime)
    for one in known[: max(0, len(known) - KEPT + 1)]:
        shutil.rmtree(one, ignore_errors=True)


def _folder() -> Path:
    return cache_dir() / "catalogues" / _state()


@cache
def _state() -> str:
    """A hash that changes with any file of BiBench, and with what is installed."""
    digest = hashlib.sha256(f"{sys.version} {PACKAGE}".encode())
    for path, size, changed in _stats(_files(PACKAGE)):
        digest.update(f"{path} {size} {changed}\n".encode())
    for folder in filter(os.path.isdir, filter(None, sys.path)):  # installing changes the folder
        digest.update(f"{folder} {Path(folder).stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterable[os.DirEntry[str]]:
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        if entry.is_dir() and entry.name != "__pycache__":
            yield from _files(Path(entry.path))
        elif entry.is_file():
            yield entry


def _stats(entries: Iterable[os.DirEntry[str]]) -> Iterable[tuple[str, int, int]]:
    for entry in entries:
        stat = entry.stat()
        yield entry.path, stat.st_size, stat.st_mtime_ns
