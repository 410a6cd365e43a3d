"""How cells are run, as opposed to what they are, and who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bibench.suite.cell import Cell

if TYPE_CHECKING:
    pass


CodeOf = Callable[[Cell], dict[str, str]]


@dataclass(frozen=True)
class Settings:
    """How cells are run, as opposed to what they are: nothing here belongs to a cell's identity.

    Attributes:
        marks: what breaks contracts, for the workers: its kind, its name, and the flags that its records carry.
    """

    runs: Path
    data_root: Path | None = None
    download: bool = False
    device: str = "auto"
    threads: int | None = None
    data_workers: int = 0
    checkpoint_seconds: float = 120.0
    tensorboard: bool = False
    discard_stale: bool = False
    load: tuple[str, ...] = ()
    marks: tuple[tuple[str, str, tuple[str, ...]], ...] = ()


@dataclass
class Hooks:
    """What the caller of a training listens to and asks for."""

    report: Callable[[dict[str, Any]], None] = lambda event: None
    stop: Callable[[], bool] = lambda: False
