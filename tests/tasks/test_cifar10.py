"""CIFAR-10 read from tiny files in the true format: pickles of Python 2, in a folder or an archive."""

import functools
import http.server
import io
import os
import pickle
import struct
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10 as Reader

from bibench.foundation.checksums import file_digest
from bibench.foundation.errors import BiBenchError, DataError
from bibench.tasks.cifar10 import CIFAR10

FOLDER, ARCHIVE = "cifar-10-batches-py", "cifar-10-python.tar.gz"
TRAIN = [f"data_batch_{number}" for number in range(1, 6)]
FILES = [*TRAIN, "test_batch", "batches.meta"]
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PER_BATCH = 6

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


# -- the true format ---------------------------------------------------------------------------------------


def python2_pickle(value: Any) -> bytes:
    """`value` as Python 2 pickled it with protocol 2: strings are bytes, NumPy has its old module names."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    if isinstance(value, str | bytes):
        data = value.encode() if isinstance(value, str) else value
        return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(_python2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_python2(key) + _python2(item) for key, item in value.items()) + b"u"
    assert isinstance(value, np.ndarray) and value.dtype == np.uint8
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + _python2("b") + b"\x87R"
    byte = b"cnumpy\ndtype\n" + _python2("u1") + b"K\x00K\x01\x87R(K\x03" + _python2("|")
    byte += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    shape = b"".join(map(_python2, value.shape)) + b"\x86"
    return empty + b"(K\x01" + shape + byte + b"\x89" + _python2(value.tobytes()) + b"tb"


def write(folder: Path, largest_label: int = 9) -> dict[str, tuple[Pixels, list[int]]]:
    """All seven files; the images (N, 32, 32, 3) and labels of each batch."""
    random = np.random.RandomState(0)
    folder.mkdir(parents=True)
    written = {}
    for name in FILES[:-1]:
        images = random.randint(0, 256, (PER_BATCH, 32, 32, 3)).astype(np.uint8)
        labels = [*random.randint(0, 10, PER_BATCH - 1).tolist(), largest_label]
        content = {
            "batch_label": f"batch {name}",
            "labels": labels,
            "data": images.transpose(0, 3, 1, 2).reshape(PER_BATCH, 3072),  # red, green, blue plane
            "filenames": [f"picture_{number}.png" for number in range(PER_BATCH)],
        }
        (folder / name).write_bytes(python2_pickle(content))
        written[name] = (images, labels)
    meta = {"num_cases_per_batch": PER_BATCH, "label_names": CLASSES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(python2_pickle(meta))
    return written


def publish(monkeypatch: pytest.MonkeyPatch, folder: Path, archive: Path | None = None) -> None:
    """Make these the published files, as far as torchvision's checksums go."""
    monkeypatch.setattr(Reader, "train_list", [[name, file_digest(folder / name, "md5")] for name in TRAIN])
    monkeypatch.setattr(Reader, "test_list", [["test_batch", file_digest(folder / "test_batch", "md5")]])
    monkeypatch.setattr(Reader, "meta", {**Reader.meta, "md5": file_digest(folder / "batches.meta", "md5")})
    if archive is not None:
        monkeypatch.setattr(Reader, "tgz_md5", file_digest(archive, "md5"))


def pack(archive: Path, folder: Path, extra: list[tarfile.TarInfo] | None = None) -> Path:
    """The folder as .tar.gz, after `extra` members (files hold the word "evil")."""
    with tarfile.open(archive, "w:gz") as tar:
        for member in extra or []:
            member.size = 4 if member.isfile() else 0
            tar.addfile(member, io.BytesIO(b"evil"))
        tar.add(folder, FOLDER)
    return archive


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The unpacked data set."""
    write(root / FOLDER)
    publish(monkeypatch, root / FOLDER)
    return root / FOLDER


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """An unpacked data set outside the data root, to make archives of."""
    write(tmp_path / "elsewhere" / FOLDER)
    return tmp_path / "elsewhere" / FOLDER


@pytest.fixture
def archive(root: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set as an archive in the data root."""
    path = pack(root / ARCHIVE, elsewhere)
    publish(monkeypatch, elsewhere, path)
    return path


