"""The example of docs/deployment.md runs."""

import subprocess
import sys
from pathlib import Path

from ..test_docs import blocks

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path) -> None:
    (code,) = blocks(PAGE, "python")
    run = subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert "the same model" in run.stdout
    assert (tmp_path / "model.json").exists()
