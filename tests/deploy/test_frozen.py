"""Exported layers are, for the forward around them, the float layers that they were."""

import copy
import math
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

import bibench
from bibench.deploy import ENGINES, load
from bibench.deploy.calling import copied
from bibench.deploy.freezing import assert_inference_only, freeze
from bibench.deploy.frozen import Frozen
from bibench.deploy.parity import verify
from bibench.foundation.errors import ProofError
from bibench.nn.attention import Attention
from bibench.nn.embedding import BinarizableEmbedding

from .models import Around

ENGINE = "onnxruntime" if ENGINES["bibench"]().available() else "bibench"
LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "linear": (nn.Linear(6, 5), (3, 6)),
    "linear without bias": (nn.Linear(6, 5, bias=False), (6,)),
    "conv1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (4, 16)),
    "conv2d": (nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 0), groups=2, bias=False), (4, 9, 9)),
    "conv2d circular": (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), (3, 6, 6)),
}
OPERATORS = ("bnn", "xnor", "reactnet", "recu")


def frozen(model: nn.Module, *inputs: Tensor) -> Any:
    return freeze(model.eval(), inputs, {})


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("kind", LAYERS)
def test_all_of_the_float_layer_can_be_read(kind: str, operator: str) -> None:
    layer, shape = LAYERS[kind]
    layer.scale = "of the user"  # a name that the packed form has, too
    public = {name: value for name, value in vars(layer.eval()).items() if not name.startswith("_")}
    holder, x = Around(copy.deepcopy(layer)), torch.randn(2, *shape)
    bibench.binarize(holder, operator, example_inputs=x, keep=())
    made = frozen(holder, x).layer
    assert isinstance(made, type(layer))
    assert isinstance(made, Frozen)
    assert {name: getattr(made, name) for name in public} == public
    assert made.weight.dtype == layer.weight.dtype
    assert torch.equal(made.weight, holder.layer.weight)  # some operators clip the latent weight
    assert made.bias is None if layer.bias is None else torch.equal(made.bias, layer.bias)
    assert isinstance(made.weight, nn.Parameter)
    assert not made.weight.requires_grad
    assert repr(made).startswith("Frozen")
    assert not list(made.parameters())
    assert "weight" not in made.state_dict()


def test_embedding_and_attention_too() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = BinarizableEmbedding(11, 8, padding_idx=0)
            self.attention = Attention(0.1, strict=True)
            self.head = nn.Linear(8, 8)

        def forward(self, ids: Tensor) -> Tensor:
            x = self.words(ids)
            return self.head(self.attention(x, x, x))

    model, ids = Both(), torch.randint(1, 11, (2, 4))
    bibench.binarize(model, "bnn", example_inputs=ids, keep=())
    made = frozen(model, ids)
    assert isinstance(made.words, nn.Embedding)
    assert (made.words.num_embeddings, made.words.embedding_dim, made.words.padding_idx) == (11, 8, 0)
    assert torch.equal(made.words.weight, model.words.weight)
    assert isinstance(made.attention, Attention)
    assert (made.attention.strict, made.attention.dropout.p) == (True, 0.1)


