"""What a track's page has beyond its scores: one file in ``sections/`` per track."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bibench.foundation.registry import Registry

if TYPE_CHECKING:
    from bibench.report.blocks import Block
    from bibench.report.material import Material

Section = Callable[["Material"], Iterable["Block"]]

SECTIONS: Registry[Section] = Registry("section", "bibench.report.sections")


def section(track: str) -> Callable[[Section], Section]:
    """Decorator: enter a function from the material to the blocks that follow the scores of `track`."""

    def enter(build: Section) -> Section:
        SECTIONS.register(track, build)
        return build

    return enter
