"""The page on the tree: rooms from the ground up, library and benchmark apart, and a line for every file."""

from __future__ import annotations

import ast
from pathlib import Path

import rooms

HEAD = """# The tree

The package is a house of rooms: each imports only from those below it, which `python docs/rooms.py` counts and the
tests hold. The library needs PyTorch and NumPy alone; the benchmark stands on it.
"""
OTHER_FOLDERS = {
    "examples": "an operator of your own, the tutorial as a notebook, a program in C++",
    "docs": "pages on operators, tasks, data and records; generate.py writes those that come from the classes",
    "tests": "the tests, in the tree of the sources",
    "benchmarks": "measurements of speed beside a peer: python -m benchmarks",
}


def page() -> str:
    """The rooms with their sentences, then one line for every file."""
    library = [room for room in rooms.ROOMS if room in rooms.LIBRARY]
    benchmark = [room for room in rooms.ROOMS if room not in rooms.LIBRARY]
    lines = [HEAD]
    for title, part in (("The library", library), ("The benchmark", benchmark)):
        lines += [f"## {title}", "", "| room | |", "|---|---|"]
        lines += [f"| `{room}` | {rooms.sentence(room)} |" for room in part] + [""]
    return "\n".join([*lines, "## Every file", "", f"```text\n{tree()}```", ""])


def tree() -> str:
    """One line per source file, from its docstring."""
    lines = []
    for relative in sorted((p.relative_to(rooms.PACKAGE) for p in rooms.PACKAGE.rglob("*.py")), key=_order):
        path = rooms.PACKAGE / relative
        if path.name == "__init__.py" and len(relative.parts) > 1:
            lines.append(_line(f"{relative.parent.as_posix()}/", path, 2))
        else:
            lines.append(_line(path.name, path, 2 * len(relative.parts)))
    lines += [f"{name + '/':<34}{text}" for name, text in OTHER_FOLDERS.items()]
    return "\n".join(["src/bibench/", *lines, ""])


def _order(relative: Path) -> tuple[bool, tuple[str, ...]]:
    """Files of the package itself first, then each room with its files."""
    return len(relative.parts) > 1, relative.parts


def _line(name: str, path: Path, indent: int) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    summary = docstring.partition("\n\n")[0].replace("\n", " ").replace("``", "").rstrip(".")
    return f"{' ' * indent + name:<34}{summary}"
