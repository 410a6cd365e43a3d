"""The public faces of `bibench`: modules whose names users import, each a page of the API reference.

A name is told in full on one page, the first in this order; the others that give it too lead there.
"""

from __future__ import annotations

import ast
import inspect
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

FACES = (
    *("bibench", "bibench.nn.layers", "bibench.operators", "bibench.kernels.surrogate", "bibench.kernels.spec"),
    *("bibench.models", "bibench.tasks", "bibench.contracts", "bibench.suite", "bibench.records"),
    *("bibench.deploy", "bibench.deploy.parity", "bibench.complexity", "bibench.tracks", "bibench.statistics"),
    *("bibench.recommend", "bibench.published", "bibench.foundation.errors"),
)
DOCS = Path(__file__).parent


@dataclass(frozen=True)
class Public:
    """A public name: the face that tells it, and what it is (`class`, `function`, `module` or `data`)."""

    face: str
    name: str
    value: Any

    @property
    def kind(self) -> str:
        """Which directive tells it."""
        if inspect.isclass(self.value):
            return "class"
        if inspect.ismodule(self.value):
            return "module"
        return "function" if inspect.isfunction(self.value) else "data"

    @property
    def text(self) -> str:
        """Its docstring; of data the string below the assignment, wherever that is."""
        if self.kind != "data":
            return inspect.getdoc(self.value) or ""
        return inspect.cleandoc(_below(import_module(self.face), self.name))


def names(face: str) -> list[str]:
    """What a face gives: its `__all__`, or what is defined in it."""
    module = import_module(face)
    if hasattr(module, "__all__"):
        return list(module.__all__)
    own = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == face}
    return [name for name in vars(module) if name in own and not name.startswith("_")]


def public() -> dict[str, list[Public]]:
    """Every public name by face, with its home."""
    homes: dict[int, Public] = {}
    found: dict[str, list[Public]] = {}
    for face in FACES:
        for name in names(face):
            value = getattr(import_module(face), name)
            found.setdefault(face, []).append(homes.setdefault(id(value), Public(face, name, value)))
    return found


def _below(module: ModuleType, name: str) -> str:
    """The string below the assignment of `name`, in the module or in the one that it has it from."""
    body = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body
    for statement, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(statement, ast.ImportFrom) and name in {part.name for part in statement.names}:
            return _below(import_module(str(statement.module)), name)
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if name in {target.id for target in targets if isinstance(target, ast.Name)}:
            told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            return str(after.value.value) if told else ""  # type: ignore[union-attr]
    return _in_branches(module, body, name)


def _in_branches(module: ModuleType, body: list[ast.stmt], name: str) -> str:
    """Of a name that is imported when it is asked for: where type checkers have it from."""
    for inner in (node for statement in body for node in ast.walk(statement) if isinstance(node, ast.ImportFrom)):
        if name in {part.name for part in inner.names}:
            return _below(import_module(str(inner.module)), name)
    return ""


def pages() -> dict[Path, str]:
    """The pages of the reference, and the list of them."""
    found = public()
    index = ["# API", "", "What is imported from where. Every other module is how it is done, and may change.", ""]
    index += ["| module | |", "|---|---|"]
    index += [f"| [`{face}`]({face}.md) | {_summary(import_module(face).__doc__ or '')} |" for face in FACES]
    made = {DOCS / "api" / "README.md": "\n".join([*index, ""])}
    return made | {DOCS / "api" / f"{face}.md": page(face, members) for face, members in found.items()}


def page(face: str, members: list[Public]) -> str:
    """A face: its names with a line each, and what the docstrings say."""
    text = inspect.cleandoc(import_module(face).__doc__ or "")
    lines = [f"# `{face}`", "", text.partition("\n\n")[0], "", "| name | |", "|---|---|"]
    lines += [f"| {_link(face, member)} | {_summary(member.text)} |" for member in members]
    for member in members:
        if member.face == face and member.kind != "module":
            lines += ["", f"## {member.kind} {member.name}", "", *_directive(member)]
    return "\n".join([*lines, ""])


def _link(face: str, member: Public) -> str:
    if member.kind == "module":
        return f"[`{member.name}`]({member.value.__name__}.md)"
    page = "" if member.face == face else f"{member.face}.md"
    return f"[`{member.name}`]({page}#{member.kind}-{member.name.lower()})"


def _summary(text: str) -> str:
    """The first sentence, in a cell of a table."""
    paragraph = " ".join(text.strip().partition("\n\n")[0].split())
    return re.split(r"(?<!\bEq)\. ", paragraph)[0].rstrip(".").replace(r"\|", "|").replace("|", r"\|")


def _directive(member: Public) -> list[str]:
    """What Sphinx makes of the docstring; GitHub shows it as a block."""
    whole = f"{member.face}.{member.name}"
    if member.kind == "data":
        return ["```{py:data} " + whole, "", member.text, "```"]
    options = [":members:"] if member.kind == "class" else []
    return ["```{eval-rst}", f".. auto{member.kind}:: {whole}", *(f"   {option}" for option in options), "```"]
