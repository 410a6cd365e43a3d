"""Which computation serves a layer: the first of a list of candidates that can do what its description says.

They give the same numbers, forward and backward, bit for bit, and differ in speed and memory (but for the gradients of
`float_product` with a learned scale, which are rounded elsewhere). Nothing else chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from bibench import native
from bibench.functions import apply
from bibench.fused import FusedSigns, fused_product
from bibench.operators.description import Description
from bibench.products import SignProduct, product, scaled_product
from bibench.rectified import RectifiedProduct
from bibench.rows import multiply_pixels, rescale
from bibench.spec import LayerSpec, exact


@dataclass(frozen=True)
class Case:
    """A layer at work: what it computes, from which input `x` and latent weight `w`, and how gradients are computed."""

    described: Description
    x: Tensor
    w: Tensor
    spec: LayerSpec
    backward: str

    @property
    def exact_signs(self) -> bool:
        """Whether both factors are ±1 and the border is a constant, so that signs may be taken while multiplying."""
        d = self.described
        return d.activations.exact and d.weights.exact and self.spec.padding_mode == "zeros"

    @property
    def by_product_rule(self) -> bool:
        """Whether there is a scale that multiplies the gradient of the weight."""
        scale = self.described.scale
        return scale is not None and (scale.requires_grad or self.described.scale_in_weight_gradient)

    @property
    def product_alone(self) -> bool:
        """Whether nothing is added to the product."""
        d = self.described
        return d.window is None and d.offset is None and d.gate is None and d.finish is None


Candidate = Callable[[Case], Tensor | None]
"""Gives a layer's output before the bias, or None where it does not serve."""


def compute(case: Case) -> Tensor:
    """The output of a layer before its bias."""
    return next(y for candidate in CANDIDATES if (y := candidate(case)) is not None)


def fused_convolution(case: Case) -> Tensor | None:
    """Signs, product, and all factors in one pass of the compiled kernels, where there is a shift or a factor."""
    d, x, w, spec = case.described, case.x, case.w, case.spec
    if not (spec.kind == "conv2d" and spec.groups == 1 and case.exact_signs and case.product_alone and x.numel()):
        return None
    if d.activations.values or d.activations.centre or d.weights.scaling or not native.serves(x, w):
        return None
    shift, scale = d.activations.shift, d.scale
    if (shift is not None and shift.shape != (spec.in_channels, 1, 1)) or case.by_product_rule:
        return None
    if shift is None and d.gamma is None and d.input_scale is None:
        return None
    u = d.weights.real(w)
    sizes, estimators = spec.output_sizes(tuple(x.shape[2:])), (d.activations.estimator, d.weights.estimator)
    # Before gamma, so that autograd is done with that, and has freed it, when it comes to the product.
    shape = (len(x), spec.out_channels, *sizes)
    dots, _ = FusedSigns.apply(x, u, shift, scale, shape, spec, estimators, case.backward)
    gamma = None if d.gamma is None else d.gamma(sizes)
    pixels = None if d.input_scale is None else d.input_scale(x)
    given = [t for t in (shift, gamma, pixels, scale) if t is not None]
    integers = scale is None and pixels is None and spec.fan_in < 2**15
    per_pixel = pixels is None or (pixels.shape == (len(x), 1, *sizes) and d.input_scale_in_gradient)
    if not (given and native.serves(*given) and per_pixel and (gamma is None or integers)):
        return None
    gamma = None if gamma is None else gamma.expand(spec.out_channels, *sizes)
    return fused_product(dots, x, u, shift, gamma, scale, pixels, spec)


def rectified_product(case: Case) -> Tensor | None:
    """Filters that are centred and scaled before their sign, with a learned scale: the scaled ones are never kept."""
    d, scaling, scale = case.described, case.described.weights.scaling, case.described.scale
    if scaling is None or scale is None or not (case.exact_signs and case.by_product_rule):
        return None
    values = exact(d.activations.real(case.x)), exact(case.w), exact(scale)
    y: Tensor = apply(RectifiedProduct, *values, case.spec, d.activations.estimator, scaling, case.backward)[0]
    return finished(case, y)


def sign_product(case: Case) -> Tensor | None:
    """Signs of real values, whose gradients follow the estimators; on the compiled kernels where those apply."""
    if not case.exact_signs:
        return None
    d = case.described
    factors = (d.activations.real(case.x), d.weights.real(case.w), d.scale)
    v, u, scale = (None if t is None else exact(t) for t in factors)
    how = (case.spec, (d.activations.estimator, d.weights.estimator), case.backward, case.by_product_rule)
    y: Tensor = apply(SignProduct, v, u, scale, *how)
    return finished(case, y)


def float_product(case: Case) -> Tensor:
    """Whatever stands in the place of ±1 (noise, zeros, more bits, a border that copies values), in PyTorch."""
    d = case.described
    a, b = d.activations(case.x), d.weights(case.w)
    fixed, first = d.scale_in_weight_gradient, d.weights.scale_first
    return finished(case, scaled_product(a, b, d.scale, case.spec, fixed, case.backward, first))


CANDIDATES: tuple[Candidate, ...] = (fused_convolution, rectified_product, sign_product, float_product)
"""In the order of preference; the last one serves always."""


def finished(case: Case, y: Tensor) -> Tensor:
    """What becomes of the scaled product `y` before the bias."""
    d, x, spec = case.described, case.x, case.spec
    if d.window is not None:
        y = y + spec.per_output(d.window) * window_sums(case)
    if d.offset is not None:
        y = y + spec.per_output(d.offset)
    gamma = None if d.gamma is None else d.gamma(tuple(y.shape[y.dim() - spec.spatial_axes :]))
    if gamma is not None:
        y = rescale(y, gamma)
    pixels = None if d.input_scale is None else d.input_scale(x)
    if pixels is not None:
        y = multiply_pixels(y, pixels) if d.input_scale_in_gradient else y + (y * pixels - y).detach()
    if d.gate is not None:
        y = y * d.gate(x)
    return y if d.finish is None else d.finish(y, x)


def window_sums(case: Case) -> Tensor:
    """(a ⊛ 1): the sum of the signed input over the window of each output position, (B, C_o, …)."""
    spec, a = case.spec, case.described.activations(case.x)
    ones = a.new_ones(spec.groups, *case.w.shape[1:])
    sums = product(a, ones, spec.with_outputs(spec.groups), case.backward)
    axis = sums.dim() - 1 - spec.spatial_axes
    return sums.repeat_interleave(spec.out_channels // spec.groups, axis) if spec.groups > 1 else sums
