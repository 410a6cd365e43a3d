"""docs/scores.md is true: its code and commands run, its names exist, its numbers are those of the tables."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from bibench import published
from bibench.cli import app
from bibench.tracks import TRACKS

from ..test_docs import ROOT, blocks

PAGE = (ROOT / "docs" / "scores.md").read_text(encoding="utf-8")


def test_python_prints_what_its_comments_say(capsys: pytest.CaptureFixture[str]) -> None:
    for code in blocks(PAGE, "python"):
        exec(compile(code, "scores.md", "exec"), {})
        (promised,) = re.findall(r"print\(.*\)  # ([\d.]+)", code)
        assert capsys.readouterr().out == f"{promised}\n"


def commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks(PAGE, "sh") for line in block.splitlines()]
    return [line for line in lines if "runs" not in line.split()]


@pytest.mark.parametrize("command", commands())
def test_commands_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code in (0, None)
    assert "om" in capsys.readouterr().out


def test_every_track_has_its_equation_and_its_code() -> None:
    for name in TRACKS:
        assert f"`bibench.tracks.{name}.score`" in PAGE
        assert re.search(rf"^### {TRACKS[name].title}.*\b{TRACKS[name].equation.removeprefix('Eq. ')}\b", PAGE, re.M)


def test_its_numbers() -> None:
    records = published.records()
    found = {
        (r.track, r.metric, r.operator): f"{r.value:.2f}"
        for name in TRACKS
        for r in TRACKS[name].score(records, "paper")
        if r.value is not None
    }
    for key in (
        ("learning_task", "om", "reactnet"),
        ("neural_architecture", "mlp", "bireal"),
        *(("neural_architecture", metric, "fda") for metric in ("cnn", "transformer", "om")),
        *(("corruption_robustness", "om", operator) for operator in ("recu", "xnor")),
        *(("training_consumption", metric, "fda") for metric in ("time_cost", "sensitivity", "om")),
        *(("theoretical_complexity", metric, "bnn") for metric in ("speedup", "compression", "om")),
        *(("hardware_inference", "speedup", operator) for operator in ("bnn", "reactnet")),
    ):
        assert found[key] in PAGE, key
    assert f"{len(records):,} records" in PAGE
    collapsed = [r for r in records if r.kind == "score" and r.flags == "collapsed"]
    assert f"{len(collapsed)} scores ({sum(r.group == 'glue' for r in collapsed)} of GLUE" in PAGE
