"""The examples of docs/deployment.md run."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bibench
from bibench import deploy
from bibench.records.record import read

from ..cli.test_cli import Call, call
from ..kernels.native import needs_core
from ..test_docs import blocks
from .models import binary

__all__ = ["call"]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
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


@pytest.mark.slow
@needs_core
def test_a_checkpoint_of_ones_own(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the page, in turn: `examples/own_model.py` trains what they take."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", "examples", ignore=shutil.ignore_patterns("cpp"))
    program, *commands = next(block for block in blocks(PAGE, "sh") if "--factory" in block).splitlines()
    subprocess.run([sys.executable, *shlex.split(program)[1:]], check=True, capture_output=True, timeout=120)
    said = {}
    for command in commands:
        words = [*shlex.split(command)[1:], *(("--max-seconds", "1", "-o", "runs") if "latency" in command else ())]
        ended = call(*words)
        assert ended.code == 0, ended.err
        said[words[0]] = ended.out
    assert "own_binary.onnx" in said["export"] and "4 1-bit layers" in said["export"]
    assert "the same model: 4 1-bit layers" in said["verify"]
    assert {(r.model, r.operator) for r in read([Path("runs")])} == {
        ("own_model.build", o) for o in ("fp32", "reactnet")
    }
    assert "own_model.build reactnet" in said["latency"]
