"""ResRep: pruning by compactors whose gradients are reset (Ding et al., ICCV 2021).

https://arxiv.org/abs/2007.03260
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bibench import auditing, layers
from bibench.auditing import Audit, audit
from bibench.calls import Call, trace
from bibench.comparators.filters import Filters, Products, fit_to, keep_filters, merge_norm, removable, sizes, weakest
from bibench.compressor import Compressor, compressor
from bibench.errors import BiBenchError, UnsupportedError
from bibench.fx_leaf import make_leaf

FULL, GONE = 0.25, 0.5
"""When, as shares of the training, as many rows are marked as the target needs, and when marked rows are held at 0."""


@compressor("resrep")
class ResRep(Compressor):
    r"""A 1×1 convolution Q (compactor, at first the identity) behind each conv-BN; its vanishing rows are removed.

    The gradient of row j of a compactor is that of the loss times the mask m_j, plus a group lasso:

        G(Q_j) = m_j · ∂L/∂Q_j + λ · Q_j/‖Q_j‖                                          (gradient resetting)

    Marked rows (m_j = 0) forget the loss and shrink towards 0, all others keep the performance. At the start of
    each epoch the rows with the smallest ‖Q_j‖ over the whole network are marked until the network without them
    has saved enough multiply-accumulates: a share of `reduction` that grows from 0 after the first epoch to all
    of it at a quarter of the training. (The paper marks 4 more every 200 iterations; this is the same for a
    training of any length.) From half the training on the marks stay and marked rows are held at 0: in a long
    training they are there by then, and in a short one the rest of the network has time to do without them.
    Norms are read by the host once an epoch.

    After training the marked rows are removed, and conv, BN and what is left of Q become one convolution:

        K'_j = Σ_i Q_ji γ_i/σ_i K_i,     b'_j = Σ_i Q_ji (β_i - μ_i γ_i/σ_i)

    which computes what the three did, without the marked rows. Only convolutions whose BN follows at once can be
    merged: of VGG-Small, which pools before each second BN, every other one. Nothing is trained afterwards.

    Args:
        reduction: share of the multiply-accumulates to save, in (0, 1).
        strength: λ.
    """

    title = "ResRep"
    paper = "Ding et al., ResRep: Lossless CNN Pruning via Decoupling Remembering and Forgetting, ICCV 2021"
    formula = r"G(Q_j) = m_j\,\tfrac{\partial L}{\partial Q_j} + \lambda\,\tfrac{Q_j}{\|Q_j\|}"

    def __init__(self, *, reduction: float = 0.5, strength: float = 1e-4) -> None:
        for name, value in (("reduction", reduction), ("strength", strength)):
            if not isinstance(value, int | float) or not 0 < value < 1:
                raise BiBenchError(f"resrep: {name} must be a number between 0 and 1, got {value!r}")
        self.reduction, self.strength = float(reduction), float(strength)
        self._found: list[Filters] = []
        self._products = Products({}, [], {})

    def check(self, model: nn.Module, calls: Mapping[nn.Module, Call]) -> None:
        self._look(model, calls)

    def prepare(self, model: nn.Module, example_inputs: Any, *, pad_value: float = 0.0) -> Audit:
        self._look(model, trace(model, example_inputs))
        for filters in self._found:
            CompactedNorm.convert_(model.get_submodule(filters.norm), self.strength)
        return audit(model, example_inputs)

    def progress(self, model: nn.Module, t: float, dt: float) -> None:
        layers.progress(model, t, dt)
        compactors = self._compactors(model)
        if not compactors or t < dt:
            return
        for one in compactors:
            one.gone = t >= GONE
        if compactors[0].marked_at < min(t, GONE):
            self._mark(compactors, min(1.0, t / FULL))
            compactors[0].marked_at = t

    def finish(self, model: nn.Module, example_inputs: Any) -> Audit:
        compactors = self._compactors(model)
        if compactors[0].marked_at < GONE:  # a training of an epoch or none
            self._mark(compactors, 1.0)
        for filters in self._found:
            merge(model, filters)
        return audit(model, example_inputs)

    def restore(self, model: nn.Module, example_inputs: Any, state: Mapping[str, Tensor], **prepared: Any) -> None:
        fit_to(model, state)

    def outline(self, model: nn.Module, example_inputs: Any, *, pad_value: float = 0.0) -> nn.Module:
        raise UnsupportedError("resrep decides in training which filters go; what is left is counted on a trained cell")

    def _look(self, model: nn.Module, calls: Mapping[nn.Module, Call]) -> None:
        found = [f for f in removable(model) if f.adjacent and _has_statistics(model.get_submodule(f.norm))]
        if not found:
            raise UnsupportedError(f"resrep: {type(model).__name__} has no convolution that a BN follows at once")
        macs = {row.name: row.macs or 0 for row in auditing.build(model, calls, {}).rows}
        self._found, self._products = found, Products(macs, found, sizes(model, found))
        most = self._products.reduction(dict.fromkeys(self._products.sizes, 1))
        if self.reduction > most:
            raise BiBenchError(
                f"resrep: reduction={self.reduction:g} cannot be reached: with one filter left of each of "
                f"{len(found)} convolutions {most:.3f} of the multiply-accumulates are saved"
            )

    def _compactors(self, model: nn.Module) -> list[Compactor]:
        norms = [model.get_submodule(filters.norm) for filters in self._found]
        return [norm.operator for norm in norms if isinstance(norm, CompactedNorm)]

    def _mark(self, compactors: list[Compactor], share: float) -> None:
        norms = torch.cat([c.norms() for c in compactors]).tolist()
        strengths: dict[str, list[float]] = {}
        for filters, compactor in zip(self._found, compactors, strict=True):
            count = compactor.mask.numel()
            strengths[filters.conv], norms = norms[:count], norms[count:]
        target = share * self.reduction
        marked = weakest(strengths, lambda left: self._products.reduction(left) >= target)
        for filters, compactor in zip(self._found, compactors, strict=True):
            mask = [float(i not in marked[filters.conv]) for i in range(compactor.mask.numel())]
            compactor.mask.copy_(torch.tensor(mask))


class Compactor(nn.Module):
    """The 1×1 convolution of `count` channels, with the mask of its rows (0: marked)."""

    mask: Tensor

    def __init__(self, count: int, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.weight = nn.Parameter(torch.eye(count).reshape(count, count, 1, 1))
        self.register_buffer("mask", torch.ones(count))
        self.marked_at = 0.0
        self.gone = False

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = _Reset.apply(self.weight, self.mask, self.strength)
        return F.conv2d(x, weight * self.mask[:, None, None, None] if self.gone else weight)

    @torch.no_grad()
    def norms(self) -> Tensor:
        """‖Q_j‖ of every row."""
        return torch.linalg.vector_norm(self.weight.flatten(1), 2, 1)

    def get_extra_state(self) -> Tensor:
        """When rows were last marked, on the host: a training continued within an epoch must not mark anew."""
        return torch.tensor(self.marked_at, dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        self.marked_at = float(state)


class _Reset(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, mask: Tensor, strength: float) -> Tensor:
        return weight.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        weight, mask, ctx.strength = inputs
        ctx.save_for_backward(weight, mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        weight, mask = ctx.saved_tensors
        rows = weight.flatten(1)
        norms = torch.linalg.vector_norm(rows, 2, 1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
        reset = grad.flatten(1) * mask[:, None] + ctx.strength * rows / norms
        return reset.view_as(weight), None, None


class CompactedNorm(nn.BatchNorm2d):
    """A batch norm with a compactor behind it, under ``operator.`` as an operator's own parameters are."""

    operator: Compactor

    @classmethod
    def convert_(cls, module: nn.Module, strength: float) -> None:
        """Make the batch norm `module` one with a compactor, in place."""
        assert isinstance(module, nn.BatchNorm2d)
        reference = module.running_mean if module.running_mean is not None else module.weight
        module.__class__ = cls
        module.operator = Compactor(module.num_features, strength).to(reference)  # type: ignore[assignment]
        if module.affine:  # what is frozen stays so
            module.operator.requires_grad_(module.weight.requires_grad)
        make_leaf(module)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.operator(super().forward(x))
        return out


