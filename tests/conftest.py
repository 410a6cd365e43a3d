"""Shared by all tests: one cache for the embedded data, one thread, and a clean environment."""

import os
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import hypothesis
import pytest
import torch

from bibench.data.location import CACHE, DATA_ROOT, cache_dir
from bibench.deploy.devices import DEVICES

from .worlds import tiny_world

LAUNCHER = "CMAKE_CXX_COMPILER_LAUNCHER"

hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: a test of a minute that begins last would leave the other workers nothing to do."""
    for item in items:
        if (mark := item.get_closest_marker("slow_but")) and not _named(item, mark.args):
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # stable: what shares a fixture stays together


def _named(item: pytest.Item, names: Sequence[str]) -> bool:
    """Whether the parameters of a test are among `names`: their ids, as they are or as patterns."""
    own = item.callspec.id  # type: ignore[attr-defined]
    return own in names or any(fnmatchcase(own, name) for name in names)


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    # xdist workers share the parent of their base folders, so the embedded data is composed once.
    if sys.platform != "win32":  # csrc is built many times: kernels/compile_once.py
        script, folder = Path(__file__).with_name("kernels") / "compile_once.py", cache_dir() / "tests-compiled"
        os.environ.setdefault(LAUNCHER, f"{sys.executable};-S;{script};{folder}")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ[CACHE] = str(shared / "bibench-cache")
    os.environ.pop(DATA_ROOT, None)
    os.environ["COLUMNS"] = "200"
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def in_tiny_world() -> Iterator[None]:
    """A task, models and operators that train in no time (`tests.worlds`)."""
    with tiny_world():
        yield


@pytest.fixture
def devices_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that a test enters are gone behind it."""
    len(DEVICES)  # finds those of others first
    for catalogue in ("_entries", "_sources"):
        monkeypatch.setattr(DEVICES, catalogue, dict(getattr(DEVICES, catalogue)))


@pytest.fixture
def root() -> Path:
    """The root of the repository."""
    return Path(__file__).parents[1]
