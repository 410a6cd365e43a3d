"""What a docstring owes its reader, as rules: each gives one line for everything that a text lacks.

A text speaks of a parameter in the entry of a section (``Args:``, ``Attributes:``), in the string below a field, or in
the sentences that name it in backticks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SECTIONS = ("Args", "Attributes", "Class attributes", "Raises", "Warns")
TENSOR = re.compile(r"\b(Tensor|ndarray|NDArray|Array|ArrayLike)\b")
NUMBER = re.compile(r"\b(int|float)\b")
DIMENSIONS = re.compile(r"\(([^\s()]+(?:, [^\s()]+)+,?|[^\s(),]+,)\)")
AXIS = re.compile(r"\.\.\.|\d+|[A-Z](_\w+)?(/\w+)?")
SHAPE = re.compile(r"\b(shapes?|scalars?|elementwise|vectors?)\b")

SOURCE = re.compile(
    r"\bEqs?\. ?\d|\b[Ss]ection \d|\bTable \d|\barXiv:\d|https?://|\b(et al\.|[A-Z]\w+), (19|20)\d\d\b"
    r"|\b[A-Z]\w*[A-Z]\w* (19|20)\d\d\b|\bBiBench's own\b|\btorch\.nn\.functional\.\w"
)
"""An equation, section or table of a paper; a paper; a function of PyTorch; or that there is none."""

COUNTED = r"\b(per|number of|how many|terms|elements|examples|pixels|channels|axis|axes|map|bytes|MB|bits)\b"
UNITS: Mapping[str, str] = {
    **dict.fromkeys(("seconds", "time", "latency", "duration", "ms"), r"\b(seconds|ms|s|hours|UTC)\b"),
    **dict.fromkeys(("bytes", "memory", "storage", "megabytes", "mb"), r"\b([Bb]ytes|[Bb]its|MB|MiB)\b"),
    **dict.fromkeys(("size", "sizes", "samples"), COUNTED),
    **dict.fromkeys(("rate", "share"), r"\b(per|share|percent|in \[0, 1\])\b"),
    **dict.fromkeys(("energy",), r"\b(joules?|mJ|J)\b"),
    **dict.fromkeys(("operations", "ops", "flops", "macs"), r"[Oo]peration|[Mm]ultiply-accumulate|FLOPs"),
    **dict.fromkeys(("bops", "bits"), r"\b[Bb]its?\b"),
    **dict.fromkeys(("omega",), r"\bradians\b"),
    **dict.fromkeys(("compression", "speedup"), r"\bratios?\b|/|\btimes\b"),
    **dict.fromkeys(
        ("accuracy", "score", "mean", "error", "low", "high", "difference", "margin"),
        r"\b(percent|percentage|units?|relative|share|ms|integers?|ratios?)\b|in \[(0|-1), 1\]",
    ),
}
"""By a part of a name: how a text tells the unit of what has it."""


@dataclass(frozen=True)
class Told:
    """A docstring, taken apart: its running text, and the entries of its sections by section and name."""

    body: str
    entries: Mapping[str, Mapping[str, str]]

    def of(self, name: str) -> str:
        """All that it says of `name`; empty where it does not speak of it."""
        own = [entries[name] for section, entries in self.entries.items() if name in entries and section != "Raises"]
        return " ".join([*own, *(said for said in _sentences(self.body) if name in names_in(said))])


def read(text: str, fields: Mapping[str, str] | None = None) -> Told:
    """Take a docstring apart; `fields` are the strings below those of a class, by name."""
    body: list[str] = []
    entries: dict[str, dict[str, str]] = {"": dict(fields or {})}
    section, names = "", ()
    for line in text.splitlines():
        header = re.fullmatch(r"(\w[\w ]*):", line)
        entry = re.match(r" {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*): ?(.*)", line)
        if line.strip() and not line.startswith(" "):
            section, names = header[1] if header and header[1] in SECTIONS else "", ()
        if section and entry:
            names = tuple(name.strip("*") for name in entry[1].split(", "))
            entries.setdefault(section, {}).update(dict.fromkeys(names, entry[2]))
        elif section and names:
            entries[section].update({name: f"{entries[section][name]} {line.strip()}" for name in names})
        elif not section:
            body.append(line)
    return Told("\n".join(body), entries)


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[^.]\.)(?<!Eq\.)\s+(?=[A-Z`(])|\n\n|;\s", text)


def names_in(text: str) -> set[str]:
    """What a text names in backticks, each alone (`low`) or as it is given (``low=2``)."""
    code = re.findall(r"`+([^`]+)`+", text)
    return {match[1] for part in code if (match := re.fullmatch(r"\*{0,2}(\w+)(=.*)?", part))}


def unnamed(told: Told, parameters: Mapping[str, str]) -> Iterator[str]:
    """Every parameter is spoken of. (Parameters come by name, with their annotations.)"""
    for name in parameters:
        if not told.of(name).strip():
            yield f"parameter {name} is not described"


def shapeless(told: Told, parameters: Mapping[str, str], returned: str) -> Iterator[str]:
    """Every tensor has its shape told, that of the result in the running text or as that of a parameter."""
    for name, annotation in parameters.items():
        if TENSOR.search(plain(annotation)) and told.of(name).strip() and not has_shape(told.of(name)):
            yield f"tensor {name} has no shape"
    entries = " ".join(text for entries in told.entries.values() for text in entries.values())
    if TENSOR.search(plain(returned)) and not (has_shape(told.body) or re.search(r"\bresult has\b", entries)):
        yield "the tensor returned has no shape"


def unitless(told: Told, parameters: Mapping[str, str], name: str, returned: str) -> Iterator[str]:
    """Every number that is called by a quantity has its unit told; so has what is returned, by the function's name."""
    for parameter, annotation in parameters.items():
        said = told.of(parameter)
        if NUMBER.search(plain(annotation)) and said.strip() and not has_unit(parameter, said):
            yield f"{parameter} has no unit"
    if NUMBER.search(plain(returned)) and not has_unit(name, told.body):
        yield "what is returned has no unit"


def unraised(told: Told, raised: Mapping[str, set[str]]) -> Iterator[str]:
    """Every error that can be raised, given with the names of its base classes, is in the section on errors."""
    for name, bases in raised.items():
        if not ({name} | bases) & set(told.entries.get("Raises", ())):
            yield f"raises {name}, but has no entry in Raises for it"


def plain(annotation: str) -> str:
    """An annotation without the types of functions in it, whose arguments are not values of one's own."""
    return re.sub(r"\bCallable\[.*", "", annotation)


def has_shape(text: str) -> bool:
    """Whether a text tells a shape: in words, or as (B, C_i, H, W)."""
    written = (re.split(r",\s*", axes.rstrip(",")) for axes in DIMENSIONS.findall(text))
    return bool(SHAPE.search(text)) or any(AXIS.fullmatch(axes[0]) or AXIS.fullmatch(axes[-1]) for axes in written)


def has_unit(name: str, text: str) -> bool:
    """Whether a text tells the unit of what is called `name`; True of names that say no quantity."""
    asked = [UNITS[part] for part in name.lower().split("_") if part in UNITS]
    return not asked or any(re.search(unit, text) for unit in asked)


def has_source(text: str) -> bool:
    """Whether a text says where something is from."""
    return bool(SOURCE.search(text))
