"""What a device tells during a job: the fields of each event that are read here, with their types.

A device may run another version of the bundle, or print something that only looks like an event.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from bibench.errors import BiBenchError
from bibench.typed_json import conform

FIX = "is the bundle there that of this version, and does nothing else print on its standard output?"


class _Event(TypedDict):
    event: str


class _Machine(TypedDict, total=False):
    board: str
    cpu: str
    cpu_count: int | None
    platform: str
    python: str
    numpy: str


class _Place(TypedDict):
    contender: str
    threads: int
    batch: int


class _At(_Place):
    doing: str


class _Good(_Place):
    status: Literal["ok"]
    samples: list[float]
    flags: dict[str, str]


class _Bad(_Place):
    status: Literal["failed", "unsupported"]
    reason: str


class _Problem(_Place):
    step: str
    reason: str


class _Memory(_Place):
    model: int
    process: int


class _Profile(_Place):
    rows: list[dict[str, str | float | None]]


class _Session(TypedDict):
    threads: int
    batch: int
    flags: NotRequired[dict[str, str]]
    advice: NotRequired[list[str]]


EVENTS: dict[str, type] = {
    "machine": _Machine,
    "at": _At,
    "result": _Bad,
    "problem": _Problem,
    "memory": _Memory,
    "profile": _Profile,
    "session": _Session,
}
"""By name; others are not read."""


def checked(event: dict[str, Any], device: str) -> dict[str, Any]:
    """`event`, if all that is read of it has the right types; a `BiBenchError` naming the field else."""
    name = conform(event, _Event, f"{device}: an event", FIX, BiBenchError)["event"]
    good = name == "result" and event.get("status") == "ok"
    kind = _Good if good else EVENTS.get(name, dict)
    conform(event, kind, f"{device}: event {name!r}", FIX, BiBenchError)
    if good and not (event["samples"] and min(event["samples"]) > 0):
        raise BiBenchError(f"{device}: event {name!r}: samples must be times above 0, at least one; {FIX}")
    return event