class Reading(nn.Module):
    """Casts to a layer's dtype, and computes lengths from its geometry, as forwards of others do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False)
        self.fc, self.last = nn.Linear(8, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).to(self.conv.weight.dtype)
        size = (x.shape[-1] + 2 * self.conv.padding[0] - self.conv.kernel_size[0]) // self.conv.stride[0] + 1
        y = self.conv(x).flatten(2)[..., : size * size].mean(-1)
        if isinstance(self.fc, nn.Linear) and self.fc.bias is not None and y.shape[-1] == self.fc.in_features:
            y = self.fc(y.to(device=self.fc.weight.device)) / self.fc.weight.shape[0]
        return self.last(y)


@pytest.mark.parametrize("engine", [ENGINE, "torch"])
def test_a_forward_that_reads(engine: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Reading(), torch.randn(2, 3, 8, 8)
    bibench.binarize(model, "bnn", example_inputs=x)
    path = tmp_path / f"model{ENGINES[engine].extension}"
    bibench.export(model.eval(), path, x, engine)
    proof = verify(path, model, x)
    assert proof.equal, proof.summary()
    if engine != "torch":
        floats = [t for t in held(path, ("conv.", "fc.")) if t.data_type == onnx.TensorProto.FLOAT]
        assert max(math.prod(t.dims) for t in floats) == 16  # factors of channels, no weight


def held(path: Path, names: tuple[str, ...]) -> list[onnx.TensorProto]:
    return [t for t in onnx.load(str(path)).graph.initializer if t.name.startswith(names)]


def test_packed_weights_have_the_name_of_the_layer(tmp_path: Path) -> None:
    if ENGINE != "bibench":
        pytest.skip("the plain form holds ±1 weights")
    model, x = Reading(), torch.randn(2, 3, 8, 8)
    bibench.binarize(model, "xnor", example_inputs=x)
    bibench.export(model.eval(), tmp_path / "model.onnx", x, ENGINE)
    names = {t.name: t.data_type for t in held(tmp_path / "model.onnx", ("conv.", "fc."))}
    assert names["conv.weight"] == names["fc.weight"] == onnx.TensorProto.UINT8
    assert {"conv.scale", "fc.scale"} <= names.keys()


class Computing(nn.Module):
    """Computes with the values of a layer's weight beside its output, once it is told to."""

    reads = False

    def __init__(self) -> None:
        super().__init__()
        self.first, self.fc, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = self.fc(x)
        return self.last(y + F.linear(x, self.fc.weight) if self.reads else y)


def test_a_forward_that_computes_with_the_weight(tmp_path: Path) -> None:
    """The file has both, and the numbers are the model's; that more than bits is at work is told by `verify`."""
    torch.manual_seed(0)
    model, x = Computing(), torch.randn(4, 8)
    bibench.binarize(model, "bnn", example_inputs=x)
    model.reads = True
    bibench.export(model.eval(), tmp_path / "model.onnx", x, ENGINE)
    (given,) = load(tmp_path / "model.onnx")(x)
    torch.testing.assert_close(torch.from_numpy(given), model(x).detach(), rtol=1e-4, atol=1e-4)
    with pytest.raises(ProofError, match="'fc': its weight is read by the model itself"):
        verify(tmp_path / "model.onnx", model, x)


def test_hooks_of_the_user_stay(tmp_path: Path) -> None:
    model, x = Around(nn.Linear(8, 8), nn.Linear(8, 3)), torch.randn(4, 8)
    bibench.binarize(model, "bnn", example_inputs=x, keep=("then",))
    model.layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] - 0.3,))
    model.layer.register_forward_hook(lambda module, inputs, output: output * 2 + inputs[0])
    bibench.export(model.eval(), tmp_path / "model.onnx", x, ENGINE)
    proof = verify(tmp_path / "model.onnx", model, x)
    assert proof.equal, proof.summary()


def test_without_a_batch_axis() -> None:
    class Single(Around):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.layer(one) for one in x])

    model, x = Single(nn.Conv2d(3, 4, 3, padding=1)), torch.randn(2, 3, 6, 6)
    bibench.binarize(model, "bnn", example_inputs=x, keep=())
    with torch.no_grad():
        assert torch.equal(frozen(model, x)(x), model(x))


def test_no_latent_weight_is_a_parameter() -> None:
    model, x = Around(nn.Linear(8, 8)), torch.randn(4, 8)
    bibench.binarize(model, "bnn", example_inputs=x, keep=())
    made = frozen(model, x)
    assert_inference_only(made)
    made.layer._parameters["weight"] = nn.Parameter(torch.ones(8, 8))
    with pytest.raises(bibench.foundation.errors.BiBenchError, match="was not removed"):
        assert_inference_only(made)


def test_a_model_that_is_one_layer(tmp_path: Path) -> None:
    model, x = nn.Linear(8, 8), torch.randn(4, 8)
    bibench.binarize(model, "xnor", example_inputs=x, keep=())
    bibench.export(model.eval(), tmp_path / "model.onnx", x, ENGINE)
    proof = verify(tmp_path / "model.onnx", model, x)
    assert proof.equal, proof.summary()
    names = {t.name for t in onnx.load(str(tmp_path / "model.onnx")).graph.initializer}
    assert not [name for name in names if "operator" in name]


def test_copies_of_feature_extractors_stay_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 5), nn.Linear(5, 2)).eval()
    bibench.binarize(model, "bnn", example_inputs=torch.randn(3, 6))
    extractor = create_feature_extractor(model, ["1", "3"])
    assert not any(module.training for module in copied(extractor).modules())
