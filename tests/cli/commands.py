"""Which commands a text tells its readers to run, and what is wrong with them by the real command tree."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import typer

from bibench.cli.commands import app
from bibench.cli.latency import MEASURE, _MeasureByDefault
from bibench.suite.definition import SUITES

PROSE = {
    *("writes", "wrote", "again", "runs", "or", "is", "has", "lacks", "import", "from", "and", "as", "format"),
    *(
        "refuses",
        "marks",
        "trains",
        "scores",
        "reads",
        "for",
        "that",
        "in",
        "on",
        "with",
        "to",
        "itself",
        "does",
        "cannot",
        "can",
        "was",
        "package",
        "here",
    ),
}
"""Words that follow the name where it is no command."""

OWN = ("mine", "tiny")
"""Suites that documents let their readers write."""

SUITE_FIRST = ("run", "plan", "status")


class Node(NamedTuple):
    """A command: its option names, its own commands if it is a group, and which is meant where none is named."""

    options: frozenset[str]
    commands: dict[str, Any]
    default: str = ""


@cache
def tree() -> Node:
    """The command tree, with every verb imported."""
    return _node(typer.main.get_command(app))


def _node(command: Any) -> Node:
    stand_in = getattr(command, "command", None)
    if callable(stand_in) and not hasattr(command, "commands"):
        command = stand_in()
    options = {name for param in command.params if param.param_type_name == "option" for name in _names(param)}
    below = {name: _node(own) for name, own in getattr(command, "commands", {}).items()}
    default = MEASURE if isinstance(command, _MeasureByDefault) else ""
    return Node(frozenset(options | {"--help", "-h"}), below, default)


def _names(param: Any) -> list[str]:
    return [*param.opts, *param.secondary_opts]


@cache
def all_options() -> frozenset[str]:
    """The options of all commands."""

    def below(node: Node) -> Iterator[str]:
        yield from node.options
        for own in node.commands.values():
            yield from below(own)

    return frozenset(below(tree()))


END = re.compile(r"[`\"\n]|(?<=[\w\])…])[;:](?=\s|$)|, |\. |\.$|\s[|>#&]|\s+=|\)(?=\W|$)(?!\])| \(|\.\.\.|…")
"""Where a command in a text ends."""


def told(text: str) -> Iterator[str]:
    """The commands in a text, each without the name of the program and up to where it ends."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for found in re.finditer(r"(?<![\w./,-])bibench +(?=[a-z-])", joined):
        rest = joined[found.end() :]
        end = END.search(rest)
        command = rest[: end.start()] if end else rest
        if re.search(r"--engines? [\w,]*$", joined[: found.start()]):  # an engine has the same name
            continue
        if command and re.split(r"\W", command.strip())[0] not in PROSE:
            yield " ".join(command.split())


def wrong(command: str) -> str:
    """What the command tree lacks of a command, or an empty string."""
    words, node, way = command.split(), tree(), ["bibench"]
    while words and node.commands and (node.default or not words[0].startswith("-")):
        word = words.pop(0).rstrip(".,")
        if word not in node.commands and node.default:
            words, word = [word, *words], node.default
        if word not in node.commands:
            return "" if word.isupper() else f"{' '.join(way)} has no verb {word!r}"
        node, way = node.commands[word], [*way, word]
    if (
        way[-1] in SUITE_FIRST
        and words
        and re.fullmatch(r"[a-z_]+", words[0])
        and words[0] not in {*SUITES, *PROSE, *OWN}
    ):
        return f"there is no suite {words[0]!r}"
    asked = [re.split(r"[=\]]", word.lstrip("["))[0].rstrip(".,)'") for word in words]
    unknown = [word for word in asked if re.fullmatch(r"--?[a-z][\w-]*", word) and word not in node.options]
    return f"{' '.join(way)} has no option {', '.join(unknown)}" if unknown else ""


def strings(file: Path) -> Iterator[str]:
    """The texts of a Python file, a placeholder in the place of what is filled in."""
    module = ast.parse(file.read_text())
    inside = {id(part) for node in ast.walk(module) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(module):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value
