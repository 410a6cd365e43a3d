"""docs/theoretical_complexity.md is true: its code exists and runs, and its commands work."""

import re
import shlex
from pathlib import Path

import pytest

from ..cli.test_cli import Call, call

__all__ = ["call"]

PAGE = (Path(__file__).parents[2] / "docs" / "theoretical_complexity.md").read_text(encoding="utf-8")
COMMANDS = [line.partition("#")[0].strip() for line in PAGE.splitlines() if line.startswith("bibench ")]


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    assert "W1A1" in capsys.readouterr().out


@pytest.mark.slow
def test_its_commands_work(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 7
    for command in COMMANDS:
        words = shlex.split(command)[1:]
        if "structures" in words:
            words += ["--sizes", "16", "--dims", "64", "--seeds", "1"]
        assert call(*words).code == 0, command


def test_the_table_of_ratios(call: Call) -> None:
    for convention, column in (("paper", 2), ("bibench", 3), ("products", 4)):
        asked = ("complexity", "resnet18[binarize_downsample=True]", "--input-shape", "3x224x224", "--format", "json")
        rows = {row["operator"]: row for row in call(*asked, "--convention", convention).json}
        for names, *printed in re.findall(
            r"^\| ([a-z, ]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.M
        ):
            for name in names.split(", "):
                assert printed[0] == f"{rows[name]['compression']:.2f}"
                assert printed[column - 1] == f"{rows[name]['speedup']:.2f}", (name, convention)
