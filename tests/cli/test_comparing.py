"""``bibench versus`` as a user meets it."""

import csv
import io
from pathlib import Path

import pytest

from ..statistics.worlds import B, D, X, world
from .test_cli import Call, call
from .test_ranking import written

__all__ = ["call"]

QUICK = ("--samples", "400")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    means = {B: {"t": 0.5, "u": 0.6}, X: {"t": 0.7, "u": 0.8}, D: {"t": 0.7, "u": 0.8}}
    return written(tmp_path, world(means, 3, 0.02))


def test_the_first_line_is_the_answer(call: Call, file: Path) -> None:
    out = call("versus", B, X, file, *QUICK).out
    first, *rest = out.splitlines()
    assert first.startswith("xnor is better than bnn by ") and first.endswith(", 2 cells, 3 seeds).")
    lines = [line.split() for line in rest]
    assert [line[0] for line in lines if line and line[0] in ("t", "u", "overall")] == ["t", "u", "overall"]


def test_every_format_has_the_answer(call: Call, file: Path) -> None:
    found = call("versus", B, X, file, *QUICK, "--format", "json").json
    (answer,) = found["answers"]
    assert answer.startswith("xnor is better than bnn")
    assert [row["task"] for row in found["rows"]] == ["t", "u", ""]
    assert {row["better"] for row in found["rows"]} == {"xnor"}
    for format in ("markdown", "latex"):
        assert call("versus", B, X, file, *QUICK, "--format", format).out.startswith("xnor is better than bnn")
    shown = call("versus", B, X, file, *QUICK, "--format", "csv")
    assert shown.err.splitlines()[0] == answer
    assert len(list(csv.DictReader(io.StringIO(shown.out)))) == 3


def test_published(call: Call) -> None:
    out = call("versus", "reactnet", "recu", "published", *QUICK).out
    assert out.startswith("One seed: reactnet scores 5.7 points above recu on 55 cells")
    assert "no interval within a task: nothing was repeated in it (cifar10, coco17" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((B, "xnr"), "no record has the operator 'xnr'; did you mean 'xnor'?"),
        ((B, X, "--track", "learning"), "unknown track 'learning'; did you mean 'learning_task'?"),
        ((B, X, "--protocol", "papper"), "unknown protocol 'papper'; did you mean 'paper'?"),
        ((B, X, "--tasks", "tt"), "no record has the task tt; did you mean 't'? The records have: t, u"),
        ((B, X, "--metric", "omm"), "did you mean 'om'?"),
    ],
)
def test_near_misses(call: Call, file: Path, arguments: tuple[str, ...], said: str) -> None:
    one, two, *more = arguments
    found = call("versus", one, two, file, *more)
    assert found.code == 2 and said in found.err
