"""How contracts are declared and run."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bibench.comparators.compressor import COMPRESSORS
from bibench.foundation.blame import told, users_line
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, DefinitionWarning
from bibench.foundation.registry import Registry, load_file
from bibench.models import MODELS
from bibench.operators import OPERATORS
from bibench.tasks import TASKS

Contract = Callable[[str], None]

KINDS: dict[str, Registry[Any]] = {
    "operator": OPERATORS,
    "compressor": COMPRESSORS,
    "model": MODELS,
    "task": TASKS,
}
_CONTRACTS: dict[str, dict[str, Contract]] = {kind: {} for kind in KINDS}


class Broken(AssertionError):
    """A contract that does not hold; the message says what was expected and what came."""


class NotApplicable(Exception):
    """A contract that does not concern the entry."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one contract for one entry; `problem` is empty when it holds.

    Attributes:
        kind: ``operator``, ``compressor``, ``model`` or ``task``.
        name: of the entry.
        contract: name of the contract.
    """

    kind: str
    name: str
    contract: str
    problem: str = ""


def contract(kind: str) -> Callable[[Contract], Contract]:
    """Decorator: a function of an entry's name that raises when the entry breaks the contract."""

    def enter(function: Contract) -> Contract:
        _CONTRACTS[kind][function.__name__] = function
        return function

    return enter


def contracts_of(kind: str) -> dict[str, Contract]:
    """All contracts of a kind by name.

    Args:
        kind: ``operator``, ``compressor``, ``model`` or ``task``.
    """
    importlib.import_module(f"bibench.contracts.{kind}")
    return _CONTRACTS[kind]


def check(kind: str, name: str) -> Iterator[Finding]:
    """Run every contract of `kind` on an entry, in a fixed random state that is restored.

    Args:
        kind: ``operator``, ``compressor``, ``model`` or ``task``.
        name: of the entry, also with options, as in ``mine[alpha=2]``.

    Raises:
        BiBenchError: there is no such entry, and it cannot be said where it is defined.
    """
    for title, function in contracts_of(kind).items():
        try:
            with _seeded():
                function(name)
            yield Finding(kind, name, title)
        except NotApplicable:
            continue
        except (Broken, BiBenchError) as error:
            yield Finding(kind, name, title, str(error))
        except Exception as error:  # whatever a stranger's code raises is its finding
            yield Finding(kind, name, title, f"raised {told(error, _file(kind, name))}{_defined(kind, name, error)}")


def _file(kind: str, name: str) -> Path | None:
    return Path(KINDS[kind].source(choice(name).name).rpartition(":")[0])


def _defined(kind: str, name: str, error: BaseException) -> str:
    """Where the entry is defined, if no line of its file is on the way to `error`."""
    return "" if users_line(error, _file(kind, name)) else f" (defined in {KINDS[kind].source(choice(name).name)})"


def causes(findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """The broken contracts, each problem once: with the names of the other contracts that come to the same.

    Args:
        findings: what `check` found, contracts that are kept among them.
    """
    found: dict[tuple[str, str, str], tuple[Finding, list[str]]] = {}
    for one in findings:
        if one.problem:
            first, others = found.setdefault((one.kind, one.name, one.problem), (one, []))
            if first is not one:
                others.append(one.contract)
    return list(found.values())


def check_file(path: str | Path) -> list[tuple[str, str]]:
    """Load a stranger's file; the (kind, name) of everything it defines.

    Args:
        path: a Python file with decorated classes or functions.

    Raises:
        BiBenchError: the file cannot be loaded, or defines nothing.
    """
    file = Path(path).expanduser().resolve()
    for registry in KINDS.values():
        registry.discover()  # a plug-in's file is known, and is part of its package
    if not any(registry.names_from(file) for registry in KINDS.values()):
        load_file(path)
    found = [(kind, name) for kind, registry in KINDS.items() for name in registry.names_from(file)]
    if not found:
        raise BiBenchError(
            f"{file} defines no operator, compressor, model or task; decorate one, "
            "for instance with @bibench.operator('name')"
        )
    return found


def expect(condition: bool, message: str) -> None:
    """Raise `Broken` with `message` unless `condition`."""
    if not condition:
        raise Broken(message)


def concerns(condition: bool) -> None:
    """Skip the contract unless `condition`."""
    if not condition:
        raise NotApplicable


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("default", DefinitionWarning)
        torch.manual_seed(0)
        yield
