"""What the products of a file promise: only layers that its engine runs at 1 bit, and gains by, count so."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import bibench
from bibench.deploy import manifest, theory
from bibench.deploy.manifest import Manifest, Tensor

ROWS = [
    {"name": "stem", "kind": "conv2d", "weight_bits": 32, "activation_bits": 32, "macs": 100},
    {"name": "dw", "kind": "conv2d", "weight_bits": 1, "activation_bits": 1, "macs": 200, "slow": "depthwise: 9"},
    {"name": "pw", "kind": "conv2d", "weight_bits": 1, "activation_bits": 1, "macs": 6400},
    {"name": "left", "kind": "linear", "weight_bits": 1, "activation_bits": 1, "macs": 50},  # no 1-bit node
]


def described(engine: str = "bibench", rows: list | None = None) -> Manifest:
    tensor = Tensor("x", ("batch", 3), "float32")
    layers = {name: {"inputs": ["x"], "output": "y"} for name in ("dw", "pw")}
    audit = {"rows": ROWS if rows is None else rows}
    return Manifest(engine, "net.onnx", (tensor,), (tensor,), layers=layers, audit=audit)


def written(folder: Path, found: Manifest) -> Path:
    content, path = b"model", folder / found.file
    manifest.store(replace(found, sha256=manifest.checksum(content), bytes=len(content)), path, content)
    return path


def speedup(folder: Path, found: Manifest, engine: str) -> float | None:
    return theory.theoretical_speedup(written(folder, found), engine)


@pytest.mark.parametrize(
    ("made_for", "run_by", "left"),
    [
        ("bibench", "bibench", 100 + 200 + 6400 / 64 + 50),
        ("larq", "larq", 100 + 200 + 6400 / 64 + 50),
        ("onnxruntime", "onnxruntime", 6750),  # ±1 in float
        ("onnxruntime", "bibench", 6750),  # the same file in a session that knows our operators, which it has none of
        ("dabnn", "onnxruntime", 6750),
        ("torch", "torch", 6750),
    ],
)
def test_it_counts_as_the_engine_computes(tmp_path: Path, made_for: str, run_by: str, left: float) -> None:
    assert speedup(tmp_path, described(made_for), run_by) == pytest.approx(6750 / left)


def test_nothing_is_promised_where_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / "plain.onnx").write_bytes(b"model")
    assert theory.theoretical_speedup(tmp_path / "plain.onnx", "bibench") is None
    assert speedup(tmp_path, described(rows=[]), "bibench") is None
    assert theory.float_share(described(rows=[]), "bibench") is None


def test_the_share_in_float() -> None:
    assert theory.float_share(described(), "bibench") == pytest.approx(150 / 6750)
    assert theory.float_share(described("onnxruntime"), "onnxruntime") == 1


@pytest.mark.parametrize("engine", ["bibench", "onnxruntime"])
def test_of_a_file_as_it_is_exported(tmp_path: Path, engine: str) -> None:
    """Depthwise and pointwise; the manifest carries why the first is slow."""
    torch.manual_seed(0)
    x = torch.randn(1, 16, 8, 8)
    net = nn.Sequential(nn.Conv2d(16, 32, 1), nn.Conv2d(32, 32, 3, groups=32, padding=1), nn.Conv2d(32, 64, 1))
    net.append(nn.Conv2d(64, 4, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        audit = bibench.binarize(net, "bnn", example_inputs=x)
    bibench.export(net.eval(), tmp_path / "net.onnx", x, engine=engine)
    macs = {row.name: row.macs or 0 for row in audit.rows}
    total = sum(macs.values())
    packed = {"2": macs["2"] / 64 + total - macs["2"]}["2"] if engine == "bibench" else total
    assert theory.theoretical_speedup(tmp_path / "net.onnx", engine) == pytest.approx(total / packed)
