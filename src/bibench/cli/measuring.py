"""``bibench measure``: what is measured beside training and scoring."""

import typer

from bibench.cli.later import LaterGroup, Verb, enter

VERBS = {
    "training-cost": Verb(
        "costing:training_cost",
        "Time and memory of a training step, operators and full precision taking turns.",
        "loading PyTorch and the model",
    ),
    "corruptions": Verb(
        "corrupting:corruptions",
        "Score trained models under the 19 corruptions (clean and mCE of the corruption robustness track).",
        "loading PyTorch and the models",
    ),
    "complexity": Verb(
        "complexity:measure",
        "Write sizes, operations, compression and speed-up of every model and operator into the run folder.",
        "building the models and counting their operations",
    ),
    "structures": Verb(
        "structures:structures",
        "Relative error of binarizing a bottleneck, self-attention and an MLP with random weights (Eq. 41).",
        "computing the errors of local structures",
    ),
}

measure = typer.Typer(
    cls=LaterGroup, help="Measure what training alone does not tell.", add_completion=False, no_args_is_help=True
)
enter(measure, VERBS)


@measure.callback()
def _group() -> None:
    """Measure what training alone does not tell."""
