"""What a device and a transport are, and their catalogues."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from bibench.foundation.errors import BiBenchError
from bibench.foundation.registry import Registry

DEVICES: Registry[Device] = Registry("device", "bibench.deploy.devices")
TRANSPORTS: Registry[type[Transport]] = Registry("transport", "bibench.deploy.devices")


class Connection(BiBenchError):
    """A device that cannot be reached, or no longer."""


@dataclass(frozen=True)
class Device:
    """One row: a device's parts, and how it is reached if it is.

    Attributes:
        clusters: (how many, which core, GHz), the fastest first.
        transport: name of how it is reached; empty for one that is only known.
        options: of the transport.
    """

    name: str
    soc: str = ""
    clusters: tuple[tuple[int, str, float], ...] = ()
    isa: str = ""
    note: str = ""
    transport: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cores(self) -> int:
        """How many cores it has."""
        return sum(count for count, _, _ in self.clusters)

    @property
    def clock_ghz(self) -> float | None:
        """The clock of its fastest core."""
        return max((clock for _, _, clock in self.clusters), default=None)

    def describe_cores(self) -> str:
        """``4 × Cortex-A73 2.36 GHz + 4 × Cortex-A53 1.8 GHz``."""
        return " + ".join(f"{count} × {core} {clock:g} GHz" for count, core, clock in self.clusters)

    def open(self) -> Transport:
        """Its transport."""
        if not self.transport:
            raise BiBenchError(
                f"device {self.name!r} is known, but not how it is reached; write a row with its transport "
                f"({', '.join(TRANSPORTS)}) into a file and name that with --device-files (see docs/latency.md)"
            )
        return TRANSPORTS[self.transport](self)


class Transport(ABC):
    """A way to have a job done on a device.

    Class attributes state its options with their types; what a row gives is checked against them.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, type]] = {}
    required: ClassVar[tuple[str, ...]] = ()

    def __init__(self, device: Device) -> None:
        self.device = device

    @abstractmethod
    def run(self, job: Mapping[str, Any], files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
        """Yield the events of `job` (see `bibench.deploy.bundle.job`) as they happen, and leave nothing behind.

        Args:
            job: names files by keys of `files`.
            files: those that the job needs, {name relative to its folder: file on this machine}.

        Raises `Connection` when the device is out of reach, also in the midst of a job.
        """

    def option(self, name: str, default: Any = None) -> Any:
        """An option of the row, or `default`."""
        return self.device.options.get(name, default)


def transport(name: str) -> Callable[[type[Transport]], type[Transport]]:
    """Decorator: enter a transport into the catalogue."""

    def enter(kind: type[Transport]) -> type[Transport]:
        kind.name = name
        return TRANSPORTS.register(name, kind)

    return enter
