"""docs/report.md is true: its code runs and its command builds what the table of pages names."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bibench.report.page import pages

from ..tracks.records import scored
from .sites import Html

TEXT = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
MAIN = "import sys; from bibench.cli.app import main; main()"


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), ids=["build", "page"])
def test_the_code_runs(code: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, env={**os.environ})


def test_the_command_works_and_the_pages_are_those_of_the_table(tmp_path: Path) -> None:
    rows = scored({("t", "m", operator, seed): 0.5 for operator in ("fp32", "bnn") for seed in (0, 1)})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "records.jsonl").write_text("".join(f"{r.to_line()}\n" for r in rows))
    (command,) = re.findall(r"```sh\n(.*?)\n```", TEXT, re.DOTALL)
    words = shlex.split(command)[1:]
    result = subprocess.run(
        [sys.executable, "-c", MAIN, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "site/index.html" in result.stdout
    assert "4 records" in result.stdout
    named = re.findall(r"^\| ([A-Z][\w ]+) \|", TEXT, re.MULTILINE)
    assert named == [page.label for page in pages() if page.order < 1000]
    assert all(name in Html(tmp_path / "site" / "index.html").text for name in named)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "does not exist"),
        (["runs", "--operators", "unheard"], "no record has the operator unheard"),
        (["runs", "--protocol", "papers"], "did you mean 'paper'"),
        (["runs", "-o", "runs"], "something else than a report"),
    ],
)
def test_mistakes_get_one_clear_error(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    record = scored({("t", "m", "bnn", 0): 0.5})[0]
    (tmp_path / "runs" / "records.jsonl").write_text(record.to_line() + "\n")
    result = subprocess.run(
        [sys.executable, "-c", MAIN, "report", *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 2, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "site").exists()
