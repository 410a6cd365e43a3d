"""Options that have another name since the last version: the old spelling works on, with a word on standard error.

`OLD` is the one place where they are named; an entry goes one version after it came.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from bibench.cli.output import TOLD


def _always(value: str) -> bool:
    return True


class Now(NamedTuple):
    """What an old option is called now.

    Attributes:
        name: the option, ``--name VALUE`` for what was a flag, or in capitals the argument that its value is.
        of: the values that are meant; others still belong to the option as it is.
    """

    name: str
    of: Callable[[str], bool] = _always


def _a_folder(value: str) -> bool:
    return not value.endswith(".jsonl")


_TRAINS = {"--device": Now("--accelerator")}
_LATENCY = {
    "--devices": Now("--device-files"),
    "-o": Now("--runs", _a_folder),
    "--output": Now("--runs", _a_folder),
}

OLD: dict[str, dict[str, Now]] = {
    "plan": {"--runs": Now("RUNS")},
    "status": {"--runs": Now("RUNS")},
    "run": _TRAINS,
    "score": {"--plot": Now("--output")},
    "rank": {"--track": Now("--tracks")},
    "verify": {name: Now(name.replace("metric", "task-metric")) for name in ("--metric", "--no-metric")},
    "measure training-cost": _TRAINS | {"--seed": Now("--random-seed")},
    "measure corruptions": _TRAINS | {"--again": Now("--rerun all"), "--corruption-seed": Now("--random-seed")},
    "measure structures": {"--seeds": Now("--draws")},
    "latency measure": _LATENCY
    | {
        "--batch": Now("--batch-sizes"),
        "--shape": Now("--input-shapes"),
        "--program": Now("--programs"),
        "--argument": Now("--program-arguments"),
        "--name": Now("--device-name"),
        "--precision": Now("--tolerance"),
    },
    "latency import": _LATENCY,
}
"""Old spellings by verb."""
_FLAGS = {"--metric", "--no-metric", "--again"}
"""Of these those that take no value."""


def renamed(verb: str, arguments: Sequence[str], with_value: Collection[str]) -> list[str]:
    """The arguments of `verb` in today's spelling.

    Args:
        with_value: the options of the verb that take a value, which is no option whatever it looks like.
    """
    old = OLD.get(verb, {})
    found: list[str] = []
    moved: list[str] = []
    for option, value, written in _read(arguments, {*with_value, *old} - _FLAGS):
        now = old.get(option)
        if now is None or not now.of(value or ""):
            found += written
            continue
        _tell(option, now)
        if now.name.isupper():
            moved += [] if value is None else [value]
        else:
            found += _in_words(now, value, "=" in written[0])
    end = found.index("--") if "--" in found else len(found)
    return [*found[:end], *moved, *found[end:]]


def _in_words(now: Now, value: str | None, joined: bool) -> list[str]:
    if value is None:
        return now.name.split(" ")
    return [f"{now.name}={value}"] if joined else [now.name, value]


def _read(arguments: Sequence[str], with_value: Collection[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Each option with its value, if it has one, and both as they are written; arguments are options of no name."""
    at = 0
    while at < len(arguments):
        text = arguments[at]
        if text == "--":
            yield "", None, list(arguments[at:])
            return
        option, equals, value = text.partition("=")
        if text.startswith("-o") and text[2:]:
            yield "-o", text[2:], [text]
        elif equals and option.startswith("--"):
            yield option, value, [text]
        elif text in with_value and at + 1 < len(arguments):
            at += 1
            yield text, arguments[at], [text, arguments[at]]
        else:
            yield (text if text.startswith("-") else ""), None, [text]
        at += 1


def _tell(option: str, now: Now) -> None:
    what = f"the argument {now.name}" if now.name.isupper() else now.name
    text = f"note: {option} is now {what}; the old spelling works in this version alone"
    if text not in TOLD:
        TOLD.add(text)
        sys.stderr.write(f"{text}\n")
