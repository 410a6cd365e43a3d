"""The surrogate gradients of an operator as a figure."""

from __future__ import annotations

import torch

from bibench.choice import choice
from bibench.errors import BiBenchError
from bibench.operators import OPERATORS
from bibench.report.blocks import Figure, slug
from bibench.report.figures import axis, below
from bibench.spec import LayerSpec

SPEC = LayerSpec(kind="linear", in_channels=64, out_channels=64, input_shape=(64,), output_shape=(64,))
POINTS = 201


def surrogate_figure(operator: str) -> Figure | None:
    """Gradients over [-2, 2] at the start and, where they change, the end of training; None if it has none."""
    chosen = choice(operator)
    cls = OPERATORS[chosen.name]
    if cls.full_precision:
        return None
    try:
        op = cls(SPEC, **chosen.options)
    except TypeError as error:  # a record of another version, or of another operator of this name
        raise BiBenchError(f"operator {operator}: {chosen.name} does not take these options here ({error})") from error
    x = torch.linspace(-2, 2, POINTS, dtype=torch.float64)

    def gradients() -> dict[str, list[float]]:
        estimators = {"activations": op.activation_estimator, "weights": op.weight_estimator}
        return {name: [round(v, 5) for v in e.curve(x).tolist()] for name, e in estimators.items()}

    early = gradients()
    op.progress(0.999, 0.001)
    late = {f"{name}, end of training": v for name, v in gradients().items() if v != early[name]}
    if early["activations"] == early["weights"] and len(late) != 1:
        early = {"activations and weights": early["activations"]}
        late = {"both, end of training": next(iter(late.values()))} if late else {}
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": [round(v, 4) for v in x.tolist()],
            "y": values,
            "line": {"color": colour, "width": 2, "dash": dash},
            "hovertemplate": "%{x:.2f}: %{y:.2f}<extra>%{fullData.name}</extra>",
        }
        for (name, values), colour, dash in zip(
            {**early, **late}.items(), ("@1", "@2", "@3", "@4"), ("solid", "dash", "dot", "dashdot"), strict=False
        )
    ]
    labels = f"{op.activation_estimator.label} for activations, {op.weight_estimator.label} for weights"
    takeaway = f"What the backward pass takes for the derivative of the sign: {labels}."
    if late:
        takeaway += " It changes during training."
    alt = f"Line plot of the surrogate gradients of {cls.title} between -2 and 2: {labels}."
    layout = {"xaxis": axis("value before the sign"), "yaxis": axis("gradient"), "legend": below()}
    return Figure(f"surrogate-{slug(operator)}", "Surrogate gradient", takeaway, alt, data, layout, 340)
