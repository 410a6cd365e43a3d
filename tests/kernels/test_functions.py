"""Both forms of an autograd function compute the same."""

from typing import Any

import torch
from torch import Tensor

from bibench.kernels.functions import apply, eager


@eager
class Scaled(torch.autograd.Function):
    """x · factor, with twice the gradient, to tell it from what autograd finds by itself."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x * factor

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return 2 * ctx.factor * grad, None


def test_both_forms_agree() -> None:
    for form in (Scaled.apply, lambda *inputs: apply(Scaled, *inputs)):
        x = torch.arange(3.0, requires_grad=True)
        y = form(x, 3.0)
        assert y.tolist() == [0.0, 3.0, 6.0]
        y.sum().backward()
        assert x.grad is not None and x.grad.tolist() == [6.0, 6.0, 6.0]


def test_transforms_see_the_function() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    gradients = torch.func.vmap(torch.func.grad(lambda row: apply(Scaled, row, 3.0).sum()))(x)
    assert torch.equal(gradients, torch.full((2, 3), 6.0))


def test_the_node_has_the_name_of_the_function() -> None:
    y = apply(Scaled, torch.ones(2, requires_grad=True), 1.0)
    assert y.grad_fn.name() == "ScaledBackward"
