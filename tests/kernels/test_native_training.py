"""Training on the compiled core gives the bits of training on PyTorch alone, in no more memory."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bibench
from bibench.foundation.choice import choice
from bibench.kernels import native
from bibench.kernels.surrogate import sign
from bibench.measure.memory import _added_on_cpu
from bibench.nn.layers import progress
from bibench.operators import PAPER_ORDER
from bibench.operators.base import channel_mean_abs

from .native import ISAS, identical, needs_core

pytestmark = needs_core

STEPS = 20
OPERATORS = (*PAPER_ORDER[1:], "fda[noise=False]", "bireal[profile=original]", "xnor[center=cin]")


class Images(nn.Sequential):
    """Every kind of convolution: plain, strided, 1×1, depthwise, grouped, dilated, even with asymmetric padding."""

    x_shape = (6, 3, 12, 12)

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.Conv2d(16, 40, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(40),
            nn.PReLU(),
            nn.Conv2d(40, 40, 3, padding=1, groups=40, bias=False),
            nn.BatchNorm2d(40),
            nn.Conv2d(40, 36, 1, bias=False),
            nn.BatchNorm2d(36),
            nn.Conv2d(36, 24, 3, padding=(2, 1), dilation=(2, 1), groups=4, bias=False),
            nn.BatchNorm2d(24),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 33, 2, padding="same", bias=False),
            nn.BatchNorm2d(33),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(33, 4),
        )


class Sequences(nn.Module):
    """One-dimensional convolutions, then linear layers over tokens and over examples."""

    x_shape = (6, 5, 40)

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(5, 16, 5, padding=2, stride=2),
            nn.BatchNorm1d(16),
            nn.Conv1d(16, 32, 3, padding=1, groups=2),
            nn.BatchNorm1d(32),
        )
        self.tokens = nn.Linear(32, 48)
        self.norm = nn.LayerNorm(48)
        self.head = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.tokens(self.convolutions(x).mT))
        return self.head(tokens.mean(1))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


# Of the operators, those that between them use every kernel: two threads are slow where cores are shared.
WITH_TWO_THREADS = ("xnorpp", "recu", "fda[noise=False]")


def binarized(model: nn.Module, name: str, x: Tensor) -> nn.Module:
    operator = choice(name)
    bibench.binarize(model, operator.name, example_inputs=x.detach(), keep=(), **operator.options)
    return model


def train(kind: type[nn.Module], name: str, isa: str, memory_format: torch.memory_format) -> list[Tensor]:
    """Every loss and gradient on the way, and the state at the end."""
    torch.manual_seed(3)
    x, y = torch.randn(kind.x_shape), torch.arange(kind.x_shape[0]) % 4
    model = kind()
    if x.dim() == 4:
        x, model = x.to(memory_format=memory_format), model.to(memory_format=memory_format)
    binarized(model, name, x)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    seen = []
    with native.using(isa):
        for step in range(STEPS):
            progress(model, step / STEPS, 1 / STEPS)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            seen += [loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]
            optimizer.step()
        model.eval()
        seen.append(model(x).detach())
    return seen + [t for t in model.state_dict().values() if t.is_floating_point()]


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
def test_images(name: str, memory_format: torch.memory_format) -> None:
    found, pure = (train(Images, name, isa, memory_format) for isa in (ISAS[0], native.NONE))
    assert len(found) == len(pure) > STEPS * 20
    assert all(identical(a, b) for a, b in zip(found, pure, strict=True))
    assert not identical(found[0], found[(len(found) - 40) // 2])  # it did train


@pytest.mark.parametrize("name", OPERATORS)
def test_sequences(name: str) -> None:
    found, pure = (train(Sequences, name, isa, torch.contiguous_format) for isa in (ISAS[0], native.NONE))
    assert all(identical(a, b) for a, b in zip(found, pure, strict=True))


@pytest.mark.parametrize("name", WITH_TWO_THREADS)
@pytest.mark.usefixtures("two_threads")
@pytest.mark.slow
def test_two_threads(name: str) -> None:
    for kind, memory_format in ((Images, torch.channels_last), (Sequences, torch.contiguous_format)):
        found, pure = (train(kind, name, isa, memory_format) for isa in (ISAS[0], native.NONE))
        assert all(identical(a, b) for a, b in zip(found, pure, strict=True))


@pytest.mark.parametrize("isa", ISAS[1:])
def test_instruction_sets_agree(isa: str) -> None:
    for name in ("recu", "fda[noise=False]"):
        found, best = (train(Images, name, i, torch.channels_last) for i in (isa, ISAS[0]))
        assert all(identical(a, b) for a, b in zip(found, best, strict=True))


def behind(value: Tensor, gradient: Tensor) -> Tensor:
    """`value` forward, the gradient of `gradient` backward: the detach trick, with nothing added but zeros."""
    return value.detach() + (gradient - gradient.detach())


def naive(name: str, layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A binarized convolution as one writes it down, on ordinary operations of autograd."""
    geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)
    signs, weight_signs = (torch.where(t.detach() >= 0, 1.0, -1.0) for t in (x, layer.weight))
    factor = (2 - 2 * x.detach().abs()).clamp(min=0) if name == "bireal" else (x.detach().abs() <= 1).float()
    a, clipped = behind(signs, x * factor), layer.weight * (layer.weight.detach().abs() <= 1).float()
    if name == "bnn":
        return F.conv2d(a, behind(weight_signs, clipped), None, *geometry)
    # The mean magnitude, summed as the operators sum it: another order of summation may differ in the last bit.
    alpha = channel_mean_abs(layer.weight)
    torch.testing.assert_close(alpha, layer.weight.detach().abs().mean((1, 2, 3)), rtol=1e-6, atol=0)
    scaled = F.conv2d(a, behind(alpha.view(-1, 1, 1, 1) * weight_signs, clipped), None, *geometry)
    return behind(F.conv2d(signs, weight_signs, None, *geometry) * alpha.view(-1, 1, 1), scaled)


