"""Docstrings tell parameters, shapes, units, errors and sources: no public name lacks any, and each rule can fail."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from bibench.foundation.errors import BiBenchError, StoreError, UnknownNameError
from bibench.foundation.registry import Registry

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))

import doc_errors
import doc_gaps
import doc_rules

GADGETS: Registry[int] = Registry("gadget", "bibench.operators")


def test_no_public_name_lacks_anything() -> None:
    assert list(doc_gaps.gaps()) == []


def found(text: str, value: Any = None, **annotations: Any) -> list[str]:
    """What a function of these parameters lacks; ``returned`` is what it returns."""
    if value is None:
        name, returned = annotations.pop("called", "function"), annotations.pop("returned", None)
        value = eval(f"lambda {', '.join(annotations)}: None")
        value.__name__, value.__annotations__ = name, annotations | {"return": returned}
    return list(doc_gaps.of(value, text))


ENTRY = "Do it.\n\nArgs:\n    {}"


@pytest.mark.parametrize(
    "text",
    ["Do it to `x`.", "Do it (``x=2``).", ENTRY.format("x: what is done."), ENTRY.format("y, x: what is done.")],
)
def test_a_parameter_is_described(text: str) -> None:
    assert found(text, x=str) == []


@pytest.mark.parametrize(
    "text", ["Do it to x.", "Do it to `max(x)`.", ENTRY.format("xs: what is done."), ENTRY.format("x:")]
)
def test_a_parameter_that_is_not_described_is_found(text: str) -> None:
    assert found(text, x=str) == ["parameter x is not described"]


def test_no_docstring_is_found() -> None:
    assert found("") == ["no docstring"]


@pytest.mark.parametrize(
    "told", ["(B, C_i, H, W)", "(..., I)", "(C_o,)", "(C_o, C_i/g, k)", "a scalar", "of any shape"]
)
@pytest.mark.parametrize("annotation", [Tensor, "Tensor | None", tuple[Tensor, ...], np.ndarray, "Sequence[NDArray]"])
def test_a_shape_is_told(told: str, annotation: Any) -> None:
    assert found(ENTRY.format(f"x: values, {told}."), x=annotation) == []
    assert found(f"Values, {told}.", returned=annotation) == []


@pytest.mark.parametrize(
    "told", ["the values", "the values (one, or more)", "the values (see above)", "(default: none)"]
)
def test_a_tensor_without_a_shape_is_found(told: str) -> None:
    assert found(ENTRY.format(f"x: {told}."), x=Tensor) == ["tensor x has no shape"]
    assert found(f"Give {told}.", returned=Tensor) == ["the tensor returned has no shape"]


def test_the_shape_of_one_parameter_is_not_that_of_another_nor_of_the_result() -> None:
    text = ENTRY.format("x: values, (B, C).\n    y: others.")
    assert found(text, x=Tensor, y=Tensor, returned=Tensor) == [
        "tensor y has no shape",
        "the tensor returned has no shape",
    ]
    assert found(ENTRY.format("x: values, (B, C); the result has the same."), x=Tensor, returned=Tensor) == []


def test_functions_of_tensors_and_other_values_have_no_shape() -> None:
    assert found(ENTRY.format("x: what to do."), x=Callable[[Tensor], Tensor]) == []
    assert found(ENTRY.format("x: how."), x=str) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("seconds", "how long, in seconds"),
        ("max_ms", "at most, in ms"),
        ("time", "in hours"),
        ("memory", "in bytes"),
        ("batch_size", "examples in a batch"),
        ("rate", "drops per step"),
        ("energy", "of one input, in joules"),
        ("operations", "multiply-accumulates of one input"),
        ("weight_bits", "bits of a weight"),
        ("accuracy", "in percent"),
        ("std_error", "in the track's unit"),
    ],
)
def test_a_unit_is_told(name: str, told: str) -> None:
    for annotation in (int, float, "float | None", tuple[int, ...]):
        assert found(ENTRY.format(f"{name}: {told}."), **{name: annotation}) == []
        assert found(ENTRY.format(f"{name}: as asked."), **{name: annotation}) == [f"{name} has no unit"]
        assert found(f"How much it is: {told}.", called=name, returned=annotation) == []
        assert found("How much it is.", called=name, returned=annotation) == ["what is returned has no unit"]


def test_texts_and_names_of_no_quantity_need_no_unit() -> None:
    assert found(ENTRY.format("seconds: as asked."), seconds=str) == []
    assert found(ENTRY.format("depth: as asked."), depth=int) == []


class Failing:
    """What raises."""

    def itself(self, x: int) -> None:
        raise StoreError(f"{x}")

    def by_a_helper(self, x: int) -> None:
        self._helper(x)

    def _helper(self, x: int) -> None:
        raise StoreError(f"{x}")

    def by_a_check(self, x: int) -> None:
        check_it(x)

    def by_what_makes_it(self, x: int) -> None:
        raise made(x)

    def by_an_import(self, x: int) -> None:
        from bibench.foundation.errors import StoreError as Own

        raise Own(f"{x}")

    def not_at_all(self, x: int) -> None:
        again(x)

    def abstract(self, x: int) -> None:
        raise NotImplementedError


def check_it(x: int) -> None:
    raise StoreError(f"{x}")


def made(x: int) -> StoreError:
    return StoreError(f"{x}")


def again(x: int) -> None:
    """Its own errors are those that its own docstring tells."""
    raise StoreError(f"{x}")


@pytest.mark.parametrize("name", ["itself", "by_a_helper", "by_a_check", "by_what_makes_it", "by_an_import"])
def test_an_error_is_told(name: str) -> None:
    method = getattr(Failing, name)
    gap = ["raises StoreError, but has no entry in Raises for it"]
    for text in ("Do `x`.", "Do `x`; raises `StoreError`.", "Do `x`.\n\nRaises:\n    ValueError: always."):
        assert found(text, method) == gap
    for told in (StoreError, BiBenchError):
        assert found(f"Do `x`.\n\nRaises:\n    {told.__name__}: always.", method) == []


@pytest.mark.parametrize("name", ["not_at_all", "abstract"])
def test_what_raises_nothing_of_its_own_tells_nothing(name: str) -> None:
    assert found("Do `x`.", getattr(Failing, name)) == []


def test_errors_of_constructors_and_python_and_catalogues_are_found() -> None:
    class Made:
        def __init__(self, x: int) -> None:
            raise ValueError(f"{x}")

    def look_up(name: str) -> int:
        return GADGETS[name]

    def known(names: Sequence[str]) -> list[int]:
        return [GADGETS[name] for name in GADGETS if name not in names]

    assert found("Make `x`.", Made) == ["raises ValueError, but has no entry in Raises for it"]
    assert set(doc_errors.raised(look_up)) == {UnknownNameError.__name__}
    assert doc_errors.raised(known) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("Sign (Eq. 12).", "As in Section 3.2.", "Table 6.", "Liu et al., 2020.", "Bi-Real Net, ECCV 2018."),
        *("(Holm, 1979)", "arXiv:1602.02830", "https://arxiv.org/abs/1602.02830"),
        *("BiBench's own.", "`torch.nn.functional.mse_loss`"),
    ],
)
def test_a_source_is_told(text: str) -> None:
    assert doc_rules.has_source(text)


@pytest.mark.parametrize(
    "text", ["", "Sign of weights.", "Our own.", "In 2020 steps.", "Equal to the mean.", "Section by section."]
)
def test_what_names_no_source_is_found(text: str) -> None:
    assert not doc_rules.has_source(text)


def test_all_that_needs_a_source_is_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    named = set(doc_gaps.sourced())
    assert named >= {"operator bnn", "operator lsq", "compressor resrep", "estimator STE", "estimator Fourier"}
    assert named >= {"track learning_task", "distillation dmd", "bibench.tasks.detection.Detection.evaluate"}
    assert named >= {"bibench.statistics.ranks", "bibench.complexity.overall"}
    assert "bibench.audit" not in named
    monkeypatch.setattr(doc_gaps.OPERATORS["bnn"], "paper", "")
    monkeypatch.setattr(doc_gaps.OPERATORS["bnn"], "__doc__", "Signs.")
    assert list(doc_gaps.sourceless()) == ["operator bnn: names no source"]