def _has_statistics(norm: nn.Module) -> bool:
    return isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None


@torch.no_grad()
def merge(model: nn.Module, filters: Filters) -> None:
    """Make conv, norm and the unmarked rows of the compactor one smaller convolution with a bias."""
    conv, norm = model.get_submodule(filters.conv), model.get_submodule(filters.norm)
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, CompactedNorm)
    kept = norm.operator.mask.nonzero().flatten()
    weight, bias = merged(conv, norm)
    keep_filters(model, filters, kept)
    merge_norm(model, filters)
    assert conv.bias is not None
    conv.weight.copy_(weight[kept])
    conv.bias.copy_(bias[kept])


def merged(conv: nn.Conv2d, norm: CompactedNorm) -> tuple[Tensor, Tensor]:
    """K' and b' of all rows, from conv, norm in evaluation, and compactor; summed in float64."""
    assert norm.running_mean is not None and norm.running_var is not None
    rows = norm.operator.weight.flatten(1).double()
    factor = (norm.running_var.double() + norm.eps).rsqrt()
    shift = -norm.running_mean.double() if conv.bias is None else conv.bias.double() - norm.running_mean.double()
    if norm.affine:
        factor = factor * norm.weight.double()
    bias = shift * factor + (norm.bias.double() if norm.affine else 0)
    filters = conv.weight.double() * factor[:, None, None, None]
    kernel = torch.einsum("ji,i...->j...", rows, filters)
    return kernel.to(conv.weight), (rows @ bias).to(conv.weight)
