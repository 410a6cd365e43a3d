"""FSMN and Deep-FSMN: counts, structure, what stays full precision, and every operator on both."""

import pytest
import torch
from torch import nn

import bibench
from bibench.contracts import check
from bibench.foundation.errors import BiBenchError
from bibench.models import MODELS, create
from bibench.nn.layers import BinaryConv1d, BinaryLayer, progress
from bibench.operators import PAPER_ORDER

SPEECH = {"num_classes": 12, "input_shape": (1, 32, 32)}
BOTH = pytest.mark.parametrize("name", ["fsmn", "deep_fsmn"])

# Counted from the published sizes, layer by layer: weights, biases, norms, one slope per PReLU.
FSMN_PARAMETERS = (
    (32 * 128 + 128 + 256 * 7 + 256 * 128 + 1)  # first block
    + 7 * (128 * 128 + 128 + 256 * 7 + 256 * 128 + 1)
    + (128 * 32 * 12 + 12)
)
DEEP_FSMN_PARAMETERS = (
    (16 * 25 + 16 + 2 * 16 + 1)
    + (32 * 16 * 25 + 32 + 2 * 32 + 1)
    + (256 * 128 + 128 + 1)
    + 8 * ((128 * 5 + 128 + 256 + 1) + (128 * 256 + 256 + 512 + 1) + (256 * 128 + 128 + 256 + 1))
    + (128 * 8 * 12 + 12)
)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("fsmn", 445_460), ("deep_fsmn", 600_263), ("fsmn", FSMN_PARAMETERS), ("deep_fsmn", DEEP_FSMN_PARAMETERS)],
)
def test_parameter_counts(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create(name, **SPEECH)
    assert sum(p.numel() for p in model.parameters()) == parameters


@BOTH
def test_keeps_its_contracts(name: str) -> None:
    assert not [f for f in check("model", name) if f.problem]
    assert MODELS[name].family == "mlp"


@BOTH
@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 40, 98), (3, 64, 25), (1, 32, 44)])
def test_sizes_follow_the_input(name: str, shape: tuple[int, ...]) -> None:
    """The head is sized by the number of frames, which equals that of bands only by chance."""
    model = create(name, num_classes=5, input_shape=shape, width=16)
    assert model(torch.randn(2, *shape)).shape == (2, 5)
    frames = shape[2] if name == "fsmn" else (shape[2] + 3) // 4
    assert model.fc.in_features == 16 * frames


def test_fsmn_computes_its_equation() -> None:
    """p_t = sum of taps over the context; h_t = PReLU(U x_t + V p_t + b), in float64."""
    model = create("fsmn", num_classes=3, input_shape=(1, 4, 6), width=8, num_blocks=1, context=2).double().eval()
    block = model.blocks[0]
    x = torch.randn(2, 1, 4, 6, dtype=torch.float64)
    taps, per_feature = block.memory.weight[:, 0], block.memory.out_channels // 4
    hidden = torch.zeros(2, 6, 8, dtype=torch.float64)
    for t in range(6):
        memory = torch.zeros(2, block.memory.out_channels, dtype=torch.float64)
        for d in range(-2, 3):
            if 0 <= t + d < 6:
                memory += x[:, 0, :, t + d].repeat_interleave(per_feature, 1) * taps[:, d + 2]
        hidden[:, t] = x[:, 0, :, t] @ block.current.weight.T + block.current.bias + memory @ block.history.weight.T
    hidden = torch.where(hidden > 0, hidden, block.act.weight * hidden)
    torch.testing.assert_close(model(x), hidden.flatten(1) @ model.fc.weight.T + model.fc.bias)


