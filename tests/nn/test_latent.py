"""Weights that pruning left out are never taken for +1 without a word."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import bibench
from bibench.deploy.statement import statements
from bibench.foundation.errors import BinarizationWarning, UnsupportedError
from bibench.nn.embedding import BinarizableEmbedding
from bibench.nn.latent import PARAMETRIZED, PRUNED, share_of_zeros

HALF = torch.tensor([1.0, 0.0] * 32).reshape(8, 8)


class Masked(nn.Module):
    """As the parametrizations of torch.ao's sparsifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", HALF)

    def forward(self, w: Tensor) -> Tensor:
        return w * self.mask


class Doubled(nn.Module):
    def forward(self, w: Tensor) -> Tensor:
        return 2 * w


def _sparsified(layer: nn.Module) -> None:
    sparsity = pytest.importorskip("torch.ao.pruning.sparsifier.utils")
    parametrize.register_parametrization(layer, "weight", sparsity.FakeSparsity(HALF))


MASKS: dict[str, Callable[[nn.Module], object]] = {
    "l1": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    "structured": lambda layer: prune.ln_structured(layer, "weight", amount=2, n=2, dim=0),
    "mask": lambda layer: prune.custom_from_mask(layer, "weight", HALF),
    "twice": lambda layer: [prune.random_unstructured(layer, "weight", amount=0.2) for _ in range(2)],
    "identity": lambda layer: prune.identity(layer, "weight"),
    "parametrized": lambda layer: parametrize.register_parametrization(layer, "weight", Masked()),
    "sparsifier": _sparsified,
}
OTHERS: dict[str, Callable[[nn.Module], object]] = {
    "weight norm": torch.nn.utils.weight_norm,
    "spectral norm": torch.nn.utils.spectral_norm,
    "new weight norm": parametrizations.weight_norm,
    "new spectral norm": parametrizations.spectral_norm,
    "own": lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
}
REASONS = {**dict.fromkeys(MASKS, PRUNED), **dict.fromkeys(OTHERS, PARAMETRIZED)}


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 8))


def binary(operator: str = "bnn", **options: object) -> nn.Sequential:
    made = model()
    bibench.binarize(made, operator, example_inputs=torch.randn(2, 8), **options)
    return made


@pytest.mark.parametrize("how", REASONS)
def test_before_the_conversion_the_layer_stays(how: str) -> None:
    made, x = model(), torch.randn(3, 8)
    {**MASKS, **OTHERS}[how](made[1])
    made.append(nn.Linear(8, 8)).eval()
    made[1](x)  # hooks compute the weight
    before = made[1].weight.detach().clone()
    audit = bibench.binarize(made, "bnn", example_inputs=x, keep=())
    assert {row.name: row.reason for row in audit.rows}["1"] == REASONS[how]
    assert torch.allclose(made[1](x), x @ before.T, atol=1e-6)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("how", REASONS)
def test_after_the_conversion_the_forward_is_refused(how: str, mode: str) -> None:
    made, x = binary(), torch.randn(3, 8)
    getattr(made, mode)()
    {**MASKS, **OTHERS}[how](made[1])
    with pytest.raises(UnsupportedError, match=rf"layer '1' .*{REASONS[how].replace('(', '.').replace(')', '.')}"):
        made(x)
    stated = {s.name: s.refusal for s in statements(made)}
    assert stated["1"].startswith(REASONS[how])


def test_export_is_refused_in_one_line(tmp_path) -> None:
    made, x = binary().eval(), torch.randn(3, 8)
    prune.l1_unstructured(made[1], "weight", amount=0.5)
    with pytest.raises(UnsupportedError, match=r"does not run this model: 1: its weight is pruned") as caught:
        bibench.export(made, tmp_path / "model.onnx", x)
    assert "\n" not in str(caught.value)


def test_a_full_precision_operator_honours_the_mask() -> None:
    made, x = binary("fp32"), torch.randn(3, 8)
    prune.custom_from_mask(made[1], "weight", HALF)
    assert torch.equal(made[1](x), x @ (made[1].weight_orig * HALF).T)


