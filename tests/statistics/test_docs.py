"""docs/statistics.md is true: its functions exist, its code and commands run, what it states of the paper holds."""

import re
import shlex
from pathlib import Path

import pytest

from bibench.records import read
from bibench.statistics import comparisons, coverage, critical_differences, leave_one_out

from ..cli.test_cli import Call, call

__all__ = ["call"]

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")
COMMANDS = [line.partition("#")[0].strip() for line in PAGE.splitlines() if line.startswith("bibench ")]


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "855 of 855 cells"
    assert "1 between 1 and 8 a fda" in out
    assert "28 comparisons" in out
    assert "Average ranks over 8 tasks; Friedman F(7, 49) = 8.84, p < 0.0001; critical difference 3.71" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_work(call: Call, command: str) -> None:
    assert len(COMMANDS) == 4
    assert call(*shlex.split(command)[1:]).code == 0


def test_what_it_states_of_the_paper() -> None:
    records = read([Path("published")])
    assert coverage(records).line == "855 of 855 cells"
    assert not any(pair.better for pair in comparisons(records, "learning_task"))
    (average,) = critical_differences(records, "learning_task")
    of = dict(zip(average.operators, average.average_ranks, strict=True))
    assert (round(of["fda"], 1), round(of["bnn"], 1)) == (2.6, 7.0)
    assert not set(average.letters["fda"]) & set(average.letters["bnn"])
    pairs = 8 * 7 / 2
    assert min(row.tau for row in leave_one_out(records, "learning_task")) >= 1 - 2 * 2 / pairs - 1e-9
