"""Which operators run on which engines and why: the paper's Table 4, derived for all engines.

One 3×3 convolution of each operator on the meta device is asked, padded as the engine wants it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from bibench.deploy.engine import ENGINES
from bibench.deploy.statement import Stated, statements
from bibench.foundation.choice import Choice
from bibench.nn.conversion import binarize
from bibench.operators import InferenceForm

CHANNELS = 64


@dataclass(frozen=True)
class OperatorSummary:
    """A row of Table 4.

    Attributes:
        refusals: of each engine why it does not run a convolution of the operator, "" if it does.
        granularity: of the scales that are left: "channel-wise", "spatial-wise" or "" for none.
        form: their numbers: "FP32", or "".
        fold_norm: whether they go into a norm; None without scales.
        rescaling: whether a scale is computed from the activations at run time.
        mean_shift: whether activations are shifted before the sign.
    """

    operator: str
    refusals: dict[str, str]
    granularity: str
    form: str
    fold_norm: bool | None
    rescaling: bool
    mean_shift: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**vars(self), "deployable": {name: not why for name, why in self.refusals.items()}}


def summary(operators: Iterable[Choice], engines: Iterable[str]) -> Iterator[OperatorSummary]:
    """One row per operator with 1-bit layers; others have nothing to say."""
    runners = {name: ENGINES[name]() for name in engines}
    for operator in operators:
        layers = {name: _layer(operator, runner.pad_value) for name, runner in runners.items()}
        found = {name: layer for name, layer in layers.items() if layer is not None}
        if not found:
            continue
        refusals = {name: layer.refusal or runners[name].refusal(layer) for name, layer in found.items()}
        yield _row(str(operator), refusals, next(iter(found.values())).form)


def capabilities(engines: Iterable[str]) -> Iterator[OperatorSummary]:
    """What each engine takes, in the terms of the operators' rows: its 1-bit convolution is asked with each feature."""
    factor = torch.empty(CHANNELS, device="meta")
    asked: dict[str, dict[str, Any]] = {
        "channel": {"channel_scale": factor},
        "spatial": {"spatial_scale": (factor, factor)},
        "rescaling": {"channel_scale": factor, "activation_scale": "spatial"},
        "shift": {"threshold": factor},
    }
    for name in engines:
        runner = ENGINES[name]()
        layer = _layer(Choice("bnn"), runner.pad_value)
        assert layer is not None and layer.form is not None
        takes = {
            what: not runner.refusal(replace(layer, form=replace(layer.form, **facts))) for what, facts in asked.items()
        }
        granularity = "spatial-wise" if takes["spatial"] else "channel-wise" if takes["channel"] else ""
        yield OperatorSummary(
            name,
            {},
            granularity,
            form="FP32" if granularity else "",
            fold_norm=takes["channel"] or None,
            rescaling=takes["rescaling"],
            mean_shift=takes["shift"],
        )


def _layer(operator: Choice, pad_value: float) -> Stated | None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False))
        options = {"pad_value": pad_value, **operator.options}
        binarize(model, operator.name, example_inputs=torch.empty(1, CHANNELS, 8, 8), keep=(), **options)
    return next(iter(statements(model)), None)


def _row(operator: str, refusals: dict[str, str], form: InferenceForm | None) -> OperatorSummary:
    scaled = form is not None and (form.channel_scale is not None or form.spatial_scale is not None)
    spatial = form is not None and form.spatial_scale is not None
    return OperatorSummary(
        operator,
        refusals,
        granularity="spatial-wise" if spatial else "channel-wise" if scaled else "",
        form="FP32" if scaled else "",
        fold_norm=not spatial if scaled else None,
        rescaling=form is not None and form.activation_scale is not None,
        mean_shift=form is not None and form.threshold is not None,
    )
