"""Verbs whose code is imported when they are used: help, versions and errors of usage come without PyTorch."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand

from bibench.cli.doing import doing
from bibench.cli.formats import with_formats
from bibench.cli.output import VisibleGroup
from bibench.cli.spellings import renamed


class Verb(NamedTuple):
    """A verb of the command line.

    Attributes:
        place: ``module:name`` in `bibench.cli`, of a function, or of a Typer application with verbs of its own.
        help: its line in the list of verbs.
        doing: what it is busy with, for whoever waits.
    """

    place: str
    help: str
    doing: str


class Command(TyperCommand):
    """A verb, which understands old spellings of its options."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with_value = {name for one in self.params if not getattr(one, "is_flag", True) for name in one.opts}
        return super().parse_args(ctx, renamed(_words(ctx), args, with_value))


def _words(ctx: Any) -> str:
    """The verb as users write it, without the command's own name."""
    words = []
    while ctx.parent is not None:
        words.append(ctx.info_name)
        ctx = ctx.parent
    return " ".join(reversed(words))


class Later(TyperCommand):
    """Stands for a verb in the list of verbs; `command` is the verb itself."""

    verb: Verb

    def command(self) -> Any:
        """The verb as Click runs it, imported now."""
        module, _, name = self.verb.place.partition(":")
        found = getattr(import_module(f"bibench.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            function, found = found, typer.Typer(add_completion=False, rich_markup_mode="rich")
            found.command(self.name, cls=Command)(with_formats(function))
        made = typer.main.get_command(found)
        made.name = self.name
        return made


class LaterGroup(VisibleGroup):
    """A group whose verbs are `Later`. What they found out of cells is remembered when they are done."""

    def invoke(self, ctx: Any) -> Any:
        result = super().invoke(ctx)
        if ctx.parent is None and (known := sys.modules.get("bibench.suite.known")):
            known.remember()
        return result

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        if isinstance(found, Later):
            doing(found.verb.doing)
            found = found.command()
        return name, found, rest


def enter(app: typer.Typer, verbs: dict[str, Verb]) -> None:
    """Give `app`, whose class is a `LaterGroup`, its `verbs`."""
    for name, verb in verbs.items():
        stand_in = type("Later", (Later,), {"verb": verb})
        app.command(name, short_help=verb.help, cls=stand_in)(_nothing)


def _nothing() -> None:
    """Never called: in its place the verb is."""
