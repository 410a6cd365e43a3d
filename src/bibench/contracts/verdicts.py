"""Verdicts on entries of others: their contracts are run in a process of their own, once for each state of the code."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from bibench.contracts.base import KINDS, Finding, check, contracts_of
from bibench.contracts.loaded import Entry
from bibench.data.location import DATA_ROOT, cache_dir
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, StoreError, ending
from bibench.foundation.files import read_json, write_json
from bibench.foundation.registry import load_file
from bibench.foundation.signals import interrupts_held_back
from bibench.models import MODELS
from bibench.records.provenance import code_fingerprint

SECONDS = 5.0
"""How long what is not used may be looked at; what is not reached then is looked at another time."""

DIED = "it_can_be_checked"
"""The contract that something breaks whose contracts end their process."""

Verdicts = dict[Entry, list[Finding]]
"""The contracts that each breaks; none where it keeps them all."""


def verdicts(
    entries: Sequence[Entry],
    beside: Sequence[Entry] = (),
    *,
    load: Sequence[str] = (),
    data_root: Path | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Verdicts:
    """What each entry breaks, from the cache or by running its contracts, which takes seconds.

    Args:
        beside: what is looked at while the process is there anyway, for `SECONDS`.
        load: files that define them, for the process to load.
        data_root: where tasks find their data.
        note: told what is being checked.
    """
    keys = {entry: _key(entry, data_root) for entry in (*entries, *beside)}
    found = {entry: known for entry in keys if (known := _known(keys[entry])) is not None}
    asked = [entry for entry in entries if entry not in found]
    if asked:
        note(f"checking the contracts of {', '.join(map(str, asked))}, once for this state of the code")
        later = [entry for entry in beside if entry not in found]
        for entry, findings in _run(asked, later, tuple(load), data_root):
            found[entry] = findings
            if all(finding.contract != DIED for finding in findings):  # it may have been a lack of memory, or a signal
                _keep(keys[entry], findings)
    return {entry: [f for f in findings if f.problem] for entry, findings in found.items()}


def _key(entry: Entry, data_root: Path | None) -> str:
    """A fingerprint of all that a verdict follows from: the entry's code, the contracts', and for a task its data."""
    name = choice(entry.chosen).name
    code = MODELS[name].builder if entry.kind == "model" else KINDS[entry.kind][name]
    proved = code_fingerprint(*contracts_of(entry.kind).values())
    data = str(data_root or os.environ.get(DATA_ROOT, "")) if entry.kind == "task" else ""
    parts = (
        entry.kind,
        entry.chosen,
        code_fingerprint(code),
        _package(code.__module__),
        proved,
        torch.__version__,
        data,
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _package(module: str) -> str:
    """A fingerprint of all files of the package that a plug-in's module belongs to; empty for a file alone."""
    top = sys.modules.get(module.partition(".")[0])
    digest = hashlib.sha256()
    for folder in map(Path, getattr(top, "__path__", ())):
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _place(key: str) -> Path:
    return cache_dir() / "contracts" / f"{key}.json"


def _known(key: str) -> list[Finding] | None:
    """The findings that are kept; None where there are none, or they cannot be read."""
    try:
        return [Finding(**one) for one in read_json(_place(key))] if _place(key).is_file() else None
    except (OSError, TypeError, StoreError):
        return None


def _keep(key: str, findings: Sequence[Finding]) -> None:
    with suppress(OSError, BiBenchError):  # a cache that cannot be written costs seconds again
        _place(key).parent.mkdir(parents=True, exist_ok=True)
        write_json(_place(key), [vars(one) for one in findings])


def _run(
    asked: Sequence[Entry], later: Sequence[Entry], load: tuple[str, ...], data_root: Path | None
) -> Iterator[tuple[Entry, list[Finding]]]:
    """Run contracts in a process; one that it dies of breaks them, and another process goes on with the rest."""
    waiting, deadline = [*asked, *later], None
    while waiting:
        with _Process(waiting, load, data_root) as process:
            while waiting:
                if waiting[0] in later and deadline is None:
                    deadline = time.monotonic() + SECONDS
                if deadline is not None and not process.answers(deadline - time.monotonic()):
                    return
                findings, died = process.findings()
                entry = waiting.pop(0)
                if died:
                    findings = [Finding(entry.kind, entry.chosen, DIED, f"its contracts end the process ({died})")]
                yield entry, findings
                if died:
                    break


class _Process:
    """A process that sends the findings of one entry after the other."""

    def __init__(self, entries: Sequence[Entry], load: tuple[str, ...], root: Path | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        words = (theirs, [entry[:2] for entry in entries], load, str(root or ""))
        self._process = context.Process(target=_main, args=words, name="bibench-contracts")
        with interrupts_held_back():
            self._process.start()
        theirs.close()

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.kill()
        self._process.join()

    def answers(self, seconds: float) -> bool:
        """Whether something comes within some seconds."""
        return self._connection.poll(max(seconds, 0.0))

    def findings(self) -> tuple[list[Finding], str]:
        """The next entry's, or how the process died."""
        try:
            found = self._connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return [], ending(self._process.exitcode)
        if isinstance(found, str):
            raise BiBenchError(found)
        return found, ""


def _main(connection: Connection, entries: Sequence[tuple[str, str]], load: Sequence[str], root: str) -> None:
    """The process: sends the findings of each entry, or an error as text."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    if root:
        os.environ[DATA_ROOT] = root
    warnings.showwarning = lambda *_, **__: None  # the parent has told them
    with suppress(BrokenPipeError):
        try:
            for file in load:
                load_file(file)
        except BiBenchError as error:
            connection.send(str(error))
            return
        for kind, chosen in entries:
            connection.send(list(check(kind, chosen)))