def test_fsmn_has_neither_norm_nor_skip_and_deep_fsmn_has_both() -> None:
    assert not [m for m in create("fsmn", **SPEECH).modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    deep = create("deep_fsmn", **SPEECH)
    assert len([m for m in deep.modules() if isinstance(m, nn.BatchNorm1d)]) == 3 * 8
    layer = deep.layers[0].eval()
    for norm in (layer.memory[1], layer.transform[5]):
        nn.init.zeros_(norm.weight)
    x = torch.randn(2, 128, 8)
    assert torch.equal(layer(x), x)


@BOTH
def test_prelu_throughout(name: str) -> None:
    kinds = {type(m) for m in create(name, **SPEECH).modules()}
    assert nn.PReLU in kinds
    assert not kinds & {nn.ReLU, nn.Hardtanh}


def test_what_stays_full_precision() -> None:
    kept = {}
    for name in ("fsmn", "deep_fsmn"):
        audit = bibench.binarize(create(name, **SPEECH), "bnn", example_inputs=torch.zeros(1, 1, 32, 32))
        kept[name] = {row.name for row in audit.rows if row.weight_bits == 32}
        assert len(audit.binarized) == {"fsmn": 7 * 3, "deep_fsmn": 1 + 8 * 3}[name]
    assert kept["fsmn"] == {"blocks.0.current", "blocks.0.memory", "blocks.0.history", "fc"}
    assert kept["deep_fsmn"] == {"front.0", "project", "fc"}


@BOTH
@pytest.mark.parametrize("operator", PAPER_ORDER)
@pytest.mark.slow_but("*bnn*", "*reactnet*")
def test_every_operator_trains_it_and_memory_stays_depthwise(name: str, operator: str) -> None:
    model = create(name, num_classes=4, input_shape=(1, 16, 12), width=16, **LAYERS[name])
    taps = {n: m.weight.shape for n, m in model.named_modules() if isinstance(m, nn.Conv1d) and m.groups > 1}
    assert taps
    bibench.binarize(model, operator, example_inputs=torch.zeros(1, 1, 16, 12))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = torch.randn(16, 1, 16, 12), torch.arange(16) % 4
    losses = []
    for step in range(30):
        progress(model, step / 30, 1 / 30)
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        assert all(m.weight.grad is not None for m in model.modules() if isinstance(m, BinaryLayer))
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < losses[0], losses
    modules = dict(model.named_modules())
    for layer, shape in taps.items():
        memory = modules[layer]
        assert memory.weight.shape == shape
        assert memory.groups == memory.in_channels
        if layer != "blocks.0.memory":
            assert isinstance(memory, BinaryConv1d) and memory.operator.spec.groups == memory.groups
    if operator != "fp32":
        assert any(isinstance(m, BinaryLayer) and not m.operator.full_precision for m in modules.values())


LAYERS = {"fsmn": {"num_blocks": 2}, "deep_fsmn": {"num_layers": 2}}


@BOTH
@pytest.mark.parametrize("operator", PAPER_ORDER)
def test_a_binarized_memory_sees_one_feature_only(name: str, operator: str) -> None:
    """Changing one feature of the input changes no other feature's memory."""
    model = create(name, num_classes=4, input_shape=(1, 16, 12), width=16, **LAYERS[name])
    bibench.binarize(model, operator, example_inputs=torch.zeros(1, 1, 16, 12))
    memory = model.eval().blocks[1].memory if name == "fsmn" else model.eval().layers[0].memory[0]
    x = torch.randn(1, memory.in_channels, 12)
    changed = x.clone()
    changed[:, 3] = -changed[:, 3]
    if operator == "xnor":  # its activation scale averages |x| over channels, and |x| is the same
        assert torch.equal(x.abs(), changed.abs())
    with torch.no_grad():
        moved = (memory(x) != memory(changed)).any(2)[0].reshape(memory.in_channels, -1).any(1)
    assert moved.nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fsmn", {"input_shape": (32, 32)}, r"takes spectrograms: input_shape must be \(channels, frequency bands"),
        ("deep_fsmn", {"input_shape": (1, 0, 32)}, r"model 'deep_fsmn' takes spectrograms: .*got \(1, 0, 32\)"),
        ("fsmn", {"width": 0}, "model 'fsmn': width must be an integer, at least 1; got 0"),
        ("deep_fsmn", {"num_layers": 2.5}, "num_layers must be an integer, at least 1; got 2.5"),
        ("deep_fsmn", {"context": -1}, "context must be an integer, at least 0; got -1"),
    ],
)
def test_errors(name: str, options: dict, message: str) -> None:
    with pytest.raises(BiBenchError, match=message):
        create(name, **(SPEECH | options))
