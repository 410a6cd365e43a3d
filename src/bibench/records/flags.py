"""Flags of records that put a number in doubt, and how tables, pages and exported files show them.

``breaks operator some_contract`` stands in every record that was made, with --force, of an operator, model or task that
breaks a contract. ``stale`` is in no file: records get it where a run folder is read whose cell was made by other code.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bibench.records.record import Record

BREAKS, STALE = "breaks ", "stale"
BROKEN_SIGN, STALE_SIGN = "†", "‡"
RETRAIN = "the same bibench run with --rerun stale trains again"


def broken(kind: str, contract: str) -> str:
    """The flag of records of something of this `kind` that breaks a contract."""
    return f"{BREAKS}{kind} {contract}"


def of(record: Record) -> list[str]:
    """The flags of a record."""
    return [flag for flag in record.flags.split(",") if flag]


def joined(*flags: str) -> str:
    """Flags as a record has them, each once; each of `flags` may be several."""
    return ",".join(dict.fromkeys(flag for part in flags for flag in part.split(",") if flag))


def others_than_marked(flags: str) -> str:
    """The flags, for a table, that `Marks` has no sign for."""
    each = (flag.strip() for flag in flags.split(","))
    return ", ".join(f for f in each if f and f.partition(" ")[0] not in (STALE, BREAKS.strip()))


def contracts_broken(records: Iterable[Record]) -> str:
    """``breaks the operator contract 'values are …'`` of what records are flagged with, or an empty string."""
    flags = dict.fromkeys(f for text in dict.fromkeys(r.flags for r in records) for f in text.split(","))
    found: dict[str, list[str]] = defaultdict(list)
    for kind, _, contract in (f.removeprefix(BREAKS).partition(" ") for f in flags if f.startswith(BREAKS)):
        found[kind].append(repr(contract.replace("_", " ")))
    parts = [f"the {kind} contract{'s' * (len(names) > 1)} {', '.join(names)}" for kind, names in found.items()]
    return f"breaks {' and '.join(parts)}" if parts else ""


def stale_cells(records: Iterable[Record]) -> int:
    """How many cells of the records are stale."""
    return len({r.cell for r in records if r.flags and STALE in of(r)})


def doubts(records: Sequence[Record]) -> str:
    """What puts numbers made of these records in doubt, or an empty string."""
    flagged = [r for r in records if r.flags]
    stale = stale_cells(flagged)
    told = f"{stale} stale cell{'s' * (stale > 1)}" if stale else ""
    return "; ".join(filter(None, (contracts_broken(flagged), told)))


def outdated(records: Iterable[Record], cells: Collection[str]) -> list[Record]:
    """The records, those of `cells` (as `Record.cell` names them) flagged as stale."""
    return [replace(r, flags=joined(r.flags, STALE)) if r.cell in cells else r for r in records]


class Marks:
    """The signs beside the names of operators whose records are flagged, and the footnotes that explain them.

    Args:
        records: all that a command or a report is about.
        title: how an operator is also called, as on pages.
    """

    def __init__(self, records: Iterable[Record] = (), title: Callable[[str], str] = str) -> None:
        flagged: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if record.flags:
                flagged[record.operator].append(record)
        self._notes: dict[str, list[str]] = {}
        self._stale = {operator: count for operator, own in flagged.items() if (count := stale_cells(own))}
        for operator, own in flagged.items():
            if told := _footnotes(operator, own):
                self._notes[operator] = self._notes[title(operator)] = told
        shown = "|".join(map(re.escape, sorted(self._notes, key=len, reverse=True)))
        self._named = re.compile(rf"({shown})(?=$| \()") if shown else None

    def __bool__(self) -> bool:
        return self._named is not None

    def name(self, text: str) -> str:
        """`text` with the operator's signs behind its name, if it is one (or one and more in parentheses)."""
        found = self._named.match(text) if self._named else None
        if found is None:
            return text
        signs = "".join(note[0] for note in self._notes[found[0]])
        return f"{found[0]} {signs}{text[found.end() :]}"

    def row(self, cells: Sequence[Any]) -> list[Any]:
        """The cells of a table's row, or its headings, with signs."""
        return [self.name(cell) if isinstance(cell, str) else cell for cell in cells]

    def footnotes(self, cells: Iterable[Any] | None = None) -> list[str]:
        """A sentence for each sign of the operators that `cells` name (of all without them), and what helps."""
        if not self:
            return []
        assert self._named is not None
        found = map(self._named.match, (c for c in cells if isinstance(c, str))) if cells is not None else ()
        named = self._notes if cells is None else {match[0] for match in found if match}
        return list(dict.fromkeys(note for name in self._notes if name in named for note in self._notes[name]))

    @property
    def summary(self) -> list[str]:
        """What stands once above everything: each operator that breaks contracts, and all stale cells in a sentence."""
        found = [note for note in self.footnotes() if note.startswith(BROKEN_SIGN)]
        if self._stale:
            counted = ", ".join(f"{operator} {count}" for operator, count in self._stale.items())
            found.append(f"{STALE_SIGN} stale cells, trained by other code than today's: {counted}; {RETRAIN}")
        return found

    def data(self, value: Any) -> Any:
        """Plain data in which every object of a doubtful operator says so, as ``doubts``; records have their flags."""
        if not self:
            return value
        if isinstance(value, list | tuple):
            return [self.data(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        made = {key: self.data(one) for key, one in value.items()}
        if "flags" not in made and "operator" in made:
            made["doubts"] = "; ".join(self.footnotes([made["operator"], made.get("other")]))
        return made


def _footnotes(operator: str, records: Sequence[Record]) -> list[str]:
    broken, stale = contracts_broken(records), stale_cells(records)
    found = [f"{BROKEN_SIGN} {operator} {broken}; it was run with --force"] if broken else []
    if stale:
        cells = "1 cell is" if stale == 1 else f"{stale} cells are"
        found.append(f"{STALE_SIGN} {operator}: {cells} stale, trained by other code than today's; {RETRAIN}")
    return found


IN_FORCE: ContextVar[Marks] = ContextVar("marks", default=Marks())  # noqa: B039 (it is never changed)
"""What every table, JSON and CSV of the command that runs is marked with."""
