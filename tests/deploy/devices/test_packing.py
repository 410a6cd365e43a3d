"""Bundles: whole, and never leading out of their folder."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from bibench.deploy.devices.packing import JOB, pack, place
from bibench.foundation.errors import BiBenchError


def test_archive_and_folder_hold_the_same(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"m" * 1000)
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o700)
    files = {"files/0/model.onnx": tmp_path / "model.onnx", "programs/tool": tmp_path / "tool"}
    archive = io.BytesIO()
    pack(archive, {"a": 1}, files)
    archive.seek(0)
    with tarfile.open(fileobj=archive) as opened:
        members = {m.name: m for m in opened.getmembers()}
        opened.extractall(tmp_path / "unpacked", filter="data")
    (tmp_path / "placed").mkdir()
    place(tmp_path / "placed", {"a": 1}, files)
    for root in (tmp_path / "unpacked", tmp_path / "placed"):
        assert json.loads((root / JOB).read_text()) == {"a": 1}
        assert (root / "files/0/model.onnx").read_bytes() == b"m" * 1000
        assert (root / "programs/tool").stat().st_mode & 0o100
        assert (root / "bundle/__main__.py").exists()
    assert {m.uid for m in members.values()} == {0} and {m.uname for m in members.values()} == {""}


@pytest.mark.parametrize("name", ["../x", "/x", "files/../../x"])
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(BiBenchError, match="leads out of the bundle"):
        pack(io.BytesIO(), {}, {name: tmp_path / "x"})
