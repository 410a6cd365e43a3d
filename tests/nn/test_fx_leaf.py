"""torch.fx takes a binarized network as it takes the float one: its layers are leaves."""

import copy
import pickle

import pytest
import torch
import torchvision
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import bibench
from bibench.comparators.resrep import CompactedNorm
from bibench.nn.attention import Attention
from bibench.nn.embedding import BinarizableEmbedding
from bibench.nn.layers import binary_layers, progress

X = torch.randn(2, 3, 32, 32)


@pytest.mark.parametrize("operator", ["bnn", "reactnet", "recu", "fda", "xnor", "xnorpp", "lsq", "pact"])
@pytest.mark.slow
def test_feature_extraction(operator: str) -> None:
    model = torchvision.models.resnet18(num_classes=4)
    names = get_graph_node_names(model)
    bibench.binarize(model, operator, example_inputs=X)
    assert get_graph_node_names(model) == names
    progress(model, 0.0, 0.1)
    extractor = create_feature_extractor(model, {"layer1": "whole", "layer2.0.conv1": "one"})
    seen = {}
    for name in ("layer1", "layer2.0.conv1"):
        model.get_submodule(name).register_forward_hook(lambda m, x, y, name=name: seen.update({name: y}))
    extractor.eval(), model.eval()
    found, _ = extractor(X), model(X)
    assert torch.equal(found["whole"], seen["layer1"])
    assert torch.equal(found["one"], seen["layer2.0.conv1"])
    sum(y.square().mean() for y in extractor.train()(X).values()).backward()
    reached = dict(binary_layers(extractor))
    assert all(p.grad is not None for layer in reached.values() for p in layer.parameters() if p.requires_grad)
    assert len(reached) == 5


class Tokens(nn.Module):
    """All that is binarized; a layer that is called by name, and one of what is no input."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.query, self.attention = BinarizableEmbedding(10, 8), nn.Linear(8, 8), Attention()
        self.places, self.conv, self.head = nn.Linear(8, 8), nn.Conv1d(8, 8, 3, padding=1), nn.Linear(8, 3)
        self.register_buffer("grid", torch.randn(5, 8))

    def forward(self, ids: Tensor) -> Tensor:
        q = self.query(input=self.embed(ids) + self.places(self.grid))
        attended = self.attention(q, q, q)
        out: Tensor = self.head(self.conv(attended.transpose(1, 2)).transpose(1, 2))
        return out


class TestGraphs:
    def graph(self) -> tuple[Tokens, fx.GraphModule]:
        model = Tokens()
        bibench.binarize(model, "reactnet", example_inputs=torch.arange(10).view(2, 5))
        return model, fx.symbolic_trace(model)

    def test_every_binarized_module_is_one_node(self) -> None:
        model, graph = self.graph()
        called = [node.target for node in graph.graph.nodes if node.op == "call_module"]
        assert sorted(called) == sorted(name for name, _ in model.named_children())

    def test_copied_pickled_and_traced_again(self) -> None:
        model, graph = self.graph()
        ids = torch.arange(10).view(2, 5)
        for again in (graph, copy.deepcopy(graph), fx.symbolic_trace(graph), pickle.loads(pickle.dumps(graph))):
            assert torch.equal(again(ids), model(ids))

    def test_the_layers_are_those_of_the_model(self) -> None:
        model, graph = self.graph()
        graph(torch.arange(10).view(2, 5)).sum().backward()
        assert all(p.grad is not None for p in model.query.parameters())

    def test_hooks_run_once(self) -> None:
        model, ids = Tokens(), torch.arange(10).view(2, 5)
        bibench.binarize(model, "bnn", example_inputs=ids)
        model.query.register_forward_hook(lambda layer, inputs, output: 2 * output)
        assert torch.equal(fx.symbolic_trace(model)(ids), model(ids))


def test_the_class_is_pickled_under_its_own_name() -> None:
    layer = nn.Linear(8, 8)
    bibench.binarize(layer, "bnn", example_inputs=torch.randn(2, 8), keep=())
    again = pickle.loads(pickle.dumps(layer))
    assert type(again) is type(layer)
    assert type(again).__module__ == "bibench.nn.layers"


def test_a_norm_with_a_compactor() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
    CompactedNorm.convert_(model[1], 1e-4)
    assert torch.equal(fx.symbolic_trace(model)(X), model(X))
