"""The groups ``bibench deploy``, ``latency`` and ``data``, whose verbs are imported when they are used."""

from __future__ import annotations

from typing import Any

import typer

from bibench.cli.later import LaterGroup, Verb, enter

MEASURE = "measure"

DEPLOY = {
    "matrix": Verb(
        "deploying:matrix",
        "Which operators run on which engines, and why not, layer by layer, before any training.",
        "trying operators on engines",
    ),
}
LATENCY = {
    MEASURE: Verb(
        "latency:measure",
        "Measure model files in turns with a full-precision baseline, on this machine or a device.",
        "preparing the measurement",
    ),
    "import": Verb(
        "latency:import_",
        "Take measurements made by hand: all of a CSV file, or nothing of it.",
        "reading the measurements",
    ),
}
DATA = {
    "check": Verb(
        "data:check",
        "Say what is found of the data of TASK..., what is missing, and where to get it.",
        "looking at the data",
    ),
    "where": Verb(
        "data:where",
        "Show the data root, the cache, and which tasks find their data there; published corrupted test sets, too.",
        "asking every task for its data",
    ),
}


class MeasureByDefault(LaterGroup):
    """``bibench latency model.onnx`` is ``bibench latency measure model.onnx``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [MEASURE, *args]
        return super().parse_args(ctx, args)


def _group(verbs: dict[str, Verb], help: str, cls: type[LaterGroup] = LaterGroup) -> typer.Typer:
    made = typer.Typer(cls=cls, help=help, add_completion=False, no_args_is_help=True, rich_markup_mode="rich")
    enter(made, verbs)
    made.callback()(lambda: None)  # or one verb alone would be the group itself
    return made


deploy = _group(DEPLOY, "What runs where.")
latency = _group(
    LATENCY,
    "Latency of deployed models, beside full precision: [bold]bibench latency MODEL... --baseline FP32MODEL[/]",
    MeasureByDefault,
)
data = _group(DATA, "Check the data of tasks, and see where data is looked for.")
