"""Before anything is trained or measured: do the operators, models and tasks of others keep their contracts?

What breaks one is refused, or with --force it goes on and its records carry a flag (`bibench.records.flags`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bibench.cli.output import TOLD
from bibench.foundation.errors import BiBenchError

if TYPE_CHECKING:
    from bibench.contracts import Finding
    from bibench.contracts.loaded import Entry
    from bibench.contracts.verdicts import Verdicts

Force = Annotated[
    bool, typer.Option("--force", help="Go on with what breaks contracts; its records and tables are marked.")
]
Marked = tuple[tuple[str, str, tuple[str, ...]], ...]
MOST = 3
"""So many problems of one thing are told; bibench check tells all."""


def vouch(
    entries: Sequence[Entry], load: Sequence[str] = (), *, data_root: Path | None = None, force: bool = False
) -> Marked:
    """Have the contracts of what is used run, once for each state of its code; what is marked, for worker processes.

    Raises:
        BiBenchError: something breaks a contract, and it is not forced.
    """
    found = _verdicts(entries, load, data_root)
    broken = {entry: findings for entry, findings in found.items() if findings}
    unused = {entry: findings for entry, findings in broken.items() if entry not in entries}
    for entry, findings in unused.items():
        _note(f"{_sentence(entry, findings)} It is not used here.")
    held_up = {entry: findings for entry, findings in broken.items() if entry in entries}
    if held_up and not force:
        raise BiBenchError("\n".join(_refused(entry, findings) for entry, findings in held_up.items()))
    return tuple(_mark(entry, findings) for entry, findings in held_up.items())


def warn(entries: Sequence[Entry], load: Sequence[str] = (), *, data_root: Path | None = None) -> None:
    """A note for each of `entries` that breaks a contract: what only plans or counts goes on."""
    for entry, findings in _verdicts(entries, load, data_root).items():
        if findings:
            end = "bibench run refuses it without --force." if entry in entries else "It is not used here."
            _note(f"{_sentence(entry, findings)} {end}")


def _verdicts(entries: Sequence[Entry], load: Sequence[str], data_root: Path | None) -> Verdicts:
    if not entries:
        return {}
    from bibench.contracts.loaded import unused
    from bibench.contracts.verdicts import verdicts

    return verdicts(entries, unused(entries, load), load=load, data_root=data_root, note=_note)


def _mark(entry: Entry, findings: Sequence[Finding]) -> tuple[str, str, tuple[str, ...]]:
    from bibench.contracts.base import KINDS
    from bibench.records.flags import broken

    flags = tuple(broken(entry.kind, finding.contract) for finding in findings)
    KINDS[entry.kind].mark(entry.chosen, *flags)
    _note(f"{_sentence(entry, findings)} It goes on (--force), and every record and table of it says so.")
    return entry.kind, entry.chosen, flags


def _refused(entry: Entry, findings: Sequence[Finding]) -> str:
    lines = [f"{entry} breaks its contracts and is not run ({entry.file}):", *_problems(findings)]
    lines.append(
        f"  all of it: bibench check {entry.file}; to run it as it is, marked in every record and table: --force"
    )
    return "\n".join(lines)


def _problems(findings: Sequence[Finding]) -> Iterator[str]:
    from bibench.contracts import causes

    told = causes(findings)
    for finding, others in told[:MOST]:
        more = f" (also: {', '.join(_title(other) for other in others)})" if others else ""
        yield f"  {_title(finding.contract)}: {finding.problem}{more}"
    if told[MOST:]:
        yield f"  and {len(told) - MOST} more"


def _sentence(entry: Entry, findings: Sequence[Finding]) -> str:
    first = findings[0]
    more = f", and {len(findings) - 1} more" if findings[1:] else ""
    what = f"{entry} breaks the contract {_title(first.contract)!r} ({first.problem}){more}"
    return f"{what}; see bibench check {entry.file}."


def _title(contract: str) -> str:
    return contract.replace("_", " ")


def _note(text: str) -> None:
    if text not in TOLD:
        TOLD.add(text)
        sys.stderr.write(f"note: {text}\n")
        sys.stderr.flush()
