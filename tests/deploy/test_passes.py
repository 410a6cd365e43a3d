"""Folding: what is folded gives the same numbers, and what must not be folded stays."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import bibench
from bibench.deploy.graph import Canonical, canonical
from bibench.deploy.plain import lower

from .models import Around, stir


def run(graph: Canonical, x: Tensor) -> np.ndarray:
    content = ir.to_proto(lower(graph.model)).SerializeToString()
    session = onnxruntime.InferenceSession(content)
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def folded(model: nn.Module, x: Tensor, operator: str = "dorefa", layer: str = "layer") -> Canonical:
    """The folded graph, after it was proved equal to the trained model."""
    bibench.binarize(model, {layer: operator}, example_inputs=x, keep=())
    stir(model)
    graph = canonical(model, x)
    with torch.no_grad():
        expected = model(x).numpy()
    np.testing.assert_allclose(run(graph, x), expected, rtol=1e-5, atol=2e-6 * np.abs(expected).max())
    np.testing.assert_allclose(run(canonical(model, x, fold=False), x), expected, rtol=1e-5, atol=2e-6)
    return graph


def kinds(graph: Canonical) -> list[str]:
    return [node.op_type for node in graph.model.graph]


class WithConstant(Around):
    """A layer with a constant for each channel."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(4, 4, 3))
        self.constant = nn.Parameter(torch.randn(4, 1, 1))


X = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class TestFolded:
    @pytest.mark.parametrize("operator", ["bnn", "dorefa", "xnor", "xnorpp", "reactnet"])
    @pytest.mark.slow_but("bnn")
    def test_batch_norm(self, operator: str) -> None:
        graph = folded(Around(nn.Conv2d(4, 5, 3, padding=1), nn.BatchNorm2d(5)), X, operator)
        assert kinds(graph) == ["BinaryConv"]
        names = [v.name.split(".")[-1] for v in graph.nodes["layer"].inputs if v is not None]
        assert ("post_scale" in names) == (operator in ("xnor", "xnorpp"))

    @pytest.mark.parametrize(
        "then",
        [
            nn.Hardtanh(),
            nn.Hardtanh(-0.25, 2.0),
            nn.ReLU(),
            nn.ReLU6(),
            nn.PReLU(),
            nn.PReLU(5),
            nn.LeakyReLU(0.3),
            nn.Sequential(nn.BatchNorm2d(5), nn.PReLU(5, init=-0.5)),
        ],
        ids=str,
    )
    @pytest.mark.slow_but("ReLU6()")
    def test_activations(self, then: nn.Module) -> None:
        graph = folded(Around(nn.Conv2d(4, 5, 3), then), X)
        assert kinds(graph) == ["BinaryConv"]

    @pytest.mark.slow
    def test_residual_and_then_an_activation(self) -> None:
        class Block(Around):
            def forward(self, x: Tensor) -> Tensor:
                return torch.relu(self.then(self.layer(x)) + x)

        graph = folded(Block(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)), X)
        assert kinds(graph) == ["BinaryConv"]
        assert graph.folded == {"threshold": 0, "affine": 1, "residual": 1, "activation": 1}

    def test_of_two_branches_the_later_takes_the_other(self) -> None:
        class Branches(Around):
            def forward(self, x: Tensor) -> Tensor:
                return self.layer(x) + self.then(x)

        model = Branches(nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 1))
        bibench.binarize(model, "bnn", example_inputs=X, keep=())
        graph = canonical(model.eval(), X)
        assert kinds(graph) == ["BinaryConv", "BinaryConv"]
        with torch.no_grad():
            np.testing.assert_allclose(run(graph, X), model(X).numpy(), rtol=1e-6)

    @pytest.mark.parametrize("shifted", [torch.add, torch.sub])
    @pytest.mark.slow
    def test_a_shift_before_the_sign(self, shifted: Callable[[Tensor, Tensor], Tensor]) -> None:
        class Shifted(WithConstant):
            def forward(self, x: Tensor) -> Tensor:
                return self.layer(shifted(x, self.constant))

        graph = folded(Shifted(), X, "bnn")
        assert kinds(graph) == ["BinaryConv"]
        assert graph.folded["threshold"] == 1

    def test_factors_and_norms_of_linear_layers(self) -> None:
        class Scaled(Around):
            def forward(self, x: Tensor) -> Tensor:
                return torch.relu((self.then(self.layer(x)) * 0.5 - 2.0) / 3.0)

        graph = folded(Scaled(nn.Linear(12, 7), nn.BatchNorm1d(7)), torch.randn(5, 12), "xnor")
        assert kinds(graph) == ["BinaryLinear"]


@pytest.mark.slow
class TestNotFolded:
    def test_a_value_that_is_used_elsewhere(self) -> None:
        class Twice(Around):
            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                y = self.layer(x)
                return self.then(y), y

        model = Twice(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        bibench.binarize(model, "bnn", example_inputs=X, keep=())
        assert kinds(canonical(stir(model), X)) == ["BinaryConv", "BatchNormalization"]

    def test_a_norm_behind_a_residual_or_an_activation(self) -> None:
        class Late(Around):
            def forward(self, x: Tensor) -> Tensor:
                return self.then(torch.relu(self.layer(x) + x))

        graph = folded(Late(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)), X)
        assert kinds(graph) == ["BinaryConv", "BatchNormalization"]

    @pytest.mark.parametrize("flipped", [torch.sub, torch.div])
    def test_a_constant_that_comes_first(self, flipped: Callable[[Tensor, Tensor], Tensor]) -> None:
        class Flipped(WithConstant):
            def forward(self, x: Tensor) -> Tensor:
                return flipped(self.constant, self.layer(x) + 40.0)  # of which the sum is folded

        assert kinds(folded(Flipped(), X, "bnn")) == ["BinaryConv", flipped.__name__.title()]

    def test_a_shortcut_of_another_shape(self) -> None:
        class Broadcast(Around):
            def forward(self, x: Tensor) -> Tensor:
                return self.layer(x) + x.mean((2, 3), keepdim=True)

        assert kinds(folded(Broadcast(nn.Conv2d(4, 4, 3, padding=1)), X))[-1] == "Add"

    def test_a_norm_over_the_tokens_of_a_linear_layer(self) -> None:
        graph = folded(Around(nn.Linear(6, 5), nn.BatchNorm1d(3)), torch.randn(4, 3, 6))
        assert kinds(graph) == ["BinaryLinear", "BatchNormalization"]

    def test_a_shift_that_makes_several_channels_of_one(self) -> None:
        class Spread(Around):
            def forward(self, x: Tensor) -> Tensor:
                return self.layer(x[:, :1] + torch.tensor([0.5, -0.5, 0.1, -0.1]).reshape(4, 1, 1))

        graph = folded(Spread(nn.Conv2d(4, 4, 3)), X, "bnn")
        assert kinds(graph)[-2:] == ["Add", "BinaryConv"]
        assert graph.folded["threshold"] == 0

    def test_a_shift_that_the_activation_scale_sees(self) -> None:
        class Shifted(Around):
            def forward(self, x: Tensor) -> Tensor:
                return self.layer(x + 0.5)

        assert kinds(folded(Shifted(nn.Conv2d(4, 4, 3)), X, "xnor")) == ["Add", "BinaryConv"]
