"""What a page of the report is. One file in ``pages/`` per page, or kind of pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bibench.foundation.registry import Registry

if TYPE_CHECKING:
    from bibench.report.blocks import Block
    from bibench.report.material import Material

PAGES: Registry[Page] = Registry("page", "bibench.report.pages")


@dataclass(frozen=True)
class Document:
    """One HTML file: where it is in the site, its heading, one sentence on it, and its blocks."""

    path: str
    title: str
    lead: str
    blocks: Iterable[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """An entry of the report: a function from the material to documents, the first of which is in the navigation."""

    name: str
    label: str
    order: int
    href: str
    build: Callable[[Material], Iterable[Document]]


Build = Callable[["Material"], Iterable[Document]]


def page(name: str, *, label: str, order: int, href: str) -> Callable[[Build], Build]:
    """Decorator: enter a page; `label` and `href` are its entry in the navigation, `order` its place there."""

    def enter(build: Build) -> Build:
        PAGES.register(name, Page(name, label, order, href, build), where=build)
        return build

    return enter


def pages() -> list[Page]:
    """All pages, in the order of the navigation."""
    return sorted((PAGES[name] for name in PAGES), key=lambda p: (p.order, p.name))
