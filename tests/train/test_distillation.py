"""Distillation: formulas against float64, what is observed, a frozen teacher, no cost for the others."""

import pytest
import torch

import bibench
from bibench.foundation.errors import BiBenchError
from bibench.models import create
from bibench.recipes.distillation import METHODS, Observer, direction_difference, soft_cross_entropy


def bert(seed: int):
    torch.manual_seed(seed)
    return create("bert", num_classes=3, input_shape=(6,), vocabulary=20).double()


IDS = torch.tensor([[2, 5, 7, 3, 0, 0], [2, 9, 8, 4, 6, 3]])
MASK = IDS != 0


def observed(model):
    observer = Observer(model)
    model(IDS, MASK)
    return observer


def test_soft_cross_entropy_is_the_formula() -> None:
    student, teacher = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    p, q = teacher.exp() / teacher.exp().sum(1, keepdim=True), student.exp() / student.exp().sum(1, keepdim=True)
    torch.testing.assert_close(soft_cross_entropy(student, teacher), -(p * q.log()).mean())


def test_direction_matching_is_the_formula_over_tokens_without_padding() -> None:
    student, teacher = bert(0), bert(1)
    own, taught = observed(student).values, observed(teacher).values
    loss, soft = torch.tensor(0.7, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    expected = soft + 0.5 * loss
    lengths = MASK.sum(1).tolist()

    def difference(pairs):
        return sum((s / s.norm() - t / t.norm()).norm() for s, t in pairs) / len(pairs)

    for layer in range(2):
        for part in range(3):
            s, t = own["attention"][layer][0][part], taught["attention"][layer][0][part]
            pairs = [
                (s[b, h, :n] @ s[b, h, :n].T, t[b, h, :n] @ t[b, h, :n].T)
                for b, n in enumerate(lengths)
                for h in range(4)
            ]
            expected = expected + difference(pairs)
        s, t = own["hidden"][layer][1], taught["hidden"][layer][1]
        expected = expected + difference([(s[b, :n], t[b, :n]) for b, n in enumerate(lengths)])
    torch.testing.assert_close(METHODS["dmd"].combine(loss, soft, own, taught), expected)


def test_agreement_costs_nothing_and_has_a_finite_gradient() -> None:
    x = torch.randn(2, 3, 4, requires_grad=True)
    difference = direction_difference(x, 3 * x.detach())
    difference.backward()
    assert difference < 1e-5
    assert torch.isfinite(x.grad).all()


def test_a_binarized_student_is_matched_and_query_and_key_learn() -> None:
    student, teacher = bert(0), bert(0).eval().requires_grad_(False)
    bibench.binarize(student, "bireal", example_inputs=student.example_inputs())
    own, taught = observed(student), observed(teacher)
    zero = torch.zeros((), dtype=torch.float64)
    METHODS["dmd"].combine(zero, zero, own.values, taught.values).backward()
    for part in ("query", "key", "value"):
        assert student.bert.layers[0].attention["self"].get_submodule(part).weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in teacher.parameters())


def test_removed_observers_leave_no_hooks() -> None:
    model = bert(0)
    observer = observed(model)
    observer.remove()
    assert not observer.values
    assert not any(module._forward_hooks for module in model.modules())


def test_models_that_name_nothing_are_refused() -> None:
    with pytest.raises(BiBenchError, match="distillation='dmd' compares attentions, and VGGSmall names none"):
        Observer(create("vgg_small", width=2))


@pytest.mark.parametrize("method", ["none", "logits", "dmd"])
@pytest.mark.slow
def test_a_cell_trains_with_each_method_and_records_it(method: str, tmp_path) -> None:
    import json

    from bibench.foundation.choice import choice
    from bibench.suite.cell import Cell
    from bibench.suite.store import CellDirectory
    from bibench.train.cell import Hooks, Settings, train_cell

    recipe = f"smoke[distillation={method}]"
    for operator in ("fp32", "dorefa"):
        cell = Cell(choice("embedded_stsb"), choice("bert[layers=1,hidden=16]"), choice(operator), choice(recipe), 0)
        directory = CellDirectory(tmp_path, cell)
        directory.path.mkdir(parents=True)
        train_cell(cell, Settings(runs=tmp_path, device="cpu", threads=1), Hooks())
    described = json.loads((directory.path / "cell.json").read_text())
    assert described["recipe"]["distillation"] == method
