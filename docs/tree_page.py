"""The page on the tree: rooms from the ground up, library and benchmark apart, and a line for every file."""

from __future__ import annotations

import rooms

HEAD = """# The tree

The package is a house of rooms: each imports only from those below it, which `python docs/rooms.py` counts and the
tests hold. The library needs PyTorch and NumPy alone; the benchmark stands on it.
"""


def page(tree: str) -> str:
    """The rooms with their sentences, then `tree`, one line for every file."""
    library = [room for room in rooms.ROOMS if room in rooms.LIBRARY]
    benchmark = [room for room in rooms.ROOMS if room not in rooms.LIBRARY]
    lines = [HEAD]
    for title, part in (("The library", library), ("The benchmark", benchmark)):
        lines += [f"## {title}", "", "| room | |", "|---|---|"]
        lines += [f"| `{room}` | {rooms.sentence(room)} |" for room in part] + [""]
    return "\n".join([*lines, "## Every file", "", f"```text\n{tree}```", ""])
