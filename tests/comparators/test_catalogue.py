"""Comparators are named, listed, checked and planned like operators, but are none; Table 21 as printed."""

import json
from statistics import mean

import pytest

from bibench.comparators.compressor import (
    COMPRESSORS,
    Compressor,
    compressor,
    compressor_of,
    is_comparator,
    known_comparators,
)
from bibench.comparators.table21 import TABLE_21, printed_accuracy
from bibench.contracts import check
from bibench.foundation.choice import choice
from bibench.foundation.errors import BiBenchError, UnknownNameError
from bibench.operators import PAPER_ORDER, known_operators
from bibench.suite.cell import Cell
from bibench.suite.definition import SUITES, cells

from ..worlds import bibench_here, fresh_registries


@pytest.mark.parametrize("name", list(COMPRESSORS))
def test_compressors_keep_their_contracts(name: str) -> None:
    findings = list(check("compressor", name))
    assert len(findings) >= 6
    assert not [f for f in findings if f.problem]


def test_a_compressor_that_breaks_them_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(COMPRESSORS, "_entries", dict(COMPRESSORS._entries))
    monkeypatch.setattr(COMPRESSORS, "_sources", dict(COMPRESSORS._sources))
    compressor("broken")(type("Broken", (Compressor,), {}))
    assert [f.contract for f in check("compressor", "broken") if f.problem] == ["what_is_left_is_smaller"]


def test_they_are_no_operators() -> None:
    assert known_comparators() == ["dorefa_k", "lsq", "pact", "l1_filters", "resrep"]
    assert not set(known_comparators()) & set(known_operators())
    assert all(is_comparator(name) for name in ("lsq", "lsq[bits=8]", "resrep[reduction=0.3]"))
    assert not any(is_comparator(name) for name in (*PAPER_ORDER, "recu[scale_init=weight]", "somebody_elses"))


def test_suites_of_all_operators_do_not_have_them() -> None:
    assert not any(is_comparator(str(c.operator)) for name in ("quick", "embedded") for c in cells(SUITES[name]))


def test_the_suites_that_compare() -> None:
    found = cells(SUITES["compression"])
    assert {str(c.model) for c in found} == {"resnet18", "resnet20", "vgg_small"}
    assert {str(c.operator) for c in found} >= {row.operator for row in TABLE_21 if row.operator} | set(PAPER_ORDER)
    assert len(found) == 3 * (9 + 9 + 2)
    assert len(cells(SUITES["compression_quick"])) == 2 * 20


@pytest.mark.parametrize(
    ("operator", "problem"),
    [
        ("lsq[bit=2]", "'lsq' has no option 'bit'; did you mean 'bits'\\?; it has: bits=2, profile='default'"),
        ("resrep[x=1]", "'resrep' has no option 'x'"),
    ],
)
def test_options_they_do_not_have(operator: str, problem: str) -> None:
    chosen = Cell(choice("digits_photos"), choice("resnet20"), choice(operator), choice("quick"), 0)
    with pytest.raises(BiBenchError, match=problem):
        chosen.validate()
    with pytest.raises(BiBenchError, match=problem):
        compressor_of(choice(operator))


def test_an_unknown_name_and_a_name_twice() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'lsq'"):
        compressor_of(choice("lsqq"))
    with pytest.raises(UnknownNameError, match="did you mean 'resrep'"):
        compressor_of(choice("resrap"))
    with pytest.raises(BiBenchError, match="an operator has this name"):
        compressor("bnn")(type("Mine", (Compressor,), {}))
    with pytest.raises(BiBenchError, match="decorates a subclass of Compressor"):
        compressor("mine")(int)


def test_the_command_line_lists_counts_and_checks_them(tmp_path) -> None:
    listed = json.loads(bibench_here("list", "comparators", "--json").stdout)
    assert [row["name"] for row in listed] == known_comparators()
    assert "lsq" not in bibench_here("list", "operators").stdout
    counted = bibench_here(
        *("complexity", "resnet20", "--task", "cifar10", "--format", "json"),
        *("--operators", "lsq[bits=4],l1_filters[ratio=0.5],resrep"),
    ).stdout
    assert "decides in training" in counted and "l1_filters[ratio=0.5]" in counted
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from bibench.comparators.l1_filters import L1Filters\n"
        "from bibench.comparators.compressor import compressor\n\n"
        "@compressor('half')\nclass Half(L1Filters):\n    def __init__(self):\n        super().__init__(ratio=0.5)\n"
    )
    with fresh_registries(COMPRESSORS):
        assert "6 of 6 contracts hold" in bibench_here("check", mine).stdout


class TestTable21:
    def test_its_overall_rows_are_means_of_its_rows(self) -> None:
        rows = {row.method: row for row in TABLE_21}
        for overall, methods in (
            ("INT2 (overall)", ("DoReFa-INT2", "PACT-INT2", "LSQ-INT2")),
            ("INT8 (overall)", ("DoReFa-INT8", "PACT-INT8", "LSQ-INT8")),
            ("Pruning (overall)", ("L1-norm (Li et al., 2016)", "ResRep")),
        ):
            for column, digits in (("resnet18", 2), ("resnet20", 2), ("flops", 3), ("parameters", 0)):
                printed = getattr(rows[overall], column)
                assert mean(getattr(rows[m], column) for m in methods) == pytest.approx(printed, abs=0.51 * 10**-digits)

    def test_ratios_printed_beside_them(self) -> None:
        full = TABLE_21[0]
        printed = {"Binary (overall)": (12.32, 13.22), "INT2 (overall)": (8.07, 6.95), "INT8 (overall)": (1.87, 2.87)}
        for row in TABLE_21:
            if row.method in printed:
                ratios = full.flops / row.flops, full.parameters / row.parameters
                assert ratios == pytest.approx(printed[row.method], abs=0.006)

    def test_which_cells_have_a_printed_number(self) -> None:
        assert printed_accuracy("cifar10", "resnet20", "lsq[bits=2]") == 89.26
        assert printed_accuracy("cifar10", "resnet18", "fp32") == 94.82
        for task, model, operator in (
            ("digits_photos", "resnet20", "lsq[bits=2]"),
            ("cifar10", "vgg_small", "lsq[bits=2]"),
            ("cifar10", "resnet20", "lsq[bits=4]"),
        ):
            assert printed_accuracy(task, model, operator) is None
