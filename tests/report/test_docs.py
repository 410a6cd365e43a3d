"""docs/report.md is true: its code runs and its command builds what the table of pages names."""

import re
import shlex
from pathlib import Path

import pytest

from bibench.report.page import PAGES, pages

from ..tracks.records import scored
from ..worlds import bibench_here, fresh_registries
from .sites import Html

TEXT = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), ids=["build", "page"])
def test_the_code_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with fresh_registries(PAGES):
        exec(compile(code, "report.md", "exec"), {"__name__": "__main__"})


def test_the_command_works_and_the_pages_are_those_of_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = scored({("t", "m", operator, seed): 0.5 for operator in ("fp32", "bnn") for seed in (0, 1)})
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "records.jsonl").write_text("".join(f"{r.to_line()}\n" for r in rows))
    (command,) = re.findall(r"```sh\n(.*?)\n```", TEXT, re.DOTALL)
    words = shlex.split(command)[1:]
    result = bibench_here(*words)
    assert result.returncode == 0, result.stderr
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
def test_mistakes_get_one_clear_error(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    record = scored({("t", "m", "bnn", 0): 0.5})[0]
    (tmp_path / "runs" / "records.jsonl").write_text(record.to_line() + "\n")
    result = bibench_here("report", *arguments)
    assert result.returncode == 2, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "site").exists()
