"""``--format`` and its short form ``--json``, the same for every verb that prints."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from bibench.cli.output import printing
from bibench.foundation.errors import BiBenchError

Json = Annotated[bool, typer.Option("--json", help="Short for --format json.")]


def with_formats(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with ``--json`` beside its ``--format``, whose tables are printed in the format that is asked for.

    A command without a parameter ``format`` stays as it is.
    """
    signature = inspect.signature(command, eval_str=True)
    if "format" not in signature.parameters:
        return command

    @functools.wraps(command)
    def run(*, json: bool, format: str, **given: Any) -> None:
        chosen = _chosen(format, json)
        with printing(chosen):
            command(format=chosen, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    short = inspect.Parameter("json", keyword, annotation=Json, default=False)
    shown = [*(one.replace(kind=keyword) for one in signature.parameters.values()), short]
    run.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    return run


def _chosen(format: str, json: bool) -> str:
    if json and format not in ("table", "json"):
        raise BiBenchError(f"--json is --format json, and --format {format} is given too; choose one of them")
    return "json" if json else format
