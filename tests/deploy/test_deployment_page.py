"""The examples of docs/deployment.md run."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bibench
from bibench import deploy

from ..kernels.native import needs_core
from ..test_docs import blocks
from .models import binary

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")
EXPORTING, RUNNING = blocks(PAGE, "python")


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(EXPORTING, "deployment.md", "exec"), {})
    assert "the same model" in capsys.readouterr().out
    assert (tmp_path / "model.json").exists()


@needs_core
@pytest.mark.slow
def test_a_program_without_pytorch(tmp_path: Path) -> None:
    """Nor BiBench itself: ONNX Runtime and the library alone, in a process that can import neither."""
    model, x = binary("resnet20", "xnor")
    bibench.export(model, tmp_path / "model.onnx", x)
    with torch.no_grad():
        expected = model(x).argmax(1).tolist()
    (tmp_path / "x.f32").write_bytes(x.numpy().tobytes())
    program = f"""
import sys
sys.modules["torch"] = sys.modules["bibench"] = None
LIBRARY = {deploy.library()!r}
{RUNNING}
import numpy
x = numpy.fromfile("x.f32", "f4").reshape({tuple(x.shape)})
print(session.run(None, {{session.get_inputs()[0].name: x}})[0].argmax(1).tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stdout.strip() == str(expected), done.stderr
