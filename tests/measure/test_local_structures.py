"""Equation 41 by hand, the structures' shapes, and what theory says of their errors."""

import math

import pytest
import torch

from bibench.foundation.choice import Choice, choice
from bibench.foundation.errors import BiBenchError
from bibench.measure.local_structures import (
    DIMENSIONS,
    STRUCTURES,
    Bottleneck,
    SelfAttention,
    SubMLP,
    relative_error,
    structure_errors,
)

BNN = Choice("bnn")


def errors(name: str, *operators: str, **more: object) -> dict[str, float]:
    given = {"seeds": (0, 1), "sizes": (64,), "dimensions": (64,), **more}
    rows = structure_errors(STRUCTURES[name], list(map(choice, operators)), **given)
    return {row.operator: row.error for row in rows}


def test_relative_error() -> None:
    assert relative_error(torch.tensor([1.0, -3.0]), torch.tensor([1.0, -1.0])) == 0.5
    assert relative_error(torch.ones(3), torch.ones(3)) == 0
    with pytest.raises(BiBenchError, match="zero or not finite"):
        relative_error(torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize("cls", [Bottleneck, SelfAttention, SubMLP])
def test_three_units_each_and_outputs_like_inputs(cls: type) -> None:
    structure = next(s for s in STRUCTURES.values() if s.build is cls)
    made = structure.build(128, True)
    assert len(made.units) == 3
    x = torch.randn(structure.shape(14, 128))
    assert made(x).shape == x.shape


def test_sixteen_sizes_each_and_the_papers_means() -> None:
    for name, expected in (("attention", 0.98), ("cnn", 0.59), ("mlp", 0.84)):
        structure = STRUCTURES[name]
        values = [v for row in structure.published for v in row]
        assert len(structure.sizes) * len(DIMENSIONS) == len(values) == 16
        assert sum(values) / 16 == pytest.approx(expected, abs=0.005)


def test_rows_say_size_dimension_and_the_papers_error() -> None:
    rows = structure_errors(STRUCTURES["mlp"], [BNN], seeds=(0, 1, 2), sizes=(64, 100), dimensions=(64, 512))
    assert [(r.size, r.dim, r.published) for r in rows] == [
        (64, 64, 0.84),
        (64, 512, 0.86),
        (100, 64, None),
        (100, 512, None),
    ]
    assert all(r.seeds == 3 and r.std is not None and r.std < 0.1 for r in rows)


def test_the_last_unit_alone_errs_as_theory_says() -> None:
    """Signs of independent normal values keep the correlation 2/π of a dot product; √(2(1 - 2/π)) = 0.85.

    Hardtanh clips both outputs alike and takes little of it away.
    """
    from bibench.nn.conversion import binarize

    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Conv1d(512, 512, 1), torch.nn.BatchNorm1d(512, track_running_stats=False))
    torch.nn.init.normal_(layer[0].weight)
    x = torch.randn(1, 512, 512)
    with torch.no_grad():
        expected = layer(x)
        binarize(layer, "bnn", example_inputs=x, keep=())
        assert relative_error(expected, layer(x)) == pytest.approx(math.sqrt(2 * (1 - 2 / math.pi)), abs=0.01)


def test_normalization_absorbs_scales_per_channel() -> None:
    found = errors("cnn", "bnn", "dorefa", "bireal", "fda", "xnorpp")
    assert max(found.values()) - min(found.values()) < 1e-3
    bare = errors("mlp", "bnn", "dorefa", "xnor", normalized=False)
    assert bare["xnor"] < bare["dorefa"] < bare["bnn"]


def test_operators_do_not_depend_on_each_other_and_runs_repeat() -> None:
    alone, together = errors("attention", "recu"), errors("attention", "fda", "recu", "bnn")
    assert alone["recu"] == together["recu"] == errors("attention", "recu")["recu"]


def test_the_random_state_of_the_caller_stays() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    errors("mlp", "bnn")
    assert torch.equal(torch.rand(3), expected)


def test_the_published_order_depends_on_the_first_unit() -> None:
    """A kept first unit brings convolutions and MLP to the published errors; see the docs."""
    kept = {name: errors(name, "bnn", keep_first=True, dimensions=(256,))["bnn"] for name in ("cnn", "mlp")}
    assert kept["cnn"] == pytest.approx(0.59, abs=0.06)
    assert kept["mlp"] == pytest.approx(0.84, abs=0.03)
    assert errors("attention", "bnn", keep_first=True) == errors("attention", "bnn")


def test_more_tokens_err_less_and_wider_ones_more() -> None:
    rows = structure_errors(STRUCTURES["attention"], [BNN], sizes=(64, 512), dimensions=(64, 256))
    found = {(r.size, r.dim): r.error for r in rows}
    assert found[512, 64] < found[64, 64]
    assert found[512, 64] < found[512, 256]


def test_a_width_that_makes_no_heads() -> None:
    with pytest.raises(BiBenchError, match="multiples of 64"):
        errors("attention", "bnn", dimensions=(65,))
