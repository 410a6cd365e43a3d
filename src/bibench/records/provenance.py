"""Where a number comes from: versions, git state, machine, and fingerprints of the code behind it."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import inspect
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PACKAGE = Path(__file__).parents[1]

# Modules that can change without changing any number.
INCIDENTAL = {
    *(f"foundation.{name}" for name in ("errors", "registry", "choice", "files", "checksums")),
    *("data.layout", "data.location", "data.sums", "train.code", "train.stored"),
    *(f"records.{name}" for name in ("provenance", "record", "sealed")),
    "suite.store",
    "kernels.native",  # bit-identical to what it replaces, which tests hold it to
}


@cache
def versions() -> dict[str, str]:
    """Versions of BiBench and of the libraries that compute its numbers ("" where not installed)."""
    found = {"bibench": _version("bibench"), "python": platform.python_version()}
    for name in ("torch", "torchvision", "numpy", "lightning-fabric", "torchmetrics"):
        found[name.replace("-", "_")] = _version(name)
    return found


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def git_state() -> tuple[str, bool | None]:
    """Commit of the checkout that BiBench runs from, and whether it has changes; ("", None) if installed."""

    def git(*arguments: str) -> str:
        result = subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
        return result.stdout.strip()

    try:
        if git("ls-files", "--error-unmatch", str(PACKAGE / "__init__.py")):
            return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        pass
    return "", None


@cache
def cpu_model() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """How many logical processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Everything about software and hardware that a record carries."""
    import torch

    from bibench.kernels import native

    commit, dirty = git_state()
    device = torch.device(device)
    return {
        **versions(),
        "git_commit": commit,
        "git_dirty": dirty,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "kernels": native.isa(),
        "threads": torch.get_num_threads(),
    }


def code_fingerprint(*objects: Any) -> str:
    """A hash of the code of `objects` (classes, functions) and of what it imports from BiBench or from beside it.

    Comments, docstrings and layout do not count. A class counts with its bases.
    """
    files: set[Path] = set()
    for thing in objects:
        classes = [c for c in inspect.getmro(thing) if c is not object] if inspect.isclass(thing) else [thing]
        for part in classes:
            source = inspect.getsourcefile(part) if _is_ours(part) else None
            if source:
                files |= _closure(Path(source))
    digest = hashlib.sha256()
    for code in sorted(_normalized(_text(file)) for file in files):  # by content: where the files lie does not matter
        digest.update(code.encode())
    return digest.hexdigest()[:16]


def _is_ours(thing: Any) -> bool:
    top = thing.__module__.partition(".")[0]
    return top not in ("torch", "builtins", "typing", "abc")


def _closure(file: Path, seen: set[Path] | None = None) -> set[Path]:
    seen = set() if seen is None else seen
    if file in seen:
        return seen
    seen.add(file)
    for module in _imports(_text(file)):
        if module.startswith("bibench.") and module.removeprefix("bibench.") in INCIDENTAL:
            continue
        imported = _module_file(module, file)
        if imported is not None and imported.name != "__init__.py":
            _closure(imported, seen)
    return seen


def _text(file: Path) -> str:
    """The file as it is now. What follows from it is kept by its content: a file may be edited and loaded again."""
    return file.read_text(encoding="utf-8")


@cache
def _imports(text: str) -> tuple[str, ...]:
    tree = ast.parse(text)
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names += [node.module or "", *(f"{node.module}.{a.name}" if node.module else a.name for a in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return tuple(sorted(set(filter(None, names))))


def _module_file(module: str, importer: Path) -> Path | None:
    """The file of a module of BiBench, or of one that lies beside a stranger's file that imports it."""
    top, *rest = module.split(".")
    if top == "bibench":
        base = PACKAGE.joinpath(*rest)
    elif rest or importer.is_relative_to(PACKAGE):
        return None
    else:
        base = importer.parent / top
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _normalized(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)
