"""Formulas of the site as MathML, which browsers draw themselves: nothing is fetched, and no script runs."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

GITHUB_INLINE = re.compile(r"\$`([^`\n]+)`\$")
BAR = re.compile(r"<mo((?: [^>]*)?>&#x0007C;</mo>)")
FENCED = re.compile(r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)\s*?$", re.DOTALL | re.MULTILINE)


def plain_dollars(text: str) -> str:
    """GitHub's other form of inline formulas, a dollar and a backtick, as dollars alone; code blocks stay."""
    parts, end = [], 0
    for block in FENCED.finditer(text):
        parts += [GITHUB_INLINE.sub(r"$\1$", text[end : block.start()]), block.group()]
        end = block.end()
    return "".join([*parts, GITHUB_INLINE.sub(r"$\1$", text[end:])])


def mathml(latex: str, display: str) -> str:
    """A formula, whose bars stand close to what is between them."""
    return BAR.sub(r'<mo lspace="0" rspace="0"\1', convert(latex, display=display))


def inline(writer: Any, node: nodes.math) -> None:
    """A formula within a line."""
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def display(writer: Any, node: nodes.math_block) -> None:
    """A formula of its own, which scrolls where the screen is narrower."""
    writer.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def _source_read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = plain_dollars(source[0])


def setup(app: Any) -> dict[str, Any]:
    """Sphinx's entry."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    app.connect("source-read", _source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
