"""Manifests that are damaged or made up get one clear error before anything is opened."""

import errno
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bibench.deploy import manifest
from bibench.deploy.manifest import Manifest, Tensor
from bibench.foundation.errors import StoreError

from ..foundation.test_files import names
from ..killing import killed_at

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
        {"layers": {"conv": {"inputs": ["x"], "output": "y", "shift": [[1.0], 2.0]}}},
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


def test_a_full_disk_leaves_the_old_pair(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of the two files does not fit."""
    written(model)
    before = {path.name: path.read_bytes() for path in model.parent.iterdir()}
    calls: list[int] = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bibench.foundation.files.os.fsync", full)
    with pytest.raises(StoreError, match=r"cannot write .*m\.onnx .*the disk is full"):
        manifest.store(WHOLE, model, b"new")
    monkeypatch.setattr(Path, "replace", lambda *_: full(0))
    with pytest.raises(StoreError, match="the disk is full"):
        manifest.store(WHOLE, model, b"new")
    assert calls
    assert {path.name: path.read_bytes() for path in model.parent.iterdir()} == before


def test_what_cannot_be_said_in_json_replaces_nothing(model: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        manifest.store(replace(WHOLE, provenance={"loss": float("nan")}), model, b"new")
    assert model.read_bytes() == b"model"


def test_other_json_beside_the_model_is_kept(model: Path) -> None:
    """Labels of classes, for instance; but a damaged manifest is cured by exporting again."""
    manifest.path_of(model).write_text('{"0": "cat"}')
    with pytest.raises(StoreError, match=r"m\.json is where the manifest of m\.onnx belongs, and is another file"):
        manifest.require_free(model)
    for damaged in ("", '{"format": 1, "engine": 3}'):
        manifest.path_of(model).write_text(damaged)
        manifest.require_free(model)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder; name the model file"):
        manifest.read(tmp_path)


def test_a_manifest_is_no_model(model: Path) -> None:
    written(model)
    with pytest.raises(StoreError, match=r"m\.json is where the manifest of a model is; name the model file beside it"):
        manifest.read(manifest.path_of(model))


@pytest.mark.parametrize("older", [False, True])
def test_whenever_an_export_is_killed_there_is_a_pair(tmp_path: Path, older: bool) -> None:
    """The old one, or the new one, whose manifest may still have the name that it was written by."""
    for step in range(1, 20):
        folder = tmp_path / str(step)
        folder.mkdir()
        model, contents = folder / "m.onnx", {"old": b"old", "new": b"model"}
        described = {
            name: replace(WHOLE, sha256=manifest.checksum(content), notes=(name,)) for name, content in contents.items()
        }
        if older:
            manifest.store(described["old"], model, contents["old"])
        ended = killed_at(step, partial(manifest.store, described["new"], model, contents["new"]), ("os.rename",))
        if model.exists():
            found = manifest.read(model)
            assert found is not None
            assert model.read_bytes() == contents[found.notes[0]]
        else:
            assert not older
        manifest.require_free(model)
        manifest.store(described["new"], model, contents["new"])
        assert names(folder) == ["m.json", "m.onnx"]
        if not ended:
            break
    assert step == 3


def test_a_strangers_scratch_file_is_no_manifest(model: Path) -> None:
    for name, text in ((".m.json-01234567", "{}"), (".m.json-89abcdef", "[]")):
        model.with_name(name).write_text(text)
    assert manifest.read(model) is None
