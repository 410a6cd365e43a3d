"""Formulas of the site as MathML, which browsers draw themselves: nothing is fetched, and no script runs."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

GITHUB_INLINE = re.compile(r"\$`([^`\n]+)`\$")
FENCED = re.compile(r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)\s*?$", re.DOTALL | re.MULTILINE)


def plain_dollars(text: str) -> str:
    """GitHub's other form of inline formulas, a dollar and a backtick, as dollars alone; code blocks stay."""
    parts, end = [], 0
    for block in FENCED.finditer(text):
        parts += [GITHUB_INLINE.sub(r"$\1$", text[end : block.start()]), block.group()]
        end = block.end()
    return "".join([*parts, GITHUB_INLINE.sub(r"$\1$", text[end:])])


def inline(writer: Any, node: nodes.math) -> None:
    """A formula within a line."""
    writer.body.append(convert(node.astext()))
    raise nodes.SkipNode


def display(writer: Any, node: nodes.math_block) -> None:
    """A formula of its own, which scrolls where the screen is narrower."""
    writer.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _source_read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = plain_dollars(source[0])


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    app.connect("source-read", _source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
