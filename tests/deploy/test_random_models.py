"""Random models: their files are the same models, whatever stands around the 1-bit layers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import bibench
from bibench.deploy import ENGINES
from bibench.deploy.parity import verify
from bibench.operators import known_operators

from .models import stir

C, SIZE = 4, 6
HERE = [name for name in ("bibench", "onnxruntime") if not ENGINES[name]().available()]


class Shift(nn.Module):
    """Adds a constant, of a shape that is broadcast."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.randint(-2, 3, shape) / 2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.amount


class Scale(Shift):
    """Multiplies by it, which may be 0."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.amount


class Apply(nn.Module):
    """A function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(C, C, 3, padding=1),
    "wide": lambda: nn.Conv2d(C, C, (5, 1), padding=(4, 0), dilation=(2, 1), bias=False),
    "one": lambda: nn.Conv2d(C, C, 1),
    "reflect": lambda: nn.Conv2d(C, C, 3, padding=1, padding_mode="reflect"),
    "groups": lambda: nn.Conv2d(C, C, 3, padding=1, groups=2),
    "depthwise": lambda: nn.Conv2d(C, C, 3, padding=1, groups=C, bias=False),
    "linear": lambda: nn.Linear(SIZE, SIZE),
}
AROUND: dict[str, Callable[[], nn.Module]] = {
    "norm": lambda: nn.BatchNorm2d(C),
    "relu": nn.ReLU,
    "hardtanh": nn.Hardtanh,
    "prelu": lambda: nn.PReLU(C, init=-0.5),
    "max": lambda: nn.MaxPool2d(3, 1, 1),
    "average": lambda: nn.AvgPool2d(3, 1, 1),
    "shift": lambda: Shift(C, 1, 1),
    "shift map": lambda: Shift(SIZE, SIZE),
    "spread": lambda: nn.Sequential(Apply(lambda x: x[:, :1]), Shift(C, 1, 1)),
    "scale": lambda: Scale(C, 1, 1),
    "transpose": lambda: Apply(lambda x: x.transpose(2, 3)),
    "shuffle": lambda: Apply(lambda x: x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)),
}
JOINED: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "": lambda f, x: f(x),
    "residual": lambda f, x: x + f(x),
    "broadcast": lambda f, x: f(x) + x.mean((2, 3), keepdim=True),
    "twice": lambda f, x: f(x) + f(x),
    "again": lambda f, x: f(f(x)),
    "gate": lambda f, x: f(x) * x,
    "half": lambda f, x: torch.cat([f(x)[:, :2], x[:, 2:]], 1),
}
KINDS = {**LAYERS, **AROUND}
STEP = st.tuples(
    st.one_of(st.sampled_from(sorted(LAYERS)), st.sampled_from(sorted(AROUND))), st.sampled_from([*JOINED])
)
CHAIN = st.lists(STEP, min_size=1, max_size=6)


class Chains(nn.Module):
    """Chains of steps side by side, over as many inputs, each from (N, C, SIZE, SIZE) to the same shape."""

    def __init__(self, chains: list[list[tuple[str, str]]]) -> None:
        super().__init__()
        self.chains = nn.ModuleList(nn.ModuleList(KINDS[kind]() for kind, _ in chain) for chain in chains)
        self.joined = [[JOINED[how] for _, how in chain] for chain in chains]

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        outputs = []
        for x, steps, joined in zip(inputs, self.chains, self.joined, strict=True):
            for step, join in zip(steps, joined, strict=True):
                x = join(step, x)
            outputs.append(x)
        return outputs


def some(count: int, batch: int) -> tuple[Tensor, ...]:
    """Inputs with many values at thresholds, zeros of both signs among them."""
    x = torch.randn(count, batch, C, SIZE, SIZE)
    x = torch.where(torch.rand_like(x) < 0.3, (2 * x).round() / 2, x)
    return tuple(torch.where(torch.rand_like(x) < 0.1, -0.0, x))


def extreme(model: nn.Module) -> nn.Module:
    """Norms with factors of 0 and tiny variances, scales and thresholds at values that inputs have."""
    for name, parameter in stir(model).named_parameters():
        if ".operator." in name:
            parameter.data = (2 * torch.randn_like(parameter)).round() / 2
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data[0] = 0.0
            module.running_var[1] = 1e-10
    return model


@pytest.mark.filterwarnings("ignore::bibench.foundation.errors.BinarizationWarning")  # of a ReLU before a sign
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([name for name in known_operators() if name != "fp32"]),
    st.lists(CHAIN, min_size=3, max_size=3),
    st.sampled_from([0, 1, -1]),
    st.integers(0, 2**31),
)
@pytest.mark.slow
def test_files_are_the_same_models(
    tmp_path: Path, operator: str, chains: list[list[tuple[str, str]]], pad_value: int, seed: int
) -> None:
    torch.manual_seed(seed)
    model = Chains([[("conv", ""), *chain] for chain in chains])
    bibench.binarize(model, operator, example_inputs=some(3, 2), keep=(), pad_value=pad_value)
    extreme(model)
    for engine in HERE:
        path = (tmp_path / engine).with_suffix(ENGINES[engine].extension)
        made = bibench.export(model, path, some(3, 3), engine)
        assert not made.notes
        for batch in (1, 4):
            report = verify(path, model, some(3, batch))
            assert report.equal, (engine, batch, report.summary(), report.layers)
