"""Links of the pages to files of the repository beside docs/: they lead to their pages of the site, or to a copy."""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import Any

ROOT = Path(__file__).parents[1]
INCLUDED = {
    "CONTRIBUTING.md": "site/contributing",
    "CHANGELOG.md": "site/changelog",
    "examples/cpp/README.md": "site/cpp",
}
"""Files that are pages of the site, by inclusion."""
LINK = re.compile(r"\]\((?P<target>[^)\s#:]+)(?P<section>#[^)\s]*)?\)")


def inside(text: str, page: str, at: str) -> str:
    """`text` of a page with its links as the site has them.

    Args:
        text: Markdown.
        page: the document of the site on which it is shown, from docs/, without suffix.
        at: the file that it was written in, from the repository's root, to whose folder its links are relative.
    """

    def mended(link: re.Match[str]) -> str:
        target = normpath(f"{dirname(at)}/{link['target']}") if dirname(at) else normpath(link["target"])
        section = link["section"] or ""
        if target in INCLUDED:
            return f"]({relpath(INCLUDED[target], dirname(page) or '.')}.md{section})"
        if target.startswith("docs/"):
            return f"]({relpath(target.removeprefix('docs/'), dirname(page) or '.')}{section})"
        return f"]({relpath(target, 'docs/' + dirname(page))})"

    return LINK.sub(mended, text)


FOLDERS = ("operators", "tasks", "api")
"""Whose README is the list of the other pages; the site has them below it in its navigation."""
BELOW = "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def _source_read(app: Any, docname: str, source: list[str]) -> None:
    file = {page: name for name, page in INCLUDED.items()}.get(docname)
    if file:
        source[0] = (ROOT / file).read_text(encoding="utf-8")
        app.env.note_dependency(str(ROOT / file))
    if docname in {f"{folder}/README" for folder in FOLDERS}:
        source[0] += BELOW
    source[0] = inside(source[0], docname, file or f"docs/{docname}.md")


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry."""
    app.connect("source-read", _source_read, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
