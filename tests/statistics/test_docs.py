"""docs/statistics.md is true: its functions exist, its code and commands run, what it states of the paper holds."""

import re
import shlex
from pathlib import Path

import pytest

from bibench.records import read
from bibench.statistics import coverage, leave_one_out

from ..cli.test_cli import Call, call

__all__ = ["call"]

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
COMMANDS = [line.partition("#")[0].strip() for line in PAGE.splitlines() if line.startswith("bibench ")]


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "855 of 855 cells"
    assert "1 a fda tied with xnor bireal reactnet recu" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_work(call: Call, command: str) -> None:
    assert len(COMMANDS) == 4
    assert call(*shlex.split(command)[1:]).code == 0


def test_what_it_states_of_the_paper() -> None:
    records = read([Path("published")])
    assert coverage(records).line == "855 of 855 cells"
    pairs = 8 * 7 / 2
    assert min(row.tau for row in leave_one_out(records, "learning_task")) >= 1 - 2 * 2 / pairs - 1e-9
