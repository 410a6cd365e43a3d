"""The pages on operators and their list, with plots of their surrogate gradients. `generate.py` writes them."""

from __future__ import annotations

import inspect
from dataclasses import fields

import torch
from plot import line_plot
from task_pages import SHARED_ATTENTION

from bibench.kernels.spec import LayerSpec, of_layer
from bibench.kernels.surrogate import Surrogate
from bibench.operators import OPERATORS, Operator, known_operators

SPEC = LayerSpec(kind="linear", in_channels=64, out_channels=64, input_shape=(64,), output_shape=(64,))
CONVOLUTION = of_layer(torch.nn.Conv2d(64, 64, 3, padding=1), input_shape=(64, 8, 8), output_shape=(64, 8, 8))
PAPER_OPERATORS = [name for name in known_operators() if OPERATORS[name].__module__.startswith("bibench.operators")]
LEFT = {
    "weight": "1-bit weights",
    "channel_scale": "one scale per output channel, which folds into a following batch norm",
    "threshold": "one threshold per input channel",
    "spatial_scale": "in convolutions one scale per row and column of the output map",
    "activation_scale": "a scale computed from the input at run time",
    "activation_step": "a step that the input is divided by",
    "window": "a multiple of the sum of signed inputs over each window",
    "offset": "an offset per output channel",
    "centre": "a mean of the input that is subtracted at run time",
    "gate": "a gate per output channel computed from the input at run time",
}
"""The fields of `InferenceForm` in words, in the order in which they are told."""


def pages() -> dict[str, str]:
    """Texts and plots by file name."""
    made = {"README.md": index()}
    for name in PAPER_OPERATORS:
        made[f"{name}.md"] = page(name)
        if not OPERATORS[name].full_precision:
            made[f"{name}.svg"] = surrogate_plot(name)
    return made


def index() -> str:
    """The list of operators with their techniques (the paper's Table 6)."""
    columns = [f.name for f in fields(OPERATORS["bnn"].techniques)]
    head = ["operator", *(c.replace("_", " ") for c in columns)]
    lines = ["# Operators", "", "Techniques as in Table 6 of the paper, with its two swapped cells corrected.", ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in PAPER_OPERATORS:
        row = [f"[{OPERATORS[name].title}]({name}.md)", *(getattr(OPERATORS[name].techniques, c) for c in columns)]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join([*lines, "", SHARED_ATTENTION, ""])


def page(name: str) -> str:
    """Formula, description, surrogate, techniques, profiles and options of one operator."""
    cls = OPERATORS[name]
    lines = [f"# {cls.title} (`{name}`)", "", *([cls.paper, ""] if cls.paper else [])]
    lines += ["$$", cls.formula, "$$", "", description(cls), ""]
    if not cls.full_precision:
        instance = cls(SPEC)
        lines += ["## Surrogate gradients", "", f"![Surrogate gradients of {cls.title}]({name}.svg)", ""]
        for what, estimator in estimators(instance):
            lines += [f"- {what}: {estimator.label}, $`{estimator.formula}`$"]
        lines += ["", "## Techniques", "", "| technique | |", "|---|---|"]
        lines += [f"| {f.name.replace('_', ' ')} | {getattr(cls.techniques, f.name)} |" for f in fields(cls.techniques)]
        lines += ["", "## At inference", "", leftovers(cls), ""]
    lines += ["## Profiles", "", "- `default`: as described here"]
    lines += [f"- `{profile}`: {text}" for profile, text in cls.profiles.items()]
    options = {k: v for k, v in cls.options().items() if k != "profile"}
    if options:
        lines += ["", "## Options", "", *(f"- `{k}={v!r}`" for k, v in options.items())]
    return "\n".join([*lines, ""])


def description(cls: type[Operator]) -> str:
    """The class docstring with its arguments as a list."""
    text = inspect.getdoc(cls) or ""
    body, _, arguments = text.partition("Args:\n")
    items = []
    for line in arguments.splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            option, _, rest = line.strip().partition(": ")
            items.append(f"- `{option}`: {rest}")
        elif line.strip():
            items.append(f"  {line.strip()}")
    return "\n".join([body.strip(), *([""] if items else []), *items])


def estimators(op: Operator) -> list[tuple[str, Surrogate]]:
    """The surrogates of activations and weights."""
    return [("activations", op.activation_estimator), ("weights", op.weight_estimator)]


def leftovers(cls: type[Operator]) -> str:
    """What `inference_form` says is left of a convolution, in words."""
    form = cls(CONVOLUTION).inference_form(torch.randn(64, 64, 3, 3))
    return f"What is left: {'; '.join(LEFT[name] for name in LEFT if getattr(form, name) is not None)}."


def surrogate_plot(name: str) -> str:
    """The surrogate gradients over [-2, 2], at the start and the end of training where they change."""
    op = OPERATORS[name](SPEC)
    x = torch.linspace(-2, 2, 401, dtype=torch.float64)
    curves = [(what, estimator.curve(x).tolist()) for what, estimator in estimators(op)]
    op.progress(0.999, 0.001)
    for what, estimator in estimators(op):
        late = estimator.curve(x).tolist()
        if late not in [values for _, values in curves]:
            curves.append((f"{what}, end of training", late))
    if curves[0][1] == curves[1][1]:
        curves = [("activations and weights", curves[0][1]), *curves[2:]]
    return line_plot(x.tolist(), curves, label=f"Surrogate gradients of {op.title}", x_label="value before the sign")
