"""Manifests that are damaged or made up get one clear error before anything is opened."""

import json
from pathlib import Path
from typing import Any

import pytest

from bibench.deploy import manifest
from bibench.deploy.manifest import Manifest, Tensor
from bibench.errors import StoreError

WHOLE = Manifest("onnxruntime", "m.onnx", (Tensor("x", ("batch", 3), "float32"),), (), layers={}, provenance={"a": 1})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A file that is told to be a model."""
    (tmp_path / "m.onnx").write_bytes(b"model")
    return tmp_path / "m.onnx"


def written(model: Path, **changes: Any) -> None:
    facts = {**WHOLE.to_dict(), "sha256": manifest.checksum(b"model"), "bytes": 5, **changes}
    manifest.path_of(model).write_text(json.dumps(facts))


def test_round_trip(model: Path) -> None:
    written(model)
    found = manifest.read(model)
    assert found is not None
    assert found.inputs == WHOLE.inputs
    assert (found.engine, found.provenance) == ("onnxruntime", {"a": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": None},
        {"bytes": "5"},
        {"engine": 3},
        {"file": None},
        {"layers": []},
        {"layers": {"conv": 3}},
        {"layers": {"conv": {"inputs": ["x"]}}},
        {"layers": {"conv": {"inputs": [3], "output": "y"}}},
        {"provenance": "me"},
        {"audit": []},
        {"notes": None},
        {"inputs": 1},
        {"inputs": [{"name": "x", "shape": [3], "dtype": "float99"}]},
        {"inputs": [{"name": "x", "shape": None, "dtype": "float32"}]},
        {"format": "1"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_what_is_no_manifest(model: Path, changes: dict[str, Any]) -> None:
    written(model, **changes)
    with pytest.raises(StoreError, match=r"m\.json is not a manifest \(.*\); export the model again"):
        manifest.read(model)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '{"nodes": []}'])
def test_other_files(model: Path, text: str) -> None:
    manifest.path_of(model).write_text(text)
    with pytest.raises(StoreError, match=r"m\.json (is not a manifest|cannot be read)"):
        manifest.read(model)


def test_a_newer_format_and_another_model(model: Path) -> None:
    written(model, format=manifest.FORMAT + 1)
    with pytest.raises(StoreError, match="made by a newer bibench"):
        manifest.read(model)
    written(model, sha256="0" * 64)
    with pytest.raises(StoreError, match="truncated or was changed"):
        manifest.read(model)
