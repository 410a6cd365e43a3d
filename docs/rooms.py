"""Rooms and arrows: the packages of `bibench` and who imports whom, counted from the imports of all files.

python docs/rooms.py          the rooms with their sentences, bottom to top, the counts, and every arrow that runs back
python docs/rooms.py --all    every arrow, with the number of imports behind it
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "bibench"

LIBRARY = ("foundation", "kernels", "operators", "nn", "models")
"""Torch and numpy alone; the benchmark is the rest."""
ROOMS = (
    *("foundation", "kernels", "operators", "records", "nn", "data", "models", "comparators", "complexity"),
    *("recipes", "tasks", "suite", "train", "suites", "published", "contracts", "execution", "tracks", "statistics"),
    *("deploy", "measure", "recommend", "report", "cli"),
)
"""Bottom to top: each imports only from those before it."""

Arrow = tuple[str, str]


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Every module of `bibench` that a file imports, wherever in it, with the line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "bibench":
            yield from ((f"bibench.{name.name}", node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bibench."):
            yield str(node.module), node.lineno
        elif isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names if name.name.startswith("bibench."))


def room_of(module: str) -> str:
    """The room of a module, or "" of what is in none: the package itself and its compiled part."""
    room = module.split(".")[1]
    return room if (PACKAGE / room).is_dir() else ""


def arrows() -> dict[Arrow, list[str]]:
    """Room to room, with the places of the imports."""
    found: dict[Arrow, list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        own = file.relative_to(PACKAGE).parts[0]
        if own.endswith(".py"):
            continue
        for module, line in imports(file):
            other = room_of(module)
            if other and other != own:
                found.setdefault((own, other), []).append(f"{file.relative_to(PACKAGE)}:{line} {module}")
    return found


def back(found: dict[Arrow, list[str]]) -> dict[Arrow, list[str]]:
    """The arrows that run back up."""
    level = {room: number for number, room in enumerate(ROOMS)}
    return {arrow: places for arrow, places in found.items() if level[arrow[1]] > level[arrow[0]]}


def circles() -> list[list[str]]:
    """Files that import each other, wherever the imports stand (but for those of type checkers alone)."""
    names = {_module(file): file for file in PACKAGE.rglob("*.py")}
    uses = {name: set(_used(file, names)) - {name} for name, file in names.items()}
    return [sorted(group) for group in _connected(uses) if len(group) > 1]


def _module(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _used(file: Path, names: dict[str, Path]) -> Iterator[str]:
    """The modules among `names` that a file imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    checkers = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    left_out = {id(inner) for node in checkers for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bibench"):
            parts = [f"{node.module}.{name.name}" for name in node.names]
            yield from (part if part in names else str(node.module) for part in parts)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in names)


def _connected(uses: dict[str, set[str]]) -> list[set[str]]:
    """Strongly connected groups (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in uses.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            groups.append(set(stack[at:]))
            del stack[at:]

    for node in uses:
        if node not in index:
            visit(node)
    return groups


def sentence(room: str) -> str:
    """What a room is, from its `__init__`."""
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0]


def main() -> None:
    """Print the house."""
    found = arrows()
    for room in ROOMS:
        print(f"{room:<14}{'library  ' if room in LIBRARY else 'benchmark'}  {sentence(room)}")
    print(f"\n{len(ROOMS)} rooms, {len(found)} arrows, {len(back(found))} back, {len(circles())} circles of files")
    shown = found if "--all" in sys.argv else back(found)
    counts = Counter({arrow: len(places) for arrow, places in shown.items()})
    for (one, other), count in sorted(counts.items()):
        print(f"  {one} -> {other}  {count}")
        if "--all" not in sys.argv:
            print("".join(f"      {place}\n" for place in shown[one, other]), end="")
    for group in circles():
        print(f"  circle: {', '.join(group)}")


if __name__ == "__main__":
    main()