def test_an_operator_with_a_level_at_zero_honours_the_mask() -> None:
    made, x = binary("lsq", bits=4), torch.randn(3, 8)
    prune.custom_from_mask(made[1], "weight", HALF)
    made(x)
    assert not made[1].operator.quantize_weight(made[1].weight)[HALF == 0].any()
    without = binary("dorefa_k", bits=2)
    prune.custom_from_mask(without[1], "weight", HALF)
    with pytest.raises(UnsupportedError, match="its weight is pruned"):
        without(x)


def test_a_pruned_bias_is_a_bias() -> None:
    made = model()
    bibench.binarize(made, "bnn", example_inputs=torch.randn(2, 8), keep=())
    prune.custom_from_mask(made[0], "bias", torch.tensor([0.0] * 8))
    x = torch.randn(3, 8)
    signs = torch.where(made[0].weight >= 0, 1.0, -1.0)
    assert torch.equal(made[0](x), torch.where(x >= 0, 1.0, -1.0) @ signs.T)


def test_embeddings_too() -> None:
    def words() -> nn.Sequential:
        return nn.Sequential(BinarizableEmbedding(8, 8, padding_idx=0), nn.Linear(8, 8), nn.Linear(8, 2))

    ids, made = torch.arange(8).reshape(2, 4), words()
    prune.custom_from_mask(made[0], "weight", HALF)
    audit = bibench.binarize(made, "bnn", example_inputs=ids, keep=("2",))
    assert {row.name: row.reason for row in audit.rows}["0"] == PRUNED
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bibench.binarize(made := words(), "bnn", example_inputs=ids, keep=("2",))  # the padding's row of zeros is none
    prune.custom_from_mask(made[0], "weight", HALF)
    with pytest.raises(UnsupportedError, match=r"BinaryEmbedding .*its weight is pruned"):
        made(ids)


@pytest.mark.parametrize("how", ["l1", "structured", "mask"])
def test_exact_zeros_are_told(how: str) -> None:
    made = model()
    MASKS[how](made[1])
    prune.remove(made[1], "weight")
    share = float((made[1].weight == 0).float().mean())
    with pytest.warns(BinarizationWarning, match=rf"layer '1': {100 * share:.3g} % of its weights are .*pruning"):
        bibench.binarize(made, "bnn", example_inputs=torch.randn(2, 8))


def test_zeros_are_told_at_export(tmp_path) -> None:
    """Removed after the training, the mask leaves its zeros."""
    made, x = binary().eval(), torch.randn(3, 8)
    prune.l1_unstructured(made[1], "weight", amount=0.5)
    prune.remove(made[1], "weight")
    with pytest.warns(BinarizationWarning, match="layer '1': 50 % of its weights are exactly 0"):
        bibench.export(made, tmp_path / "model.onnx", x, "onnxruntime")


def test_ordinary_weights_are_not_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = binary()
        with torch.no_grad():
            made[0].weight.zero_()  # full precision: nobody takes its signs
        binary("lsq")
    assert share_of_zeros(made[1]) == 0
    with torch.no_grad():
        made[1].weight[:4] = 0
    assert share_of_zeros(made[1]) == 0.5
    assert share_of_zeros(binary("lsq")[1]) == 0
    ternary = binary("dorefa", profile="bibench")[1]
    with torch.no_grad():
        ternary.weight.zero_()
    assert share_of_zeros(ternary) == 0


def test_storage_elsewhere_is_no_mask() -> None:
    """Sharded training puts plain views in the place of parameters."""
    made, x = binary(), torch.randn(3, 8)
    expected = made(x)
    weight = made[1].weight
    del made[1]._parameters["weight"]
    made[1].weight = weight.view(8, 8)
    assert torch.equal(made(x), expected)
    swapped = torch.func.functional_call(binary(), {"1.weight": -weight.detach()}, (x,))
    assert swapped.shape == expected.shape
