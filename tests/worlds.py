"""What several tests share: the tiny benchmark of `tiny.py` in this process, and the command line in another."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bibench.cell import Cell
from bibench.choice import choice
from bibench.models import MODELS
from bibench.operators import OPERATORS
from bibench.registry import load_file
from bibench.suite import SUITES
from bibench.tasks import TASKS
from bibench.tracks import TRACKS
from bibench.train import code

TINY = Path(__file__).with_name("tiny.py")


@contextmanager
def fresh_registries() -> Iterator[None]:
    """Whatever is registered or loaded inside is forgotten afterwards."""
    registries = (OPERATORS, MODELS, TASKS, SUITES, TRACKS)
    known = [(len(r), dict(r._entries), dict(r._sources)) for r in registries]  # len: discover first
    modules = set(sys.modules)
    try:
        yield
    finally:
        for registry, (_, entries, sources) in zip(registries, known, strict=True):
            registry._entries, registry._sources = entries, sources
        for name in set(sys.modules) - modules:
            if name.startswith("bibench_loaded_"):
                del sys.modules[name]
        code._fingerprint.cache_clear()


@contextmanager
def tiny_world() -> Iterator[None]:
    """The task, operators and suite of `tiny.py` are in the catalogues."""
    with fresh_registries():
        load_file(TINY)
        yield


def cell(operator: str = "bnn", recipe: str = "quick", seed: int = 0, model: str = "vgg_small[width=2]") -> Cell:
    """A cell of the tiny task."""
    return Cell(choice("tiny"), choice(model), choice(operator), choice(recipe), seed)


def command(*arguments: object) -> list[str]:
    """The command line ``bibench ARGUMENTS`` of this environment."""
    return [str(Path(sys.executable).with_name("bibench")), *map(str, arguments)]


def bibench(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run ``bibench ARGUMENTS`` to its end."""
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, env=environment, **options)
