"""docs/larq_dabnn.md is true: its code runs, its commands give its table."""

import json
import re
import shlex
from pathlib import Path

import pytest

from bibench import operators

from ..cli.test_cli import Call, call

__all__ = ["call"]

PAGE = (Path(__file__).parents[2] / "docs" / "larq_dabnn.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks("python")), "larq_dabnn.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('True ("the batch is 1'), lines
    assert lines[-1] == "True"
    assert all("the same model" in line for line in lines[1:-1])


def test_commands(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    names = re.findall(r"^\| (\w+) \| (?:yes|no) ", PAGE, re.MULTILINE)
    monkeypatch.setattr(operators, "known_operators", lambda: names)  # without those of other tests
    summary, zero, minus = [shlex.split(line)[1:] for block in blocks("sh") for line in block.splitlines()]
    assert call(*summary).out in PAGE
    text = call(*zero).out
    assert "train with bibench.binarize(..., pad_value=-1)" in text
    assert "computed at run time" in text
    runs = {(row["engine"], row["operator"]): row["deployable"] for row in json.loads(call(*minus, "--json").out)}
    assert runs == {("larq", "bnn"): True, ("dabnn", "bnn"): True}
