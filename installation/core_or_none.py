"""The build backend: scikit-build-core, and where the compiled core cannot be built the same package without it.

Everything runs in plain PyTorch too, with the same numbers. Why the core is not there is written into the package
(`NOTE`), where ``bibench env``, ``run`` and ``latency`` find it. ``BIBENCH_CORE=required`` makes a build without the
core an error, as releases and tests want it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reasons import NO_COMPILER, NOTE, add, reason_of
from scikit_build_core import build as _builder

# Hooks of the build frontend that are the same with the core and without.
build_sdist = _builder.build_sdist
get_requires_for_build_sdist = _builder.get_requires_for_build_sdist


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """What to install for the build; without a compiler not CMake, which could not build anything."""
    return _builder.get_requires_for_build_wheel(config_settings) if _may_compile(config_settings) else []


def get_requires_for_build_editable(config_settings: dict[str, Any] | None = None) -> list[str]:
    """As `get_requires_for_build_wheel`."""
    return _builder.get_requires_for_build_editable(config_settings) if _may_compile(config_settings) else []


def prepare_metadata_for_build_wheel(folder: str, config_settings: dict[str, Any] | None = None) -> str:
    """Name, version and requirements, for which nothing need be compiled."""
    return _builder.prepare_metadata_for_build_wheel(folder, _without_core(config_settings))


def prepare_metadata_for_build_editable(folder: str, config_settings: dict[str, Any] | None = None) -> str:
    """As `prepare_metadata_for_build_wheel`."""
    return _builder.prepare_metadata_for_build_editable(folder, _without_core(config_settings))


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel, with the core or without."""
    return _with_or_without(_builder.build_wheel, wheel_directory, config_settings)


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Build a wheel that leads to the sources, with the core or without."""
    return _with_or_without(_builder.build_editable, wheel_directory, config_settings)


def _with_or_without(build: Callable[..., str], folder: str, settings: dict[str, Any] | None) -> str:
    if _required() or (settings or {}).get("wheel.cmake") == "false":
        return build(folder, settings, None)
    reason = NO_COMPILER
    if _may_compile(settings):
        said: list[str] = []
        try:
            with _heard(said):
                return build(folder, settings, None)
        except (Exception, SystemExit) as error:
            reason = reason_of("".join([*said, f"\n{type(error).__name__}: {error}"]))
    name = build(folder, _without_core(settings), None)
    add(Path(folder, name), NOTE, f"{reason}\n")
    print(f"*** bibench is installed without its compiled core: {reason}", file=sys.stderr, flush=True)
    return name


def _required() -> bool:
    return os.environ.get("BIBENCH_CORE") == "required"


def _may_compile(settings: dict[str, Any] | None) -> bool:
    """Whether there is something to compile with, as far as names tell; on Windows CMake finds it, not the path."""
    named = os.environ.get("CXX", "").split()
    return (
        _required()
        or sys.platform == "win32"
        or any("CMAKE_CXX_COMPILER" in key or "CMAKE_TOOLCHAIN_FILE" in key for key in settings or {})
        or any(shutil.which(compiler) for compiler in [*named[:1], "c++", "g++", "clang++", "icpx"])
    )


def _without_core(settings: dict[str, Any] | None) -> dict[str, Any]:
    """Settings of a build that asks for no CMake, and has nothing that only CMake would take."""
    kept = {key: value for key, value in (settings or {}).items() if not key.startswith(("cmake.", "build."))}
    return kept | {"wheel.cmake": "false"}


@contextmanager
def _heard(said: list[str]) -> Iterator[None]:
    """What is printed inside, by this process and by those that it starts, is printed afterwards and kept in `said`."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as sink:
        kept = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(sink.fileno(), number)
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, old in zip((1, 2), kept):
                os.dup2(old, number)
                os.close(old)
            sink.seek(0)
            said.append(sink.read().decode(errors="replace"))
            print(said[-1], end="", flush=True)
