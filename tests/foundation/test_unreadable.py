"""A file that may not be read is not called damaged, and nobody is told to delete it."""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from bibench.data.annotations import file_names
from bibench.data.audio import read_wave
from bibench.data.clouds import load_clouds
from bibench.data.corruptions.sets import open_array
from bibench.data.detection import _open
from bibench.data.glue import _csv_rows, _lines, _polars_rows
from bibench.data.meshes import read_off
from bibench.data.modelnet import _hdf5_arrays, read_table
from bibench.data.text import published_tokenizer
from bibench.data.voc import image_ids
from bibench.deploy import manifest
from bibench.deploy.devices import load_devices
from bibench.deploy.identity import onnx_model
from bibench.deploy.imported import read_measurements
from bibench.foundation.checksums import sha256
from bibench.foundation.errors import BiBenchError, CheckpointError
from bibench.foundation.files import load_checkpoint, read_json, unreadable
from bibench.models.pretrained import _config, _read
from bibench.records.record import read, read_compared, read_file
from bibench.records.sealed import compare, told
from bibench.train.stored import read_model


def _end(name: str) -> str:
    said = {"files": {name: "0"}}
    return json.dumps({**said, "sha256": sha256(json.dumps(said).encode())})


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "json": ("a.json", read_json),
    "checkpoint": ("a.pt", load_checkpoint),
    "records": ("records.jsonl", read_file),
    "mesh": ("a.off", read_off),
    "table": ("a.txt", lambda file: read_table(file, columns=3, delimiter=None)),
    "wave": ("a.wav", read_wave),
    "array": ("a.npy", lambda file: open_array(file, (1, 2), "make it again")),
    "clouds": ("index.npz", lambda file: load_clouds(file.parent)),
    "image": ("a.png", lambda file: _open(SimpleNamespace(path=file, size=(1, 1)))),  # type: ignore[arg-type]
    "list of images": ("train.txt", image_ids),
    "lines": ("train.tsv", lambda file: list(_lines(file))),
    "csv": ("train.csv", lambda file: list(_csv_rows(file, ["a"]))),
    "parquet": ("train.parquet", lambda file: list(_polars_rows(file, ["a"], ["read_parquet"]))),
    "hdf5": ("a.h5", lambda file: _hdf5_arrays.__wrapped__(file)),
    "tokenizer": ("tokenizer.json", lambda file: published_tokenizer(file.parent)),
    "vocabulary": ("vocab.txt", lambda file: published_tokenizer(file.parent)),
    "configuration": ("config.json", lambda file: _config(file.parent)),
    "weights": ("model.safetensors", lambda file: _read(file.parent)),
    "measurements": ("a.csv", read_measurements),
    "devices": ("a.toml", load_devices),
    "onnx": ("a.onnx", onnx_model),
    "model": ("a.onnx", manifest.read),
    "end": ("done.json", lambda file: told(file.parent)),
    "sealed": ("curve.csv", lambda file: compare(file.parent, file.name)),
    "sealed model": ("model.pt", read_model),
    "summed": ("records.jsonl", read_compared),
    "sum": ("records.jsonl.sha256", lambda file: read_compared(file.with_suffix(""))),
}
BESIDE: dict[str, tuple[str, str]] = {
    "model": (manifest.path_of(Path("a.onnx")).name, "{}"),
    "sealed": ("done.json", _end("curve.csv")),
    "sealed model": ("done.json", _end("model.pt")),
    "summed": ("records.jsonl.sha256", "0  records.jsonl\n"),
}
"""What another file of the folder says of it."""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("reader", READERS)
def test_what_the_system_forbids(reader: str, open_folder: Path) -> None:
    name, read = READERS[reader]
    file = open_folder / name
    if reader in BESIDE:
        other, content = BESIDE[reader]
        (open_folder / other).write_text(content)
    file.write_bytes(b"\0\xff" * 32)
    with pytest.raises(BiBenchError):  # and all libraries are imported, which another user may not be able to
        read(file)
    file.chmod(0)
    pid = os.fork()
    if pid == 0:
        os._exit(_refused(file, read))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _refused(file: Path, read: Callable[[Path], object]) -> int:
    """0 when reading it is refused with the right words, to a user whom permissions concern."""
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        read(file)
    except BiBenchError as error:
        said = str(error)
        right = "you may not read it; change its permissions (chmod u+r) or ask its owner" in said and file.name in said
        return 0 if right and "damaged" not in said and "delete" not in said else _tell(said, 1)
    except BaseException as error:
        return _tell(repr(error), 2)
    return _tell("it was read", 3)


def _tell(text: str, code: int) -> int:
    os.write(2, f"{text}\n".encode())
    return code


@pytest.mark.parametrize("reader", ["json", "checkpoint", "records", "mesh", "table", "wave", "array", "image", "csv"])
def test_a_folder_in_its_place(reader: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    (tmp_path / name).mkdir()
    with pytest.raises(BiBenchError, match=r"cannot be read \(Is a directory\): a folder is in its place") as caught:
        read(tmp_path / name)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("name", ["done.json", "records.jsonl.sha256"])
def test_what_says_of_records_may_not_be_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text("")
    (tmp_path / name).mkdir()
    with pytest.warns(UserWarning, match=r"left out: .*cannot be read \(Is a directory\)"):
        assert read([tmp_path]) == []


def test_a_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        try:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        except OSError:
            raise RuntimeError("PytorchStreamReader failed reading zip archive")  # noqa: B904

    (tmp_path / "a.pt").touch()
    monkeypatch.setattr("torch.load", fail)
    with pytest.raises(CheckpointError, match=r"checkpoint .*a\.pt cannot be read .*: the disk or the connection"):
        load_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "x"), "you may not read it"),
        (OSError(errno.EMFILE, "x"), "too many files are open"),
        (MemoryError(), "memory is short"),
        (Exception("Permission denied (os error 13)"), "you may not read it"),
        (OSError("image file is truncated"), ""),
        (OSError(errno.EINVAL, "x"), ""),
        (ValueError("x"), ""),
    ],
)
def test_what_is_the_systems_fault(error: Exception, said: str) -> None:
    told = unreadable(Path("a"), error)
    assert said in told
    assert bool(told) == bool(said)


def test_a_folder_of_images_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BiBenchError, match="cannot be read"):
        file_names(tmp_path / "none")