LAYERS = {
    "3x3": lambda: nn.Conv2d(32, 48, 3, padding=1, bias=False),
    "strided": lambda: nn.Conv2d(20, 33, 3, stride=2, padding=1, bias=False),
    "1x1": lambda: nn.Conv2d(64, 16, 1, bias=False),
    "depthwise": lambda: nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False),
    "grouped": lambda: nn.Conv2d(12, 24, 5, padding=2, groups=3, bias=False),
    "dilated": lambda: nn.Conv2d(16, 8, 3, padding=2, dilation=2, bias=False),
}


@pytest.mark.parametrize("name", ["bnn", "dorefa", "bireal"])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
def test_a_layer_equals_the_naive_graph(name: str, kind: str, memory_format: torch.memory_format) -> None:
    layer = LAYERS[kind]().to(memory_format=memory_format)
    x = torch.randn(4, layer.in_channels, 11, 14).to(memory_format=memory_format).requires_grad_()
    x.data[0, 0, 0] = torch.tensor([0.0, -0.0, 1.0, -1.0] + [2.0] * 10)
    layer.weight.data.mul_(10)
    y = naive(name, layer, x)
    upstream = torch.randn_like(y)
    expected = torch.autograd.grad(y, [x, layer.weight], upstream)
    binarized(layer, name, x)
    got = layer(x)
    assert torch.equal(got, y)
    assert got.stride() == y.stride()
    for ours, theirs in zip(torch.autograd.grad(got, [x, layer.weight], upstream), expected, strict=True):
        assert torch.equal(ours, theirs)


def peak(forward, x: Tensor) -> int:
    """The most that PyTorch has allocated at once in a step; the packed signs beside it are 1/32 of an input."""

    def step() -> None:
        forward(x).sum().backward()

    step()
    x.grad = None
    found = _added_on_cpu(step, torch.device("cpu"))
    x.grad = None
    assert found is not None
    return found


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.slow_but("bnn")
def test_peak_memory_of_a_layer_does_not_exceed_that_of_pytorch(name: str) -> None:
    x = torch.randn(8, 32, 32, 32, requires_grad=True)
    layer, other = (nn.Conv2d(32, 32, 3, padding=1, bias=False) for _ in range(2))
    progress(binarized(layer, name, x), 0.0, 0.1)
    ours = peak(layer, x)
    with native.using(native.NONE):
        assert ours <= peak(layer, x)
    if name in ("bnn", "dorefa", "bireal"):
        assert ours + x.numel() * 4 <= peak(lambda x: naive(name, other, x), x)


def saved(function, *arguments: Tensor) -> int:
    """Bytes kept for backward, beyond the arguments and parameters themselves."""
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        function(*arguments)
    for t in arguments:
        kept.pop(t.untyped_storage().data_ptr(), None)
    return sum(kept.values())


@pytest.mark.parametrize("name", ["bnn", "dorefa", "bireal"])
def test_a_layer_saves_its_input_and_weight_alone(name: str) -> None:
    x, layer = torch.randn(4, 16, 16, 16, requires_grad=True), nn.Conv2d(16, 16, 3, padding=1, bias=False)
    plain = saved(lambda x, _: naive(name, layer, x), x, layer.weight)
    binarized(layer, name, x)
    ours = saved(lambda x, _: layer(x), x, layer.weight)
    assert ours <= 16 * 4  # a scale per channel
    assert ours < plain


def test_a_model_as_a_whole_trains_in_less_memory() -> None:
    """ResNet-20 with Bi-Real: the step of the compiled core against the same step on PyTorch alone."""
    model = bibench.models.create("resnet20", width=8)
    x, y = torch.randn(8, 3, 32, 32), torch.arange(8)
    bibench.binarize(model, "bireal", example_inputs=x)

    def step() -> None:
        F.cross_entropy(model(x), y).backward()

    step()
    found = {}
    for isa in (ISAS[0], native.NONE):
        with native.using(isa):
            found[isa] = _added_on_cpu(step, torch.device("cpu"))
    assert found[ISAS[0]] <= found[native.NONE]


def test_sign_needs_one_output() -> None:
    x = torch.randn(2**18)
    assert _added_on_cpu(lambda: sign(x), torch.device("cpu")) == pytest.approx(2**20, abs=2**12)
