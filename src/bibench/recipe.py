"""How a cell is trained: optimizer, schedule, epochs, batch size, initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import nn

from bibench.choice import Choice
from bibench.distillation import METHODS
from bibench.errors import BiBenchError
from bibench.layers import BACKWARD_PRECISIONS, binary_layers
from bibench.plain import PLAIN, plain, plain_tuple, shown

Setting = tuple[tuple[str, Any], ...]
"""Names and values of some attributes of a recipe."""


PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Those of Lightning Fabric whose inputs and weights are float32."""


@dataclass(frozen=True)
class Recipe:
    """Everything about a training that is not task, model, operator or seed.

    Attributes:
        epochs, batch_size: length and step size of the training.
        optimizer: one of `OPTIMIZERS`; `lr`, `momentum` and `weight_decay` are its settings. Scales,
            thresholds, biases and norms never decay.
        schedule: of the learning rate, one of `SCHEDULES`, after `warmup` (fraction of the training,
            linear from 0). `milestones` are fractions of the whole training, for ``step``.
        init: ``fp32`` starts from the full-precision cell of the same task, model and seed,
            ``scratch`` from random weights.
        distillation: one of `METHODS`: ``none``, or how the full-precision model teaches.
        clip_grad_norm: maximal norm of the gradient; 0 for none.
        precision: Lightning Fabric's, one of `PRECISIONS`.
        backward: how the gradients of the binarized layers' products are computed: ``float32``, the bits of
            PyTorch's; ``lookup``, as accurate, in another order of summation, and twice as fast where the processor
            has AVX-512; or ``bfloat16``, rounded.
        pad_value: at the border of binarized convolutions (0, 1 or -1).
        fp32: what the full-precision stage does otherwise (names and values of these attributes).
        grid: the settings of a study over this recipe (each names and values of these attributes). A
            training at one of them is what the benchmark prescribes, not a changed recipe.

    Numbers of NumPy and PyTorch become Python's. Raises `BiBenchError` naming the attribute that is not as it must be.
    """

    epochs: int
    batch_size: int
    lr: float
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.0
    milestones: tuple[float, ...] = (0.5, 0.75)
    init: str = "fp32"
    distillation: str = "none"
    clip_grad_norm: float = 0.0
    precision: str = "32-true"
    backward: str = "float32"
    pad_value: float = 0.0
    fp32: tuple[tuple[str, Any], ...] = ()
    grid: tuple[Setting, ...] = ()

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) not in PLAIN:
                object.__setattr__(self, name, plain_tuple(value) if isinstance(value, tuple) else plain(value))
        _among("optimizer", self.optimizer, OPTIMIZERS)
        _among("schedule", self.schedule, SCHEDULES)
        _among("init", self.init, ("fp32", "scratch"))
        _among("distillation", self.distillation, METHODS)
        _among("precision", self.precision, PRECISIONS)
        _among("backward", self.backward, BACKWARD_PRECISIONS)
        for expected, names, fits in _NUMBERS:
            for name in names:
                if not fits(value := getattr(self, name)):
                    raise BiBenchError(f"recipe: {name} must be {expected}; got {shown(value)}")

    def with_options(self, options: dict[str, Any]) -> Recipe:
        """This recipe with some attributes changed."""
        known = {f.name for f in fields(self)} - {"fp32", "grid"}
        for name in options:
            if name not in known:
                raise BiBenchError(f"a recipe has no {name!r}; it has: {', '.join(sorted(known))}")
        return replace(self, **options)

    def setting(self, options: dict[str, Any]) -> Setting:
        """The setting of the grid that `options` contain, or an empty one."""
        given = set(options.items())
        return max((s for s in self.grid if set(s) <= given), key=len, default=())

    def for_operator(self, full_precision: bool) -> Recipe:
        """The recipe of one cell: the full-precision stage has its own settings and starts from scratch."""
        if not full_precision:
            return self
        return replace(self.with_options(dict(self.fp32)), fp32=(), init="scratch", distillation="none")

    def without_grid(self) -> Recipe:
        """This recipe as one training knows it."""
        return replace(self, grid=())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


