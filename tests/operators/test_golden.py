"""Twenty training steps with a fixed seed reproduce a stored loss curve, for every operator.

In float64, so that the processor's instruction set does not decide. After a deliberate change of the
mathematics: python -m tests.operators.test_golden
"""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import bibench
from bibench.nn.layers import progress
from bibench.operators import PAPER_ORDER

FILE = Path(__file__).parent / "golden" / "losses.json"
STEPS = 20


def curve(name: str) -> list[float]:
    """Losses of the first steps of a small network on fixed data."""
    torch.manual_seed(1)
    model = bibench.models.create("vgg_small", width=4, num_classes=4, input_shape=(3, 8, 8)).double()
    x, y = torch.randn(16, 3, 8, 8, dtype=torch.float64), torch.arange(16) % 4
    bibench.binarize(model, name, example_inputs=x)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(STEPS):
        progress(model, step / STEPS, 1 / STEPS)
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", PAPER_ORDER)
def test_losses_are_those_stored(name: str) -> None:
    assert curve(name) == pytest.approx(json.loads(FILE.read_text())[name], rel=1e-6)


def test_operators_differ() -> None:
    stored = json.loads(FILE.read_text())
    assert len({tuple(losses) for losses in stored.values()}) == len(PAPER_ORDER)
    assert all(losses[-1] < losses[0] for losses in stored.values())


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: curve(name) for name in PAPER_ORDER}, indent=1) + "\n")
