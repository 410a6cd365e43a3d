"""Peak memory against tensors of known size."""

import pytest
import torch
from torch import nn

from bibench.data.batches import Batch
from bibench.measure.memory import _added_on_cpu, _bytes, peak_memory
from bibench.measure.step import TrainingStep
from bibench.recipes.recipe import Recipe
from bibench.tasks import TASKS

from .test_step import CPU, made

MB = 2**20


pytestmark = pytest.mark.usefixtures("in_tiny_world")


def test_the_highest_moment_counts_not_the_sum() -> None:
    def work() -> None:
        for size in (8, 2, 5):
            torch.empty(size * MB, dtype=torch.uint8)
        kept = [torch.empty(3 * MB, dtype=torch.uint8) for _ in range(2)]
        assert len(kept) == 2

    assert _added_on_cpu(work, CPU) == pytest.approx(8 * MB, abs=2**16)


def test_nothing_allocated_tells_nothing() -> None:
    assert _added_on_cpu(lambda: None, CPU) is None


def test_shared_storage_counts_once() -> None:
    x = torch.zeros(1000)
    assert _bytes([x, x, x[10:], x.view(10, 100), torch.zeros(10)]) == 4000 + 40


class Wide(nn.Module):
    """Saves what its backward needs: its input and the signs of the rectifier."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2 * MB // 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1).mean() * self.weight * self.weight)[:4].expand(len(x), 4)


def test_a_step_of_known_size() -> None:
    """2 MB each of weight, gradient, momentum, two products, and the gradients that backward makes on its way."""
    recipe = Recipe(epochs=2, batch_size=4, lr=0.1, optimizer="sgd", momentum=0.9)
    task = TASKS["tiny"]()
    batch = Batch((torch.zeros(4, 3, 8, 8),), torch.zeros(4, dtype=torch.int64))
    step = TrainingStep(Wide(), task, recipe, [batch], device=CPU, memory_format="contiguous")
    for _ in range(2):
        step()
    found = peak_memory(step)
    assert found is not None
    # Between steps: weight and momentum. In backward: two products (one saved), and three or four gradients.
    assert 6 * 2 * MB < found < 8.5 * 2 * MB


def test_gradients_of_the_last_step_are_there_during_forward() -> None:
    """A model whose forward needs far more than its backward still has its gradients in memory then."""
    recipe = Recipe(epochs=2, batch_size=4, lr=0.1, optimizer="sgd", momentum=0.0)

    class Bulky(Wide):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                torch.empty(40 * MB, dtype=torch.uint8)
            return super().forward(x)

    batch = Batch((torch.zeros(4, 3, 8, 8),), torch.zeros(4, dtype=torch.int64))
    step = TrainingStep(Bulky(), TASKS["tiny"](), recipe, [batch], device=CPU, memory_format="contiguous")
    step()
    assert peak_memory(step) == pytest.approx((2 + 2 + 40) * MB, abs=MB)


@pytest.mark.slow
def test_peak_memory_is_repeatable_and_tells_operators_apart(capfd: pytest.CaptureFixture[str]) -> None:
    steps = {name: made(name) for name in ("fp32", "bnn", "heavy")}
    for step in steps.values():
        step()
        step()
    first, again = ({name: peak_memory(step) for name, step in steps.items()} for _ in range(2))
    assert first == again
    assert first["heavy"] - first["bnn"] > 5 * 4 * 2_000_000 * 0.7  # 5 layers: weight, gradient, Adam's two
    assert capfd.readouterr().err == ""
