"""Write examples/tutorial.ipynb from docs/tutorial.md, cell by cell.

python docs/notebook.py            write it
python docs/notebook.py --check    exit 1 if it is not what would be written
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "tutorial.md"
NOTEBOOK = PAGE.parents[1] / "examples" / "tutorial.ipynb"
BLOCK = re.compile(r"^```(python|sh|text)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)


def cells(page: str) -> list[tuple[str, str]]:
    """The page as (kind, text): ``markdown``, ``python``, ``sh``, and ``text`` for what a cell prints."""
    parts = BLOCK.split(page)
    found = [("markdown", parts[0].strip())]
    for kind, text, after in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found += [(kind, text.rstrip("\n")), ("markdown", after.strip())]
    return [(kind, text) for kind, text in found if text]


def notebook(page: str) -> str:
    """The page as a notebook; without outputs, which are the reader's own."""
    made = [cell(number, kind, text) for number, (kind, text) in enumerate(cells(page)) if kind != "text"]
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def cell(number: int, kind: str, text: str) -> dict[str, object]:
    """One cell of a notebook, in the format 4.5. Links lead from examples/."""
    if kind == "markdown":
        text = re.sub(r"\]\((\w+\.md)\)", r"](../docs/\1)", text)
        return {"cell_type": "markdown", "id": f"cell{number}", "metadata": {}, "source": text.splitlines(True)}
    source = "".join(f"!{line}\n" for line in text.splitlines()).rstrip("\n") if kind == "sh" else text
    code = {"execution_count": None, "metadata": {}, "outputs": [], "source": source.splitlines(True)}
    return {"cell_type": "code", "id": f"cell{number}", **code}


if __name__ == "__main__":
    text = notebook(PAGE.read_text(encoding="utf-8"))
    if "--check" in sys.argv[1:]:
        sys.exit(text != NOTEBOOK.read_text(encoding="utf-8"))
    NOTEBOOK.write_text(text, encoding="utf-8")
