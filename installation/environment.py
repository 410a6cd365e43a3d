"""Set up BiBench in the Python that runs this: say what will be downloaded, install it, and leave alone what is there.

python installation/environment.py [EXTRA,EXTRA]     extras of pyproject.toml; bench unless named

It needs nothing but Python and pip. What was installed is remembered by a checksum of all that is installed from here,
so that a second call is over at once, and one after a change installs the new state.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
STAMP = Path(sys.prefix) / "bibench-installed"
SOURCES = ("pyproject.toml", "CMakeLists.txt", "installation", "csrc", "src")


def main(extras: str = "bench") -> None:
    """Install, unless all is there; what pip says is shown, and its exit code is passed on."""
    state = state_of(ROOT, extras)
    if STAMP.is_file() and STAMP.read_text(encoding="utf-8") == state and find_spec("bibench"):
        return
    STAMP.unlink(missing_ok=True)
    print(f"Setting up BiBench in {sys.prefix}: looking up what is missing ...", flush=True)
    torch = [] if find_spec("torch") else cpu_build(torch_versions())
    wanted = requirements(ROOT, extras) + torch
    print(announcement(missing(wanted), sys.prefix), flush=True)
    for words in (wanted, [f"{ROOT}[{extras}]"]):
        done = subprocess.run([*PIP, "install", "--progress-bar", "on", *words], check=False)
        if done.returncode:
            sys.exit(done.returncode)
    STAMP.write_text(state, encoding="utf-8")


def state_of(root: Path, extras: str) -> str:
    """A checksum over all that is installed from `root`, by names and contents."""
    digest = hashlib.sha256(f"{extras}\n{sys.version}\n".encode())
    for file in _files(root):
        digest.update(f"{file.relative_to(root).as_posix()}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for name in SOURCES:
        place = root / name
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (file for file in found if file.is_file() and "__pycache__" not in file.parts)


def requirements(root: Path, extras: str) -> list[str]:
    """What BiBench requires of others, those of the extras with them."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    return [*project["dependencies"], *(line for extra in extras.split(",") for line in optional[extra])]


def torch_versions() -> list[str]:
    """Versions of torch that the index offers, newest first."""
    done = subprocess.run([*PIP, "index", "versions", "torch"], capture_output=True, text=True, check=False)
    found = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    return [] if found is None else found[1].split(", ")


def cpu_build(versions: list[str]) -> list[str]:
    """Where there is no GPU, the newest build of torch for the CPU, if there is one: a fraction of the other's size."""
    builds = [version for version in versions if version.endswith("+cpu")]
    return [] if shutil.which("nvidia-smi") or not builds else [f"torch=={builds[0]}"]


def missing(wanted: list[str]) -> list[tuple[str, int | None]]:
    """What pip would download for `wanted`, with sizes in bytes where the index tells them."""
    words = ["install", "--quiet", "--dry-run", "--report", "-", *wanted]
    done = subprocess.run([*PIP, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        return []  # pip will say why when it installs
    items: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    with ThreadPoolExecutor(16) as pool:
        sizes = list(pool.map(size, [item["download_info"]["url"] for item in items]))
    return sorted(zip([item["metadata"]["name"] for item in items], sizes), key=lambda pair: -(pair[1] or 0))


def size(url: str) -> int | None:
    """Bytes behind an address, without fetching them; None where nobody says."""
    parts = urlsplit(url)
    try:
        if parts.scheme == "file":
            return Path(url2pathname(parts.path)).stat().st_size
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError, ValueError):
        return None


def announcement(found: list[tuple[str, int | None]], place: str) -> str:
    """What is about to be downloaded, how much, and the three largest, in one line."""
    if not found:
        return "Nothing has to be downloaded but what building BiBench itself needs."
    known = [(name, bytes_) for name, bytes_ in found if bytes_]
    total = f"about {_amount(sum(bytes_ for _, bytes_ in known))}" if known else "of unknown size"
    packages = f"{len(found)} packages" if len(found) > 1 else "1 package"
    largest = ", ".join(f"{name} {_amount(bytes_)}" for name, bytes_ in known[:3])
    return f"Downloading {packages}, {total}{f' ({largest})' if largest else ''}, into {place}"


def _amount(bytes_: int) -> str:
    return f"{bytes_ / 1e9:.1f} GB" if bytes_ >= 1e9 else f"{max(1, round(bytes_ / 1e6))} MB"


if __name__ == "__main__":
    main(*sys.argv[1:])
