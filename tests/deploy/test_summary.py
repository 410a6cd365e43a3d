"""The derived summary equals the paper's Table 4 for Larq and daBNN, and shows what our engine adds."""

import csv
import io
import json

import pytest

from bibench.deploy import ENGINES
from bibench.deploy.summary import summary
from bibench.foundation.choice import choice

from ..cli.test_cli import Call, call

__all__ = ["call"]

TABLE_4 = {  # deployable on Larq, on daBNN, granularity, form, fold, re-scaling, mean-shift
    "bnn": (True, True, "", "", None, False, False),
    "xnor": (False, False, "channel-wise", "FP32", True, True, False),
    "dorefa": (True, True, "channel-wise", "FP32", True, False, False),
    "bireal": (True, True, "channel-wise", "FP32", True, False, False),
    "xnorpp": (False, False, "spatial-wise", "FP32", False, False, False),
    "reactnet": (True, False, "channel-wise", "FP32", True, False, True),
    "recu": (True, True, "channel-wise", "FP32", True, False, False),
    "fda": (True, True, "channel-wise", "FP32", True, False, False),
}


def test_table_4_of_the_paper() -> None:
    rows = {row.operator: row for row in summary(map(choice, TABLE_4), ENGINES)}
    found = {
        name: (
            *(not row.refusals[engine] for engine in ("larq", "dabnn")),
            *(row.granularity, row.form, row.fold_norm, row.rescaling, row.mean_shift),
        )
        for name, row in rows.items()
    }
    assert found == TABLE_4
    assert not any(row.refusals["bibench"] for row in rows.values())


def test_an_operator_of_another_border_is_refused_by_dabnn() -> None:
    (row,) = summary([choice("bnn[pad_value=0]")], ["larq", "dabnn"])
    assert "pad_value=-1" in row.refusals["dabnn"]
    assert row.to_dict()["deployable"] == {"larq": True, "dabnn": False}


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "table"])
def test_formats(call: Call, form: str) -> None:
    common = ("deploy", "matrix", "--operators", "bnn,xnor", "--engines", "larq,bibench", "--format", form)
    text = call(*common, "--summary").out
    layers = call(*common, "--task", "cifar10", "--models", "vgg_small").out
    if form == "json":
        assert json.loads(text)[1]["deployable"] == {"larq": False, "bibench": True}
        assert len(json.loads(layers)[2]["obstacles"]) == 5
    elif form == "csv":
        assert [(r["operator"], r["larq"]) for r in csv.DictReader(io.StringIO(text))] == [
            ("bnn", "yes"),
            ("xnor", "no"),
        ]
        assert "(5 layers" in list(csv.DictReader(io.StringIO(layers)))[2]["because"]
    elif form == "markdown":
        assert text.splitlines()[:2] == [
            "| operator | larq | bibench | scales | form | folds into norm | re-scaling | mean-shift |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
    else:
        assert "Deployability" in text
        assert "computed at run time" in layers


def test_an_unknown_format(call: Call) -> None:
    assert call("deploy", "matrix", "--format", "xml").code == 2