def _among(what: str, value: str, known: Any) -> None:
    if not isinstance(value, str) or value not in known:
        raise BiBenchError(f"recipe: {what} must be one of {', '.join(known)}; got {shown(value)}")


def _in(value: Any, low: float, high: float = math.inf) -> bool:
    return type(value) in (int, float) and low <= value < high


_NUMBERS: tuple[tuple[str, tuple[str, ...], Callable[[Any], bool]], ...] = (
    ("a positive integer", ("epochs", "batch_size"), lambda v: type(v) is int and v > 0),
    ("a positive number", ("lr",), lambda v: _in(v, 0) and v > 0),
    ("a number, at least 0", ("momentum", "weight_decay", "clip_grad_norm"), lambda v: _in(v, 0)),
    ("0, 1 or -1", ("pad_value",), lambda v: _in(v, -1) and v in (0, 1, -1)),
    ("a fraction of the training, at least 0 and below 1", ("warmup",), lambda v: _in(v, 0, 1)),
    (
        "fractions of the training, as in (0.5, 0.75)",
        ("milestones",),
        lambda v: isinstance(v, tuple) and all(_in(m, 0, 1) for m in v),
    ),
)


def _fused(groups: list[dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """One pass over a weight and its moments where PyTorch has it; 16-mixed could not clip gradients then."""
    devices = {p.device.type for group in groups for p in group["params"]}
    return {"fused": True} if devices <= {"cpu", "cuda"} and recipe.precision != "16-mixed" else {}


def _sgd(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, **_fused(groups, recipe))


def _sgd_nesterov(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    settings = _fused(groups, recipe)
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=True, **settings)


def _adam(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=recipe.lr, **_fused(groups, recipe))


def _adamw(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=recipe.lr, **_fused(groups, recipe))


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Recipe], torch.optim.Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "sgd_nesterov": _sgd_nesterov,
}


def _since_warmup(t: float, recipe: Recipe) -> float:
    return (t - recipe.warmup) / (1 - recipe.warmup)


def _cosine(t: float, recipe: Recipe) -> float:
    return (1 + math.cos(math.pi * _since_warmup(t, recipe))) / 2


def _step(t: float, recipe: Recipe) -> float:
    return float(0.1 ** sum(t >= milestone for milestone in recipe.milestones))


def _linear(t: float, recipe: Recipe) -> float:
    return 1 - _since_warmup(t, recipe)


def _constant(t: float, recipe: Recipe) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float, Recipe], float]] = {
    "cosine": _cosine,
    "step": _step,
    "linear": _linear,
    "constant": _constant,
}


def learning_rate(t: float, recipe: Recipe) -> float:
    """The learning rate at progress t in [0, 1)."""
    if t < recipe.warmup:
        return recipe.lr * t / recipe.warmup
    return recipe.lr * SCHEDULES[recipe.schedule](t, recipe)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over `model`, with weight decay on weight matrices and filters only."""
    exempt = {id(layer.weight) for _, layer in binary_layers(model) if not layer.operator.decays_filters}
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    decayed = [p for name, p in trained if decays(name, p) and id(p) not in exempt]
    others = [p for name, p in trained if not decays(name, p) or id(p) in exempt]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return OPTIMIZERS[recipe.optimizer]([g for g in groups if g["params"]], recipe)


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to an operator's scales and thresholds, biases and norms."""
    return parameter.dim() > 1 and "operator" not in name.split(".")


def study_of(recipe: Recipe, chosen: Choice) -> Choice | None:
    """The study that a training with the recipe `chosen` belongs to: its choice without the setting's options.

    None when `chosen` is at no setting of the grid of `recipe`. What else was changed stays in the
    name, so that a shortened study (``sensitivity[epochs=2]``) is never pooled with the whole one.
    """
    setting = recipe.setting(chosen.options)
    return Choice(chosen.name, tuple(i for i in chosen.items if i not in setting)) if setting else None


def division_of(recipe: Recipe, chosen: Choice) -> str:
    """``closed``: trained as the benchmark prescribes, at a setting of the grid if there is one; else ``open``."""
    study = study_of(recipe, chosen) or chosen
    return "open" if study.items else "closed"
