"""What several tests share: the tiny benchmark of `tiny.py`, and the command line, in this process or another."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from bibench.cli.app import main
from bibench.foundation.choice import choice
from bibench.foundation.registry import Registry, load_file
from bibench.models import MODELS
from bibench.operators import OPERATORS
from bibench.suite import known
from bibench.suite.cell import Cell
from bibench.suite.definition import SUITES
from bibench.tasks import TASKS
from bibench.tracks import TRACKS
from bibench.train import code

TINY = Path(__file__).with_name("tiny.py")


@contextmanager
def fresh_registries(*more: Registry[Any]) -> Iterator[None]:
    """Whatever is registered (in `more` of them, too) or loaded inside is forgotten afterwards."""
    registries = (OPERATORS, MODELS, TASKS, SUITES, TRACKS, *more)
    before = [(len(r), dict(r._entries), dict(r._sources), dict(r._marks)) for r in registries]  # len: discover first
    modules = set(sys.modules)
    try:
        yield
    finally:
        for registry, (_, entries, sources, marks) in zip(registries, before, strict=True):
            registry._entries, registry._sources, registry._marks = entries, sources, marks
        for name in set(sys.modules) - modules:
            if name.startswith("bibench_loaded_"):
                del sys.modules[name]
        code._fingerprint.cache_clear()
        known.forget()


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
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=300, env=environment, **options)


def bibench_here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which has imported everything: seconds less. Its workers' output is taken, too."""
    argv, sys.argv = sys.argv, command(*arguments)
    columns = os.environ.pop("COLUMNS", None)
    code: object = 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            with ExitStack() as stack:
                for number, file in ((1, out), (2, err)):
                    stack.enter_context(_descriptor(number, file.fileno()))
                stack.enter_context(redirect_stdout(out))
                stack.enter_context(redirect_stderr(err))
                stack.enter_context(fresh_registries())  # what --load brings stays in the command
                main()
        except SystemExit as ending:
            code = ending.code or 0
        finally:
            sys.argv = argv
            if columns is not None:
                os.environ["COLUMNS"] = columns
        assert isinstance(code, int)
        texts = [file.read() for file in (out, err) if not file.seek(0)]
    return subprocess.CompletedProcess([*map(str, arguments)], code, *texts)


@contextmanager
def _descriptor(number: int, target: int) -> Iterator[None]:
    """File descriptor `number` leads to `target`."""
    before = os.dup(number)
    os.dup2(target, number)
    try:
        yield
    finally:
        os.dup2(before, number)
        os.close(before)
