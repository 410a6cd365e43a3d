"""Programs of `torch.export`: archives that could run code, or are none, are not opened."""

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import bibench
from bibench.deploy import load, manifest
from bibench.foundation.errors import BiBenchError


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program and its manifest."""
    path = tmp_path_factory.mktemp("torch") / "m.pt2"
    bibench.export(nn.Linear(3, 2).eval(), path, torch.zeros(2, 3), "torch")
    return path


def replaced(program: Path, content: bytes, folder: Path) -> Path:
    """Another file under the manifest of `program`, with its checksum: made by somebody who knows how."""
    facts = json.loads(manifest.path_of(program).read_text())
    facts |= {"sha256": manifest.checksum(content), "bytes": len(content)}
    (folder / "m.json").write_text(json.dumps(facts))
    (folder / "m.pt2").write_bytes(content)
    return folder / "m.pt2"


def test_pickles_are_not_opened(program: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    changed = 0
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("config.json") and b'"use_pickle": false' in data:
                data, changed = data.replace(b'"use_pickle": false', b'"use_pickle": true', 1), changed + 1
            new.writestr(name, data)
    assert changed
    with pytest.raises(BiBenchError, match="holds pickled objects, which could run code; it was not opened"):
        load(replaced(program, stream.getvalue(), tmp_path))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_program(program: Path, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BiBenchError, match=r"m\.pt2 is not a program of torch\.export"):
        load(replaced(program, content, tmp_path))


def test_cut_archives(program: Path, tmp_path: Path) -> None:
    whole = program.read_bytes()
    for size in (len(whole) // 2, len(whole) - 30):
        with pytest.raises(BiBenchError, match=r"m\.pt2 is not a program of torch\.export"):
            load(replaced(program, whole[:size], tmp_path))
