"""The example of docs/deployment.md runs."""

from pathlib import Path

import pytest

from ..test_docs import blocks

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(PAGE, "python")
    exec(compile(code, "deployment.md", "exec"), {})
    assert "the same model" in capsys.readouterr().out
    assert (tmp_path / "model.json").exists()
