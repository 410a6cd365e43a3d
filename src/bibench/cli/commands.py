"""All verbs on one application."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Annotated

import typer

from bibench.cli.later import LaterGroup, Verb, enter

VERBS = {
    "list": Verb(
        "catalogue:list_",
        "List operators, comparators (other compression), models, tasks, suites, tracks, engines or devices.",
        "importing what there is",
    ),
    "plan": Verb(
        "planning:plan",
        "Show the cells of a suite: done, to do, impossible, and an estimate of the hours.",
        "looking at every cell of the suite",
    ),
    "run": Verb(
        "running:run",
        "Train what the suite lacks and print the scores. Run it again to continue after an interruption.",
        "loading PyTorch and planning the suite",
    ),
    "status": Verb(
        "planning:status",
        "Show how far a suite is, and why cells failed, are stale or cannot run.",
        "looking at every cell of the suite",
    ),
    "score": Verb(
        "scoring:score",
        "Score records: accuracy per model and operator, then every track.",
        "reading the records",
    ),
    "report": Verb(
        "reporting:report",
        "Build the report of some records: a folder of pages to open in a browser.",
        "reading the records and drawing the pages",
    ),
    "rank": Verb(
        "ranking:rank",
        "Rank operators by score, with rank intervals, who is not told apart, average ranks, and without each task.",
        "reading the records and drawing samples for the intervals",
    ),
    "versus": Verb(
        "comparing:compare",
        "Is one operator better than another? Their difference with its interval, paired by cell, and one sentence.",
        "reading the records and drawing samples for the interval",
    ),
    "coverage": Verb(
        "ranking:cover",
        "Show which cells are done, failed, cannot work, are stale or never ran.",
        "reading the records",
    ),
    "recommend": Verb(
        "recommending:recommend_",
        "Recommend operators and models that fulfil limits on latency, size and accuracy, or say why none does.",
        "reading the records",
    ),
    "complexity": Verb(
        "complexity:complexity",
        "Parameters, storage, operations, compression and speed-up of a model under every operator (Eq. 7-8).",
        "building the model and counting its operations",
    ),
    "export": Verb(
        "deploying:export",
        "Write a trained model as a file for an engine, with a manifest.",
        "reading the weights and packing the model",
    ),
    "verify": Verb(
        "deploying:verify",
        "Prove that an exported model is the trained one: layers, outputs, task metric. Exit code 1 if it is not.",
        "comparing the file with the training graph",
    ),
    "deploy": Verb(
        "groups:deploy",
        "What runs where.",
        "trying operators on engines",
    ),
    "measure": Verb(
        "measuring:measure",
        "Measure what training alone does not tell.",
        "loading PyTorch and the model",
    ),
    "latency": Verb(
        "groups:latency",
        "Latency of deployed models, beside full precision.",
        "preparing the measurement",
    ),
    "data": Verb(
        "groups:data",
        "Check the data of tasks, and see where data is looked for.",
        "looking at the data",
    ),
    "check": Verb(
        "catalogue:check",
        "Prove the contracts on everything a file of your own defines.",
        "running the contracts",
    ),
    "env": Verb(
        "catalogue:env",
        "Show versions, git state, processor and accelerator: what every record carries.",
        "asking the libraries for their versions",
    ),
}

app = typer.Typer(
    name="bibench",
    cls=LaterGroup,
    help="The reference benchmark for network binarization (1-bit weights and activations).",
    epilog="Exit codes: 0 success, 1 failed cells, broken contracts or unusable data, 2 user error, 130/143 stopped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
enter(app, VERBS)


def _version(asked: bool) -> None:
    if asked:
        versions = {name: _of(name) for name in ("bibench", "torch")}
        typer.echo(f"bibench {versions['bibench']} (PyTorch {versions['torch']}, Python {platform.python_version()})")
        raise typer.Exit


def _of(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the versions and exit.")
    ] = False,
) -> None:
    """The reference benchmark for network binarization (1-bit weights and activations)."""