def everything(below: Path) -> dict[str, bytes]:
    return {str(path.relative_to(below)): path.read_bytes() for path in below.rglob("*") if path.is_file()}


# -- reading -----------------------------------------------------------------------------------------------


def test_the_fixture_is_in_the_true_format(folder: Path) -> None:
    with pytest.raises(UnicodeDecodeError):
        pickle.loads((folder / "data_batch_1").read_bytes())  # why readers give an encoding
    content = pickle.loads((folder / "data_batch_1").read_bytes(), encoding="bytes")
    assert set(content) == {b"batch_label", b"labels", b"data", b"filenames"}
    assert content[b"data"].shape == (PER_BATCH, 3072)


def expected(folder: Path, names: list[str], tmp_path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    written = write(tmp_path / "again")
    assert everything(tmp_path / "again") == everything(folder)
    images = torch.from_numpy(np.concatenate([written[name][0] for name in names]))
    return images, torch.tensor([label for name in names for label in written[name][1]])


@pytest.mark.parametrize(("split", "names"), [("train", TRAIN), ("test", ["test_batch"])])
def test_images_and_labels(folder: Path, root: Path, tmp_path: Path, split: str, names: list[str]) -> None:
    images, labels = expected(folder, names, tmp_path)
    task = CIFAR10(root)
    assert task.missing() == ""
    task.prepare()
    ours, targets = task.arrays(split)
    assert torch.equal(ours, images)
    assert ours.is_contiguous(), "pixels of one image must lie together"
    assert torch.equal(targets, labels)
    batches = task.batches(split, batch_size=4)
    assert batches.examples == len(images)
    served = torch.cat([batch.inputs[0] for batch in batches.epoch(0)])
    torch.testing.assert_close(served, task.normalize(images))


@pytest.mark.parametrize("seed", [None, 1])
def test_batches_are_channels_last(folder: Path, root: Path, seed: int | None) -> None:
    batch = next(CIFAR10(root).batches("train", batch_size=4, seed=seed).epoch(0))
    assert batch.inputs[0].shape == (4, 3, 32, 32)
    assert batch.inputs[0].is_contiguous(memory_format=torch.channels_last)


def test_there_is_no_validation_split(folder: Path, root: Path) -> None:
    task = CIFAR10(root)
    assert not task.has_validation()
    with pytest.raises(BiBenchError) as caught:
        task.batches("validation", batch_size=4)
    assert str(caught.value) == "task 'cifar10' has no split 'validation'; it has: train, test"


def test_the_checksum_sees_pixels_and_labels(folder: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = CIFAR10(root).checksum()
    assert CIFAR10(root).checksum() == first
    content = pickle.loads((folder / "test_batch").read_bytes(), encoding="latin1")
    content["data"][0, 0] ^= 1
    (folder / "test_batch").write_bytes(python2_pickle(content))
    publish(monkeypatch, folder)
    second = CIFAR10(root).checksum()
    content["labels"][0] = (content["labels"][0] + 1) % 10
    (folder / "test_batch").write_bytes(python2_pickle(content))
    publish(monkeypatch, folder)
    assert len({first, second, CIFAR10(root).checksum()}) == 3


# -- missing and damaged -----------------------------------------------------------------------------------


def test_no_data_root() -> None:
    told = CIFAR10(None).missing()
    assert told == f"no data root given; pass --data-root or set $BIBENCH_DATA to the folder of {FOLDER}"
    with pytest.raises(DataError) as caught:
        CIFAR10(None).batches("train", batch_size=4)
    assert str(caught.value) == f"task 'cifar10': {told}"


def test_an_empty_data_root(root: Path) -> None:
    told = CIFAR10(root).missing()
    assert told == f"{root} has neither {FOLDER}/ nor {ARCHIVE}; fetch {Reader.url} there, or pass --download"
    with pytest.raises(DataError) as caught:
        CIFAR10(root).prepare()
    assert str(caught.value) == f"task 'cifar10': {told}"
    assert CIFAR10(root, download=True).missing() == ""


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, root: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError) as caught:
        CIFAR10(root).batches("train", batch_size=4)
    assert str(caught.value) == f"{folder / name} is missing; unpack {ARCHIVE} again"


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(folder: Path, root: Path, name: str) -> None:
    published = file_digest(folder / name, "md5")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    found = file_digest(folder / name, "md5")
    with pytest.raises(DataError) as caught:
        CIFAR10(root).batches("test", batch_size=4)
    assert str(caught.value) == (
        f"{folder / name} is damaged or not the published file (MD5 {found}, expected {published}); "
        f"unpack {ARCHIVE} again"
    )


@pytest.mark.parametrize("label", [10, -1])
def test_labels_out_of_range(root: Path, monkeypatch: pytest.MonkeyPatch, label: int) -> None:
    write(root / FOLDER, largest_label=label)
    publish(monkeypatch, root / FOLDER)
    with pytest.raises(DataError, match=r"^cifar10, train split: labels range from -?\d to \d+, expected 0 to 9$"):
        CIFAR10(root).batches("test", batch_size=4)


# -- pickles of strangers ----------------------------------------------------------------------------------


@pytest.fixture
def malicious(tmp_path: Path) -> tuple[bytes, Path]:
    """A pickle that creates a file when it is opened, and that file."""
    trace = tmp_path / "executed"
    command = f"touch '{trace}'"
    return b"cos\nsystem\n" + _python2(command) + b"\x85R.", trace


def test_the_malicious_pickle_works(malicious: tuple[bytes, Path]) -> None:
    pickle.loads(malicious[0])
    assert malicious[1].exists()


@pytest.mark.parametrize("name", FILES)
def test_no_unpublished_pickle_is_opened(
    folder: Path, root: Path, malicious: tuple[bytes, Path], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content, trace = malicious
    (folder / name).write_bytes(content)
    for split in ("train", "test"):
        with pytest.raises(DataError, match=f"{name} is damaged or not the published file"):
            CIFAR10(root).arrays(split)
    assert not trace.exists()


@pytest.mark.parametrize("name", FILES)
def test_nor_one_from_an_archive(
    archive: Path, elsewhere: Path, malicious: tuple[bytes, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, trace = malicious
    (elsewhere / name).write_bytes(content)
    pack(archive, elsewhere)
    monkeypatch.setattr(Reader, "tgz_md5", file_digest(archive, "md5"))
    with pytest.raises(DataError, match=f"{name} is damaged or not the published file"):
        CIFAR10(archive.parent).arrays("train")
    assert not trace.exists()


# -- the archive -------------------------------------------------------------------------------------------


def test_the_archive_is_unpacked_once(archive: Path, elsewhere: Path, root: Path) -> None:
    task = CIFAR10(root)
    assert task.missing() == ""
    images, _ = task.arrays("train")
    assert len(images) == 5 * PER_BATCH
    assert everything(root / FOLDER) == everything(elsewhere)
    assert {path.name for path in root.iterdir()} == {FOLDER, ARCHIVE}
    archive.unlink()
    assert torch.equal(CIFAR10(root).arrays("train")[0], images)


def test_others_may_read_the_unpacked_folder(archive: Path, root: Path) -> None:
    before = os.umask(0o022)
    try:
        CIFAR10(root).prepare()
    finally:
        os.umask(before)
    assert (root / FOLDER).stat().st_mode & 0o777 == 0o755
    assert (root / FOLDER / "test_batch").stat().st_mode & 0o444 == 0o444


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_a_damaged_archive_is_not_unpacked(archive: Path, root: Path, damage: str) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content[: len(content) // 2] if damage == "truncated" else content)
    found = file_digest(archive, "md5")
    with pytest.raises(DataError) as caught:
        CIFAR10(root).prepare()
    assert str(caught.value) == (
        f"{archive} is damaged or not the published file (MD5 {found}, expected {Reader.tgz_md5}); "
        "delete it and fetch it again"
    )
    assert [path.name for path in root.iterdir()] == [ARCHIVE]


def no_archive(content: bytes) -> bytes:
    return b"<html>404</html>"


def truncated(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def scrambled(content: bytes) -> bytes:
    packed = archive_of(f"{FOLDER}/data_batch_1", b" ".join(b"%d" % number for number in range(50_000)))
    return packed[: len(packed) // 2] + b"\xff" * 1000


def other_folder(content: bytes) -> bytes:
    return archive_of("readme", b"text")


def archive_of(name: str, content: bytes) -> bytes:
    stream, member = io.BytesIO(), tarfile.TarInfo(name)
    member.size = len(content)
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("damage", [no_archive, truncated, scrambled, other_folder])
def test_a_failed_unpacking_leaves_nothing(
    archive: Path, root: Path, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the checksum of the archive says nothing of the damage."""
    archive.write_bytes(damage(archive.read_bytes()))
    monkeypatch.setattr(Reader, "tgz_md5", file_digest(archive, "md5"))
    with pytest.raises(DataError, match=f"^{archive} cannot be unpacked to {root}: "):
        CIFAR10(root).prepare()
    assert [path.name for path in root.iterdir()] == [ARCHIVE]


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def device(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = tarfile.FIFOTYPE
    return member


ESCAPES = {
    "parent": lambda outside: [tarfile.TarInfo("../evil")],
    "parent of the folder": lambda outside: [tarfile.TarInfo(f"{FOLDER}/../../../evil")],
    "absolute": lambda outside: [tarfile.TarInfo(f"{outside}/evil")],
    "absolute link": lambda outside: [link(f"{FOLDER}/test_batch", f"{outside}/evil")],
    "through a link": lambda outside: [link("way", ".."), tarfile.TarInfo("way/evil")],
    "device": lambda outside: [device(f"{FOLDER}/evil")],
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_an_archive_cannot_write_elsewhere(
    archive: Path, elsewhere: Path, tmp_path: Path, escape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    pack(archive, elsewhere, ESCAPES[escape](outside))
    monkeypatch.setattr(Reader, "tgz_md5", file_digest(archive, "md5"))
    before = everything(tmp_path)
    with pytest.raises(DataError, match=f"^{archive} cannot be unpacked to {archive.parent}: (member )?'"):
        CIFAR10(archive.parent).prepare()
    assert everything(tmp_path) == before
    assert [path.name for path in archive.parent.iterdir()] == [ARCHIVE]


# -- the download ------------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **more: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.fixture
def published(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The archive, served by a web server of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    (tmp_path / "www").mkdir()
    archive = pack(tmp_path / "www" / ARCHIVE, elsewhere)
    publish(monkeypatch, elsewhere, archive)
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "www")
    ) as server:
        monkeypatch.setattr(Reader, "url", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield archive
        server.shutdown()
        thread.join()


def test_a_download_without_network(root: Path, no_network: None) -> None:
    with pytest.raises(DataError) as caught:
        CIFAR10(root, download=True).batches("train", batch_size=4)
    assert str(caught.value) == (
        f"task 'cifar10': download of {Reader.url} failed (<urlopen error Name or service not known>); "
        f"try again, or put the file into {root}"
    )
    assert list(root.iterdir()) == []


def test_a_download(root: Path, published: Path, elsewhere: Path) -> None:
    task = CIFAR10(root, download=True)
    assert len(task.arrays("test")[0]) == PER_BATCH
    assert everything(root / FOLDER) == everything(elsewhere)


def test_a_download_replaces_a_broken_one(root: Path, published: Path) -> None:
    (root / ARCHIVE).write_bytes(published.read_bytes()[:1000])
    CIFAR10(root, download=True).prepare()
    assert (root / ARCHIVE).read_bytes() == published.read_bytes()


def test_what_is_there_is_not_downloaded(archive: Path, root: Path, no_network: None) -> None:
    assert len(CIFAR10(root, download=True).arrays("test")[0]) == PER_BATCH  # from the archive
    archive.unlink()
    assert len(CIFAR10(root, download=True).arrays("test")[0]) == PER_BATCH  # from the folder


def test_a_download_of_something_else(root: Path, published: Path) -> None:
    published.write_bytes(b"<html>moved</html>")
    with pytest.raises(DataError, match=r"^task 'cifar10': download of http.* failed \(File not found or corrupted"):
        CIFAR10(root, download=True).prepare()
    assert not (root / FOLDER).exists()
