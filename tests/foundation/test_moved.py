"""Modules by their old and their short names: the very module, and a word where the name goes."""

import importlib
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import bibench
from bibench.foundation.moved import MOVED, PUBLIC


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What is imported by another name inside is forgotten."""
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.removeprefix("bibench.") in MOVED:
            del sys.modules[name]


@pytest.mark.parametrize("name", MOVED)
def test_an_old_name_gives_the_module_and_a_word(name: str) -> None:
    sys.modules.pop(f"bibench.{name}", None)
    with pytest.warns(FutureWarning, match=f"bibench.{name} is now bibench.{MOVED[name]};"):
        old = importlib.import_module(f"bibench.{name}")
    new = importlib.import_module(f"bibench.{MOVED[name]}")
    assert old is new
    assert new.__spec__ is not None and new.__spec__.name == new.__name__ == f"bibench.{MOVED[name]}"


@pytest.mark.parametrize("name", PUBLIC)
def test_a_short_name_stays_without_a_word(name: str) -> None:
    sys.modules.pop(f"bibench.{name}", None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short = importlib.import_module(f"bibench.{name}")
    assert short is importlib.import_module(f"bibench.{PUBLIC[name]}")


@pytest.mark.slow
def test_modules_are_attributes_after_import_bibench_alone() -> None:
    code = "import bibench; print(bibench.layers.progress is bibench.progress, bibench.errors.BiBenchError.__name__)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "True BiBenchError\n" and not told.stderr


def test_what_there_is_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'bibench' has no attribute 'nothing'"):
        bibench.nothing  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bibench.nothing")


def test_files_that_became_packages_give_what_they_gave() -> None:
    from bibench.records import SCHEMA, Record, read
    from bibench.suite import SUITES, suite

    assert (SCHEMA, Record.__name__, callable(read), callable(suite)) == (5, "Record", True, True) and "quick" in SUITES


def test_no_text_has_an_old_name() -> None:
    """Docs, docstrings and comments call modules by their present names."""
    root = Path(__file__).parents[2]
    old = re.compile(rf"\bbibench[./](?:{'|'.join(MOVED)})\b(?![\w/])")
    assert old.search("see `bibench.registry`") and not old.search("src/bibench/kernels/noise.py")
    folders = ("src", "docs", "csrc", "examples", "benchmarks")
    files = [
        file for folder in folders for kind in ("*.py", "*.md", "*.cpp", "*.h") for file in (root / folder).rglob(kind)
    ]
    found = [f"{file}: {m[0]}" for file in [*files, *root.glob("*.md")] if (m := old.search(file.read_text("utf-8")))]
    assert len(files) > 400 and found == []
