"""Why a build of the compiled core failed, in one line, and how that gets into the package that is built without it."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from pathlib import Path

NOTE = "bibench/_core_absent.txt"
NO_COMPILER = (
    "no C++ compiler was found: install one (Debian and Ubuntu: apt install g++; Fedora: dnf install gcc-c++; "
    "macOS: xcode-select --install; Windows: Build Tools for Visual Studio)"
)
REASONS = (
    (r"No CMAKE_CXX_COMPILER could be found", NO_COMPILER),
    (r"CMAKE_CXX_COMPILER:.*\n.*\n.*is not a full path", NO_COMPILER),
    (r"is not able to compile a simple test program", "the C++ compiler does not work, not even for an empty program"),
    (
        r"Could not find CMake|CMakeNotFound|CMake 3\.\d+ or higher is required",
        "CMake 3.21 or newer was not found: install it",
    ),
    (
        r"does not know C\+\+20|dialect \"CXX20\"",
        "the C++ compiler does not know C++20 (GCC 11, Clang 14 or Visual Studio 2022 do): install a newer one",
    ),
    (r"Could NOT find Threads", "the system's threads library was not found: install the C library's headers"),
    (r"[Nn]o space left on device", "the disk was full while it was compiled: make room"),
    (r"Killed|internal compiler error", "the C++ compiler was stopped in the middle, as for lack of memory: make room"),
)
"""What the output of a failed build shows, as (pattern, what is wrong and what to do)."""


def reason_of(output: str) -> str:
    """What is wrong and what to do, in one line, from all that a failed build printed."""
    for pattern, reason in REASONS:
        if re.search(pattern, output):
            return reason
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)] or lines[-1:]
    return f"building it failed ({told[0][:200]}): pip install -v tells all of it" if told else "building it failed"


def add(wheel: Path, name: str, text: str) -> None:
    """Add a file to a wheel and to its list of files, whose lines are name, hash and size."""
    with zipfile.ZipFile(wheel) as archive:
        files = {entry: archive.read(entry) for entry in archive.infolist()}
    content = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    part = wheel.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        for entry, old in files.items():
            line = f"{name},sha256={digest},{len(content)}\n".encode() if entry.filename.endswith("/RECORD") else b""
            archive.writestr(entry, line + old)
    part.replace(wheel)
