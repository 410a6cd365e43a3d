"""What an operator is: how a layer is binarized, in a few slots from which its `Description` follows.

An operator belongs to one layer and is built for its `LayerSpec`, so every parameter exists before
the optimizer does. A layer with operator ``op``, weight w and input x computes

    a = ±1: sign of op.activation(x), surrogate gradient behind it
    b = ±1: sign of op.weight(w)
    y = op.output(scale · (a ⊛ b), x)      # integer dot product, op.scale(w) per output channel
    y = y + bias

A new operator overrides only what differs: most set the two estimators and `scale`. What else there may be (a window of
sums, a gate, learned factors along the map …) is said by `describe`. Which computation serves, kernels or PyTorch, is
none of an operator's business (`bibench.nn.computing`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from bibench.foundation.errors import BiBenchError, UnsupportedError
from bibench.foundation.registry import Registry, check_name
from bibench.foundation.slips import nearest_base, overrides, slips, tell
from bibench.kernels.rows import as_rows, mean_magnitudes, shifted
from bibench.kernels.spec import LayerSpec
from bibench.kernels.surrogate import STE, Surrogate
from bibench.operators import description
from bibench.operators.description import Description, InferenceForm, Signs
from bibench.operators.method import Method, Techniques
from bibench.operators.names import paper_order

OPERATORS: Registry[type[Operator]] = Registry("operator", "bibench.operators", "bibench.comparators")
"""The operators and comparators by name; `operator` enters one."""


class Operator(Method, nn.Module):
    """Base class of all operators.

    Args:
        spec: the layer it is built for.
        profile: which published variant: ``default`` (the paper's mathematics), or one of
            `profiles` ("original": the operator's own paper, "bibench": the official release,
            faithful to its peculiarities where it runs at all).

    Class attributes state what the operator is; the contract tests (``bibench check``) hold it to them.

    Raises:
        BiBenchError: a profile that it does not have.
        UnsupportedError: groups or a dilation under the profile ``bibench``, whose release ignores them.
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
    # Whether a recipe's weight decay applies to the latent weight; own parameters never decay.
    decays_filters: bool = True

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

    # -- the slots ---------------------------------------------------------------------------------

    def activation_shift(self) -> Tensor | None:
        """What `activation` adds to the input, a value for each channel as ``spec.per_input`` shapes it; or None."""
        return None

    def activation(self, x: Tensor) -> Tensor:
        """The real values whose sign enters the product. x: the layer's input.

        Args:
            x: the values, of any shape; the result has the same.
        """
        shift = self.activation_shift()
        return x if shift is None else shifted(x, shift)

    def weight(self, w: Tensor) -> Tensor:
        """The real values whose sign enters the product. w: the latent weight.

        Args:
            w: the latent weight, (C_o, C_i/g, k_h, k_w), (C_o, C_i/g, k) or (O, I); the result has the same.
        """
        return w

    def scale(self, w: Tensor) -> Tensor | None:
        """Scaling factor per output channel, shape (C_o,), or None.

        Args:
            w: the latent weight, (C_o, C_i/g, k_h, k_w), (C_o, C_i/g, k) or (O, I).
        """
        return None

    def output(self, y: Tensor, x: Tensor) -> Tensor:
        """What happens to the scaled product before the bias.

        Args:
            y: the scaled product, (B, C_o, L_o), (B, C_o, H_o, W_o) or (..., O); the result has the same shape.
            x: the layer's input, (B, C_i, L), (B, C_i, H, W) or (..., I).
        """
        return y

    def progress(self, t: float, dt: float) -> None:
        """Follow a schedule. `t` in [0, 1): training done so far; `dt`: until the next call's `t`."""

    def constrain_(self, w: Tensor) -> None:
        """Change the latent weight in place between two optimizer steps (called without grad).

        Args:
            w: the latent weight, (C_o, C_i/g, k_h, k_w), (C_o, C_i/g, k) or (O, I).
        """

    def reset_parameters(self, w: Tensor) -> None:
        """Initialise own parameters, given the layer's weight at conversion (called without grad).

        Args:
            w: the latent weight, (C_o, C_i/g, k_h, k_w), (C_o, C_i/g, k) or (O, I).
        """

    # -- the description, which follows from them or says more -----------------------------------------

    def activation_signs(self) -> Signs:
        """How the input is signed."""
        return Signs(
            self.activation_estimator,
            shift=self.activation_shift(),
            values=self.activation if self._has("activation") else None,
            ternary=self.profile == "bibench",  # the release uses torch.sign
            quantized=self.quantize_activation if self._has("quantize_activation") else None,
        )

    def weight_signs(self) -> Signs:
        """How the latent weight is signed."""
        return Signs(
            self.weight_estimator,
            values=self.weight if self._has("weight") else None,
            ternary=self.profile == "bibench",
            quantized=self.quantize_weight if self._has("quantize_weight") else None,
        )

    def describe(self, w: Tensor) -> Description:
        """What the layer computes; but for the scale, nothing is computed yet.

        Args:
            w: the latent weight, (C_o, C_i/g, k_h, k_w), (C_o, C_i/g, k) or (O, I).
        """
        return Description(
            activations=self.activation_signs(),
            weights=self.weight_signs(),
            scale=self.scale(w),
            scale_in_weight_gradient=self.scale_in_weight_gradient,
            gamma=getattr(self, "output_gamma", None),
            input_scale=getattr(self, "output_pixels", None),
            finish=self.output if self._has("output") else None,
        )

    def _has(self, slot: str) -> bool:
        """Whether a subclass has a slot of its own."""
        return getattr(type(self), slot) is not getattr(Operator, slot)

    # -- what follows from that --------------------------------------------------------------------

    def quantize_activation(self, x: Tensor) -> Tensor:
        """±1 values of the input, differentiable through `activation_estimator`.

        Args:
            x: the values, of any shape; the result has the same.
        """
        signs = self.activation_signs()
        return signs.plain(x) if self._has("quantize_activation") else signs(x)

    def quantize_weight(self, w: Tensor) -> Tensor:
        """±1 values of the weight, differentiable through `weight_estimator`.

        Args:
            w: the latent weight, (C_o, C_i/g, k_h, k_w), (C_o, C_i/g, k) or (O, I); the result has the same.
        """
        signs = self.weight_signs()
        return signs.plain(w) if self._has("quantize_weight") else signs(w)

    def inference_form(self, w: Tensor) -> InferenceForm:
        """What remains at inference. Override it when `activation` or `output` leave something.

        Args:
            w: the latent weight, (C_o, C_i/g, k_h, k_w), (C_o, C_i/g, k) or (O, I).
        """
        with torch.no_grad():
            return description.inference_form(self.describe(w), w, self.spec)

    @property
    def scheduled(self) -> bool:
        """Whether training must report its progress to this operator."""
        return self._has("progress") or self._has("constrain_")

    def extra_repr(self) -> str:
        return self.name if self.profile == "default" else f"{self.name}, profile={self.profile}"


Class = TypeVar("Class", bound=type[Operator])


def operator(name: str) -> Callable[[Class], Class]:
    """Class decorator: enter an `Operator` subclass into the catalogue as `name`.

    Raises:
        BiBenchError: the name is taken or none, or what is decorated is no `Operator` subclass.
    """
    check_name("operator", name)

    def enter(cls: Class) -> Class:
        if not (inspect.isclass(cls) and issubclass(cls, Operator)):
            raise BiBenchError(f"@operator({name!r}) decorates a subclass of bibench.Operator, got {cls!r}")
        cls.name = name
        cls.title = cls.title or name
        OPERATORS.register(name, cls)
        tell(doubts(cls))
        return cls

    return enter


ALSO_ASKED = ("output_gamma", "output_pixels")
"""Slots of own operators that the base class does not name; `Operator.describe` looks for them."""


def doubts(cls: type[Operator]) -> list[str]:
    """What lets one doubt that an operator computes what was meant: slots that are misspelled, or none at all.

    Args:
        cls: an operator; one of BiBench's own has nothing of the kind.
    """
    named = f"operator {cls.name!r}: "
    found = [f"{named}{slip}" for slip in slips(cls, Operator, ALSO_ASKED)]
    for slot in ("activation_estimator", "weight_estimator"):
        estimator = getattr(cls, slot)
        if isinstance(estimator, Surrogate):
            found += [f"{named}{slip}" for slip in slips(type(estimator), Surrogate)]
        elif inspect.isclass(estimator):
            found.append(f"{named}{slot} is a class; did you mean {estimator.__name__}()?")
    if not (cls.full_precision or cls is Operator or overrides(cls, Operator, ALSO_ASKED) or _ours(cls)):
        base = nearest_base(cls, Operator)
        same = "BNN" if base is Operator else getattr(base, "title", "") or base.__name__
        found.append(f"{named}{cls.__name__} overrides no slot, so that it computes what {same} computes")
        if "forward" in vars(cls):
            found[-1] += "; its forward is never called: layers ask for activation, weight, scale and output"
    return list(dict.fromkeys(found))


def _ours(cls: type[Operator]) -> bool:
    return cls.__module__.partition(".")[0] == "bibench"


def known_operators() -> list[str]:
    """All operators: the paper's in its order, then the others by name; comparators are none of them."""
    return sorted((name for name in OPERATORS if not OPERATORS[name].comparator), key=paper_order)


def channel_mean_abs(w: Tensor) -> Tensor:
    """α_c = mean |w_c| over all axes but the first, detached; shape (C_o,) (Eq. 1)."""
    return mean_magnitudes(as_rows(w.detach()))
