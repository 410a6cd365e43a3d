"""Flags of records that put a number in doubt, and how tables, pages and exported files show them.

``breaks operator some_contract`` stands in every record that was made, with --force, of an operator, model or task that
breaks a contract. ``stale`` is in no file: records get it where a run folder is read whose cell was made by other code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bibench.records.record import Record

BREAKS, STALE = "breaks ", "stale"
BROKEN_SIGN, STALE_SIGN = "†", "‡"
RETRAIN = "--rerun stale trains them again"


def broken(kind: str, contract: str) -> str:
    """The flag of records of something of this `kind` that breaks a contract."""
    return f"{BREAKS}{kind} {contract}"


def of(record: Record) -> list[str]:
    """The flags of a record."""
    return [flag for flag in record.flags.split(",") if flag]


def joined(*flags: str) -> str:
    """Flags as a record has them, each once; each of `flags` may be several."""
    return ",".join(dict.fromkeys(flag for part in flags for flag in part.split(",") if flag))


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


class Marks:
    """The signs beside the names of operators whose records are flagged, and the footnotes that explain them."""

    def __init__(self, records: Iterable[Record]) -> None:
        flagged: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            if record.flags:
                flagged[record.operator].append(record)
        self._broken = {o: text for o, own in flagged.items() if (text := contracts_broken(own))}
        self._stale = {o: count for o, own in flagged.items() if (count := stale_cells(own))}

    def sign(self, operator: str) -> str:
        """The signs of an operator, with a space before; nothing where it has none."""
        signs = BROKEN_SIGN * (operator in self._broken) + STALE_SIGN * (operator in self._stale)
        return f" {signs}" if signs else ""

    def name(self, operator: str) -> str:
        """The operator as tables show it."""
        return f"{operator}{self.sign(operator)}"

    @property
    def footnotes(self) -> list[str]:
        """A sentence for each sign and operator, and what helps."""
        found = [f"{BROKEN_SIGN} {operator} {text}; it was run with --force" for operator, text in self._broken.items()]
        if self._stale:
            counted = ", ".join(f"{operator} {count}" for operator, count in self._stale.items())
            found.append(
                f"{STALE_SIGN} stale cells, trained by other code than today's: {counted}; the same bibench run with "
                f"{RETRAIN}"
            )
        return found
