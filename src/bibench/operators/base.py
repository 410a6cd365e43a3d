"""What an operator is: how a layer is binarized, in a few slots, and what is left of it at inference.

An operator belongs to one layer and is built for its `LayerSpec`, so every parameter exists before
the optimizer does. A layer with operator ``op``, weight w and input x computes

    a = op.quantize_activation(x)          # ±1: sign of op.activation(x), surrogate gradient behind it
    b = op.quantize_weight(w)              # ±1: sign of op.weight(w)
    y = op.output(scale · (a ⊛ b), x)      # integer dot product, op.scale(w) per output channel
    y = y + bias

A new operator overrides only what differs: most set the two estimators and `scale`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from bibench.errors import BiBenchError, UnsupportedError
from bibench.registry import Registry, check_name
from bibench.rows import Rectified, as_rows, mean_magnitudes, multiply_pixels, rescale, shifted
from bibench.spec import LayerSpec
from bibench.surrogate import STE, Surrogate, binarize, sign

OPERATORS: Registry[type[Operator]] = Registry("operator", "bibench.operators", "bibench.comparators")

FULL_PRECISION = "fp32"
PAPER_ORDER = (FULL_PRECISION, "bnn", "xnor", "dorefa", "bireal", "xnorpp", "reactnet", "recu", "fda")
"""The baseline and the paper's eight operators, in the order of its tables."""


@dataclass(frozen=True)
class Techniques:
    """One row of the paper's Table 6: what is done to weights and activations."""

    weight_scale: str = "w/o"
    activation_scale: str = "w/o"
    weight_redistribution: str = "w/o"
    activation_redistribution: str = "w/o"
    weight_gradient: str = "STE"
    activation_gradient: str = "STE"


@dataclass
class InferenceForm:
    """All that is left of a binarized layer when training is over; complexity and export read this.

    The layer's output is  scale_c · S · K · (sign(x - threshold) ⊛ weight) + bias, where absent
    factors are 1: `channel_scale` (C_o,), `threshold` (C_i,), `spatial_scale` one vector per spatial
    axis of the output map (their outer product is S), `activation_scale` how K is computed from x at
    run time: "spatial" (box-filtered channel mean of |x|), "token" (mean of |x| per row of a linear
    layer) or "sample" (mean of |x| per example).

    With more bits than one, `weight` holds integers, and in place of the sign each input is divided by
    `activation_step` (a scalar), rounded and clamped to the levels of its bits.
    """

    weight: Tensor
    channel_scale: Tensor | None = None
    threshold: Tensor | None = None
    spatial_scale: tuple[Tensor, ...] | None = None
    activation_scale: Literal["spatial", "token", "sample"] | None = None
    activation_step: Tensor | None = None


