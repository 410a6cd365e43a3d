"""Sessions where the compiled core is missing, is no library of operators, or the model is one of somebody else."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from bibench import deploy
from bibench.deploy import onnx_file, session
from bibench.foundation.errors import BiBenchError, MissingLibraryError

from ..kernels.native import needs_core
from .onnx_files import convolution


def test_a_missing_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bibench._core", None)
    said = r"the 1-bit operators need BiBench's compiled core.*it was never built: install a C\+\+20 compiler; then"
    with pytest.raises(MissingLibraryError, match=said):
        deploy.library()
    with pytest.raises(MissingLibraryError, match=said):
        deploy.ort_session(convolution(tmp_path / "m.onnx"))
    assert "compiled core" in deploy.ENGINES["bibench"]().available()
    with pytest.raises(MissingLibraryError, match="engine 'bibench': the 1-bit operators need"):
        deploy.ENGINES["bibench"]().require()


def test_a_library_without_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.so").write_bytes(b"no library")
    monkeypatch.setattr(session, "library", lambda: str(tmp_path / "other.so"))
    with pytest.raises(MissingLibraryError, match=r"other\.so does not offer its operators .*install a newer bibench"):
        session.register(onnxruntime.SessionOptions())


def test_any_other_model_runs_too(tmp_path: Path) -> None:
    if session_missing := deploy.ENGINES["bibench"]().available():
        pytest.skip(session_missing)
    opened = deploy.ort_session(convolution(tmp_path / "m.onnx"))
    assert isinstance(opened, onnxruntime.InferenceSession)
    [one] = opened.get_inputs()
    shape = [n if isinstance(n, int) else 2 for n in one.shape]
    assert opened.run(None, {one.name: np.zeros(shape, np.float32)})[0].shape[0] == shape[0]
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(BiBenchError, match=r"ONNX Runtime does not load .*text\.onnx"):
        deploy.ort_session(tmp_path / "text.onnx")


def test_a_name_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime does not try its only provider again, which it would tell on the screen."""
    path = convolution(tmp_path / "m.onnx")
    content = path.read_bytes()
    assert content.count(b"Conv") >= 1
    path.write_bytes(content.replace(b"Conv", b"C\xa0nv"))
    with pytest.raises(BiBenchError, match=r"ONNX Runtime does not load .*m\.onnx"):
        session.open_session(path.read_bytes(), session.session_options(1), str(path))
    assert capsys.readouterr().out == ""


@needs_core
def test_what_a_node_refuses_when_it_runs() -> None:
    from . import operators

    opened = operators.session(
        operators.Node("BinaryAttention", dict.fromkeys("QKV", np.ones((1, 1, 2, 3), "f4"))).model()
    )
    with pytest.raises(BiBenchError, match=r"ONNX Runtime does not run the model: .*K: expected shape \(1, 1, S, 3\)"):
        onnx_file.run(opened, [np.ones((1, 1, 2, 3), "f4"), np.ones((1, 1, 2, 4), "f4"), np.ones((1, 1, 2, 3), "f4")])
