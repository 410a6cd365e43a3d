"""Registered engines take turns where BiBench is installed."""

from pathlib import Path

import pytest
import torch
from torch import nn

import bibench
from bibench.deploy import export
from bibench.deploy.contenders import contenders
from bibench.deploy.latency import Request, measure
from bibench.deploy.running import runner
from bibench.foundation.errors import BiBenchError


def exported(path: Path, engine: str, operator: str | None = "bnn") -> Path:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(1152, 4))
    if operator:
        bibench.binarize(model, operator, example_inputs=torch.randn(2, 3, 16, 16))
    export(model.eval(), path, torch.randn(2, 3, 16, 16), engine=engine)
    return path


def test_an_engine_runs_what_its_manifest_says(tmp_path: Path) -> None:
    contender = {"engine": "torch", "file": str(exported(tmp_path / "net.pt2", "torch"))}
    assert runner(contender, 1, 3)()[0].shape == (3, 4)
    (tmp_path / "net.json").unlink()
    with pytest.raises(BiBenchError, match=r"net\.pt2 has no manifest, which engine 'torch' needs"):
        runner(contender, 1, 1)


@pytest.mark.slow
def test_engines_side_by_side(tmp_path: Path) -> None:
    files = [exported(tmp_path / "t.pt2", "torch"), exported(tmp_path / "o.onnx", "onnxruntime")]
    base = exported(tmp_path / "base.onnx", "onnxruntime", None)
    found = measure(Request(tuple(contenders(files, base, [])), threads=(1,), max_seconds=2.0), lambda text: None)
    times = {(r.engine, r.operator): r for r in found.records if r.metric == "latency_ms"}
    assert {key: r.status for key, r in times.items()} == {
        ("onnxruntime", "fp32"): "ok",
        ("onnxruntime", "bnn"): "ok",
        ("torch", "bnn"): "ok",
    }
    assert {r.engine for r in found.records if r.metric == "speedup"} == {"torch", "onnxruntime"}


@pytest.mark.slow
def test_packed_models_run_with_our_operators(tmp_path: Path) -> None:
    from bibench.deploy import ENGINES

    if reason := ENGINES["bibench"]().available():
        pytest.skip(reason)
    packed, base = exported(tmp_path / "p.onnx", "bibench"), exported(tmp_path / "b.onnx", "onnxruntime", None)
    found = measure(Request(tuple(contenders([packed], base, [])), threads=(1,), max_seconds=2.0), lambda text: None)
    assert {(r.engine, r.operator, r.status) for r in found.records} == {
        ("bibench", "fp32", "ok"),
        ("bibench", "bnn", "ok"),
    }
