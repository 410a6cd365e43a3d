"""Where in a user's own file an error comes from: the line, with its text, and none of BiBench or of a library."""

from __future__ import annotations

import inspect
import linecache
import re
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
_LIBRARIES = tuple(
    str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def users_line(error: BaseException, own: Path | None = None) -> str:
    """``FILE:LINE: text`` of the last line of a user's file on the way to `error`, or an empty string.

    What comes before the ``try`` that caught it is not on the way.

    Args:
        own: a file that is the user's although it is installed, as a plug-in is; with what lies beside it.
    """
    found = [f for f in traceback.extract_tb(error.__traceback__) if _is_users(f.filename, own)]
    return f"{_place(found[-1].filename)}:{found[-1].lineno}: {found[-1].line}" if found else ""


def told(error: BaseException, own: Path | None = None) -> str:
    """An error in a line: its kind, its message, and the user's line that it comes from, if any."""
    line = users_line(error, own)
    return f"{type(error).__name__}: {error}" + (f" ({line})" if line else "")


def last_return(function: Callable[..., Any]) -> str:
    """``FILE:LINE: text`` of the last ``return`` of a function, or of its first line; empty where no file has it."""
    try:
        file, (lines, first) = inspect.getsourcefile(function), inspect.getsourcelines(function)
    except (OSError, TypeError):
        return ""
    found = [n for n, line in enumerate(lines) if line.strip().startswith("return")]
    at = found[-1] if found else 0
    return f"{_place(file)}:{first + at}: {lines[at].strip()}"


def first_line(function: Callable[..., Any]) -> str:
    """``FILE:LINE: text`` where a function begins; empty where no file has it."""
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return ""
    at = next((n for n, line in enumerate(lines) if line.strip().startswith("def ")), 0)
    return f"{_place(inspect.getsourcefile(function))}:{first + at}: {lines[at].strip()}"


def assignment(cls: type, name: str) -> str:
    """``FILE:LINE: text`` where a class sets its attribute `name` outside of ``__init__``, or an empty string."""
    written = re.compile(rf"\s*self\.{name}\s*(:[^=]+)?=[^=]|.*(setattr|register_\w+)\(.*[\"']{name}[\"']")
    for function in (f for f in vars(cls).values() if inspect.isfunction(f) and f.__name__ != "__init__"):
        try:
            lines, first = inspect.getsourcelines(function)
        except (OSError, TypeError):
            continue
        for number, line in enumerate(lines, first):
            if written.match(line):
                return f"{_place(inspect.getsourcefile(function))}:{number}: {line.strip()}"
    return ""


def _place(file: str | None) -> str:
    """A file as records hold it, which others read: its name, and no path of the user's machine."""
    return Path(file or "?").name


def _is_users(file: str, own: Path | None) -> bool:
    if file.startswith("<") or not linecache.getline(file, 1):
        return False
    path = Path(file).resolve()
    if path.is_relative_to(PACKAGE):
        return path == own  # a contributor's, in its room
    if own is not None and path.is_relative_to(own.parent):
        return True
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not installed and not any(path.is_relative_to(library) for library in _LIBRARIES)