class Method:
    """What a cell may name as its operator: a catalogue entry with options, an `Operator` or a `Compressor`.

    Class attributes:
        name, title, paper, formula: how it is called, where it is from, and what it computes (LaTeX).
        full_precision: whether it is a baseline that nothing is done to.
        comparator: whether it is another kind of compression, which is run and reported beside the operators
            (``bibench list comparators``) and never enters their ranks, averages and overall metrics.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    full_precision: ClassVar[bool] = False
    comparator: ClassVar[bool] = False

    @classmethod
    def options(cls) -> dict[str, Any]:
        """Names and defaults of the options its constructor takes.

        Those of the classes it is derived from are among them if it passes them on (``**options``).
        """
        found: list[dict[str, Any]] = []
        for base in cls.__mro__:
            if not (issubclass(base, Method) and "__init__" in vars(base)):
                continue
            parameters = inspect.signature(base.__init__).parameters.values()
            found.append(
                {
                    p.name: None if p.default is p.empty else p.default
                    for p in parameters
                    if p.kind is p.KEYWORD_ONLY or (p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty)
                }
            )
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return {name: default for options in reversed(found) for name, default in options.items()}

    @classmethod
    def check_options(cls, options: dict[str, Any]) -> None:
        """Raise `BiBenchError` for an option it does not have."""
        known = cls.options()
        unknown = [name for name in options if name not in known]
        if unknown:
            has = ", ".join(f"{k}={v!r}" for k, v in known.items()) or "none"
            raise BiBenchError(f"operator {cls.name!r} has no option {unknown[0]!r}; it has: {has}")


class Operator(Method, nn.Module):
    """Base class of all operators.

    Args:
        spec: the layer it is built for.
        profile: which published variant: ``default`` (the paper's mathematics), or one of
            `profiles` ("original": the operator's own paper, "bibench": the official release,
            faithful to its peculiarities where it runs at all).

    Class attributes state what the operator is; the contract tests (``bibench check``) hold it to them.
    """

    techniques: ClassVar[Techniques] = Techniques()
    profiles: ClassVar[dict[str, str]] = {}
    weight_bits: int = 1
    activation_bits: int = 1
    activation_estimator: Surrogate = STE()
    weight_estimator: Surrogate = STE()
    # A scale that does not require grad is a statistic of the weight. By the convention of the
    # published PyTorch codes it multiplies the gradient of the input but not that of the weight.
    scale_in_weight_gradient: bool = False
    # Where factors are not signs (`quantize_*` of its own): whether the weights are scaled, not the products.
    scale_first: bool = False

    def __init__(self, spec: LayerSpec, *, profile: str = "default") -> None:
        super().__init__()
        if profile != "default" and profile not in self.profiles:
            known = ", ".join(["default", *self.profiles])
            raise BiBenchError(f"operator {self.name!r} has no profile {profile!r}; it has: {known}")
        if profile == "bibench" and (spec.groups != 1 or any(d != 1 for d in spec.dilation)):
            raise UnsupportedError(
                f"operator {self.name!r}, profile 'bibench': layer {spec.name!r} has groups={spec.groups}, "
                f"dilation={spec.dilation}, which the official release ignores; use profile='default'"
            )
        self.spec = spec
        self.profile = profile
        self.ternary = profile == "bibench"  # the release uses torch.sign: sign(0) = 0

    # -- the slots ---------------------------------------------------------------------------------

    def activation_shift(self) -> Tensor | None:
        """What `activation` adds to the input, a value for each channel as ``spec.per_input`` shapes it; or None."""
        return None

    def activation(self, x: Tensor) -> Tensor:
        """The real values whose sign enters the product. x: the layer's input."""
        shift = self.activation_shift()
        return x if shift is None else shifted(x, shift)

    def weight(self, w: Tensor) -> Tensor:
        """The real values whose sign enters the product. w: the latent weight."""
        return w

    def scale(self, w: Tensor) -> Tensor | None:
        """Scaling factor per output channel, shape (C_o,), or None."""
        return None

    def output_gamma(self, sizes: tuple[int, ...]) -> Tensor | None:
        """A learned factor of the product, (C_o, ...) with axes of size 1, for maps of these `sizes`; or None."""
        return None

    def output_pixels(self, x: Tensor) -> Tensor | None:
        """A constant factor of the product for each output position, from the layer's input `x`, or None."""
        return None

    def output(self, y: Tensor, x: Tensor) -> Tensor:
        """What happens to the scaled product `y` before the bias; `x` is the layer's input."""
        gamma = self.output_gamma(tuple(y.shape[y.dim() - self.spec.spatial_axes :]))
        if gamma is not None:
            y = rescale(y, gamma)
        pixels = self.output_pixels(x)
        return y if pixels is None else multiply_pixels(y, pixels)

    def progress(self, t: float, dt: float) -> None:
        """Follow a schedule. `t` in [0, 1): training done so far; `dt`: until the next call's `t`."""

    def constrain_(self, w: Tensor) -> None:
        """Change the latent weight in place between two optimizer steps (called without grad)."""

    def reset_parameters(self, w: Tensor) -> None:
        """Initialise own parameters, given the layer's weight at conversion (called without grad)."""

    # -- what follows from them --------------------------------------------------------------------

    def quantize_activation(self, x: Tensor) -> Tensor:
        """±1 values of the input, differentiable through `activation_estimator`."""
        return binarize(self.activation(x), self.activation_estimator, ternary=self.ternary)

    def quantize_weight(self, w: Tensor) -> Tensor:
        """±1 values of the weight, differentiable through `weight_estimator`."""
        return binarize(self.weight(w), self.weight_estimator, ternary=self.ternary)

    def inference_form(self, w: Tensor) -> InferenceForm:
        """What remains at inference. Override it when `activation` or `output` leave something."""
        with torch.no_grad():
            return InferenceForm(weight=sign(self.weight(w)), channel_scale=self.scale(w))

    @property
    def exact_signs(self) -> bool:
        """Whether the product's factors are, at present, exactly the signs of `activation` and `weight`.

        Such layers run on one fused function, and on the compiled kernels where those apply. An operator
        with `quantize_*` of its own computes in float, unless it overrides this too.
        """
        cls = type(self)
        return (
            not self.ternary
            and cls.quantize_activation is Operator.quantize_activation
            and cls.quantize_weight is Operator.quantize_weight
        )

    @property
    def rectified(self) -> Rectified | None:
        """How filters are scaled and clamped, if that is all that `weight` does: then no scaled filters are kept.

        For learned scales; the estimator behind it passes gradients unchanged.
        """
        return None

    @property
    def plain_slots(self) -> bool:
        """Whether `activation` and `output` do what `activation_shift`, `output_gamma` and `output_pixels` say, and no
        more: then they are done while the product is computed.
        """
        cls = type(self)
        return cls.activation is Operator.activation and cls.output is Operator.output

    @property
    def scheduled(self) -> bool:
        """Whether training must report its progress to this operator."""
        cls = type(self)
        return cls.progress is not Operator.progress or cls.constrain_ is not Operator.constrain_

    def extra_repr(self) -> str:
        return self.name if self.profile == "default" else f"{self.name}, profile={self.profile}"


Class = TypeVar("Class", bound=type[Operator])


def operator(name: str) -> Callable[[Class], Class]:
    """Class decorator: enter an `Operator` subclass into the catalogue as `name`."""
    check_name("operator", name)

    def enter(cls: Class) -> Class:
        if not (inspect.isclass(cls) and issubclass(cls, Operator)):
            raise BiBenchError(f"@operator({name!r}) decorates a subclass of bibench.Operator, got {cls!r}")
        cls.name = name
        cls.title = cls.title or name
        OPERATORS.register(name, cls)
        return cls

    return enter


def known_operators() -> list[str]:
    """All operators: the paper's in its order, then the others by name; comparators are none of them."""
    return sorted((name for name in OPERATORS if not OPERATORS[name].comparator), key=paper_order)


def paper_order(name: str) -> tuple[int, str]:
    """Sort key: the paper's operators in its order, then the others by name (options are ignored)."""
    base = name.partition("[")[0]
    return (PAPER_ORDER.index(base) if base in PAPER_ORDER else len(PAPER_ORDER), name)


def choice(option: str, value: str, allowed: tuple[str, ...]) -> str:
    """`value` if it is among `allowed`, else a `BiBenchError` naming them."""
    if value not in allowed:
        raise BiBenchError(f"{option} must be one of {', '.join(allowed)}; got {value!r}")
    return value


def channel_mean_abs(w: Tensor) -> Tensor:
    """α_c = mean |w_c| over all axes but the first, detached; shape (C_o,) (Eq. 1)."""
    return mean_magnitudes(as_rows(w.detach()))
