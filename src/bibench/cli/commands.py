"""All verbs on one application."""

import typer

from bibench.cli import (
    catalogue,
    comparing,
    complexity,
    data,
    deploying,
    latency,
    measuring,
    planning,
    ranking,
    recommending,
    reporting,
    running,
    scoring,
    structures,
)
from bibench.cli.output import VisibleGroup

app = typer.Typer(
    name="bibench",
    cls=VisibleGroup,
    help="The reference benchmark for network binarization (1-bit weights and activations).",
    epilog="Exit codes: 0 success, 1 failed cells, broken contracts or unusable data, 2 user error, 130/143 stopped.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

app.command("list")(catalogue.list_)
app.command("plan")(planning.plan)
app.command("run")(running.run)
app.command("status")(planning.status)
app.command("score")(scoring.score)
app.command("report")(reporting.report)
app.command("rank")(ranking.rank)
app.command("versus")(comparing.compare)
app.command("coverage")(ranking.cover)
app.command("recommend")(recommending.recommend_)
app.command("complexity")(complexity.complexity)
measuring.measure.command("complexity")(complexity.measure)
measuring.measure.command("structures")(structures.structures)
app.command("export")(deploying.export)
app.command("verify")(deploying.verify)
app.add_typer(deploying.deploy, name="deploy")
app.add_typer(measuring.measure, name="measure")
app.add_typer(latency.app, name="latency")
app.add_typer(data.app, name="data")
app.command("check")(catalogue.check)
app.command("env")(catalogue.env)
