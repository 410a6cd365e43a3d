"""Write the reference pages from the classes themselves.

python docs/generate.py            write docs/operators/, docs/tasks/, docs/api/, docs/tree.md, README.md's example
python docs/generate.py --check    exit 1 if a page is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import faces
import operator_pages
import task_pages
import tree_page

DOCS = Path(__file__).parent
ROOT = DOCS.parent


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    made = {ROOT / "README.md": readme(), DOCS / "tree.md": tree_page.page(), **faces.pages()}
    made |= {DOCS / "operators" / name: text for name, text in operator_pages.pages().items()}
    return made | {DOCS / "tasks" / name: text for name, text in task_pages.pages().items()}


def readme() -> str:
    """README.md with its generated part renewed: the example operator."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = (ROOT / "examples" / "my_operator.py").read_text(encoding="utf-8")
    start, end = "<!-- example -->\n", "<!-- /example -->"
    return f"{text[: text.index(start)]}{start}```python\n{example}```\n{text[text.index(end) :]}"


def main() -> None:
    """Write or check."""
    stale = []
    for path, text in pages().items():
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(ROOT))
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv and stale:
        sys.exit(f"out of date: {', '.join(map(str, stale))}; run: python docs/generate.py")


if __name__ == "__main__":
    main()
