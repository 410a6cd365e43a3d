"""What is exported is what a user's evaluation computes: the whole frozen model against the whole model."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import bibench
from bibench.deploy.calling import Example
from bibench.deploy.freezing import freeze
from bibench.deploy.frozen import Frozen
from bibench.deploy.packed import PackedLinear
from bibench.deploy.whole import difference, varied
from bibench.foundation.errors import UnsupportedError


class Net(nn.Module):
    """Three layers, of which the middle one is binarized; what differs is in `between` and `end`."""

    fused = False

    def __init__(self) -> None:
        super().__init__()
        self.first, self.fc, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Any:
        return self.end(self.last(self.between(self.first(x))))

    def between(self, x: Tensor) -> Tensor:
        return self.fc(x)

    def end(self, y: Tensor) -> Any:
        return y


def binary(model: Net, **options: Any) -> Net:
    torch.manual_seed(0)
    bibench.binarize(model, "bnn", example_inputs=torch.randn(2, 8), **options)
    return model.eval()


def prove(model: nn.Module, x: Tensor | None = None) -> nn.Module:
    torch.manual_seed(1)
    return freeze(model, (torch.randn(4, 8) if x is None else x,), {})


class Peeking(Net):
    def between(self, x: Tensor) -> Tensor:
        return self.fc(x) * (1 if not isinstance(self.fc, Frozen) else 1.5)

    def end(self, y: Tensor) -> Any:
        return {"same": y.shape[0], "found": [torch.ones(2), {"logits": y}]}


def test_the_first_output_that_differs_is_named() -> None:
    with pytest.raises(UnsupportedError, match=r"its output \['found'\]\[1\]\['logits'\] differs by [\d.]+ \(the larg"):
        prove(binary(Peeking()))


def test_a_fused_path_that_hooks_switch_off() -> None:
    class Fused(Net):
        def between(self, x: Tensor) -> Tensor:
            alone = not torch.is_grad_enabled() and not self.fc._forward_hooks and not self.fc._forward_pre_hooks
            if self.fused and alone and not torch.overrides.has_torch_function((x,)):
                return F.linear(x, self.fc.weight, self.fc.bias)
            return self.fc(x)

    model = binary(Fused())
    prove(model)
    model.fused = True
    with pytest.raises(UnsupportedError, match="in evaluation it does not compute with its 1-bit layers"):
        prove(model)


def test_what_is_proved_is_what_is_traced() -> None:
    """A fused path that only tracing switches off would be taken by the model and by the frozen one alike."""

    class Fused(Net):
        def between(self, x: Tensor) -> Tensor:
            if self.fused and not torch.overrides.has_torch_function((x,)):
                return F.linear(x, self.fc.weight, self.fc.bias)
            return self.fc(x)

    model = binary(Fused())
    model.fused = True
    with pytest.raises(UnsupportedError, match="its output differs"):
        prove(model)


def test_a_forward_that_misses_something() -> None:
    class Missing(Net):
        def between(self, x: Tensor) -> Tensor:
            return self.fc(x) * (self.fc.operator.activation_bits if hasattr(self.fc, "operator") else 1)

    with pytest.raises(
        UnsupportedError, match=r"its forward fails where its 1-bit layers are packed .*activation_bits"
    ):
        prove(binary(Missing()))


def test_only_other_inputs_tell() -> None:
    class Zero(Net):
        def forward(self, x: Tensor) -> Any:
            return super().forward(x) + (x.sum() if isinstance(self.fc, Frozen) else 0)

    model = binary(Zero())
    with pytest.raises(UnsupportedError, match="its output differs"):
        prove(model, torch.zeros(2, 8))


def test_state_and_chance_and_inputs_changed_in_place() -> None:
    class Living(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: Tensor) -> Any:
            self.count += 1
            x += 1
            return super().forward(x) + self.count + torch.rand(4)

    model = binary(Living())
    before = model.count.clone()
    x = torch.randn(2, 8)
    kept = x.clone()
    assert prove(model, x.clone()).count.sum() >= 0
    assert torch.equal(model.count, before)
    assert torch.equal(x, kept)


def test_flips_within_rounding_are_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next layer takes the signs of integers, among them 0: a rounding error behind the first gives others."""

    class Deep(Net):
        def between(self, x: Tensor) -> Tensor:
            return self.fc(self.fc(x))

    torch.manual_seed(0)
    model = Deep()
    model.fc = nn.Linear(16, 16, bias=False)
    binary(model)
    exact = PackedLinear.forward
    monkeypatch.setattr(PackedLinear, "forward", lambda self, input: exact(self, input) - 1e-6)
    x = torch.randn(8, 8)
    made = freeze(model, (x,), {})
    with torch.no_grad():
        assert (made(x) - model(x)).abs().max() > 1e-3 * model(x).abs().max()


def test_differences() -> None:
    x = torch.randn(3, 2)
    assert difference((x, {"a": 1}), (x + 1e-6, {"a": 1})) == ""
    assert difference((x, {"a": 1}), (x, {"b": 1})).startswith("outputs are ")
    assert difference((x, {"a": 1}), (x, {"a": 2})) == "output [1]['a'] is 2 in the place of 1"
    assert difference(x, x.double()) == "output is (3, 2) torch.float64 in the place of (3, 2) torch.float32"
    assert difference(x, x[:2]) == "output is (2, 2) torch.float32 in the place of (3, 2) torch.float32"
    assert difference(x > 0, x <= 0) == "output has other values"
    assert difference(x, x + 1).startswith("output differs by 1 (the largest is ")
    assert difference(x, torch.full_like(x, torch.nan)).startswith("output differs by nan")
    assert difference(x[:0], x[:0]) == ""
    infinite = torch.tensor([1.0, -torch.inf])
    assert difference(infinite, infinite.clone()) == ""
    assert difference(infinite, -infinite).startswith("output differs by inf")


def test_varied_examples_stay_in_their_domain() -> None:
    x, ids = torch.rand(2, 3), torch.tensor([[1, 2, 3]])
    (other, same), _ = (lambda e: (e.args, e.kwargs))(varied(Example((x, ids))))
    assert torch.equal(other.sort().values, x.sort().values)
    assert not torch.equal(other, x)
    assert same is ids or torch.equal(same, ids)
    assert varied(Example((torch.zeros(2, 3),))).args[0].any()
