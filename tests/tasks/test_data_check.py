"""What is told of a task's data: found, missing, incomplete, damaged; with layouts and without."""

import hashlib
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch

from bibench.data import layout
from bibench.data.glue import ARCHIVES_URL
from bibench.data.layout import Expected, inspect, tree_size
from bibench.data.location import CACHE
from bibench.data.sums import SUMS
from bibench.foundation.errors import MissingLibraryError
from bibench.tasks import TASKS
from bibench.tasks.base import Task
from bibench.tasks.data_check import check_data, folders
from bibench.tasks.speech_commands import SpeechCommandsV1

from ..data.test_speech_commands import speech_commands
from .test_task_contracts import Sound

MD5 = hashlib.md5(b"hello").hexdigest()


def test_files_are_judged_by_presence_size_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.bin").write_bytes(b"hello")
    found = inspect(tmp_path, Expected("a/b.bin", "greeting", size=5, checksum=f"md5:{MD5}"))
    assert (found.state, found.files, found.size, found.checksum, found.good) == ("found", 1, 5, f"md5:{MD5}", True)
    sha = hashlib.sha256(b"hello").hexdigest()
    assert inspect(tmp_path, Expected("a/b.bin", checksum=f"sha256:{sha}")).good
    wrong = inspect(tmp_path, Expected("a/b.bin", checksum="md5:00"))
    assert (wrong.state, wrong.detail, wrong.good) == ("damaged", "the published file has md5 00", False)
    wrong = inspect(tmp_path, Expected("a/b.bin", size=6))
    assert (wrong.state, wrong.detail) == ("damaged", "has 5 bytes, the published file 6")
    assert inspect(tmp_path, Expected("a/c.bin")).state == "missing"
    assert inspect(tmp_path, Expected("a/c.bin", checksum="md5:00")).detail == "published: md5:00"
    absent = inspect(tmp_path, Expected("a/c.bin", required=False))
    assert (absent.state, absent.good) == ("absent", True)


def test_every_state_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x" / "empty").mkdir(parents=True)
    (tmp_path / "x" / "b.bin").write_bytes(b"hello")
    expected = {
        Expected("x/b.bin", checksum="md5:00"): (
            f"x/b.bin is damaged: its md5 is {MD5}, but the published file has md5 00; fetch it again"
        ),
        Expected("x/b.bin", size=6): "x/b.bin is damaged: it has 5 bytes, the published file 6",
        Expected("x", files=9): "x is incomplete: it has 1 files, the published data set 9",
        Expected("x/empty"): "x/empty is incomplete: it has no files",
        Expected("x", pattern="*.wav"): "x is incomplete: it has no *.wav",
        Expected("x/c.bin"): "x/c.bin is missing",
        Expected("x/c.bin", checksum="md5:00"): "x/c.bin is missing",
    }
    for piece, sentence in expected.items():
        found = inspect(tmp_path, piece)
        assert not found.good
        assert found.told() == sentence
        assert found.told("/data/it") == sentence.replace(piece.path, "/data/it", 1)
    monkeypatch.setattr(layout, "file_digest", lambda *_: (_ for _ in ()).throw(OSError(13, "Permission denied")))
    unreadable = inspect(tmp_path, Expected("x/b.bin", checksum="md5:00"))
    assert unreadable.told() == "x/b.bin is unreadable: [Errno 13] Permission denied"


def test_the_problem_of_a_task_is_that_sentence(tmp_path: Path) -> None:
    class Packed(Sound):
        name, source, licence, embedded = "packed", "somewhere", "free", False

        def layout(self) -> tuple[Expected, ...]:
            return (Expected("b.bin", "all", checksum="md5:00"),)

        def missing(self) -> str:
            return ""

    (tmp_path / "b.bin").write_bytes(b"hello")
    report = check_data(Packed(tmp_path))
    assert report.problem == f"b.bin is damaged: its md5 is {MD5}, but the published file has md5 00; fetch it again"


def test_large_files_are_hashed_only_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "LARGE", 4)
    (tmp_path / "a").write_bytes(b"hello")
    piece = Expected("a", checksum="md5:00")
    found = inspect(tmp_path, piece)
    assert found.good and found.checksum == "" and "--read computes it" in found.detail
    assert inspect(tmp_path, piece, everything=True).state == "damaged"


def test_folders_are_counted_in_their_whole_tree(tmp_path: Path) -> None:
    for name in ("x/1.wav", "x/y/2.wav", "x/y/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"123")
    assert tree_size(tmp_path) == (3, 9)
    assert inspect(tmp_path, Expected("x", pattern="*.wav", files=2)).good
    few = inspect(tmp_path, Expected("x", pattern="*.wav", files=1000))
    assert (few.state, few.detail) == ("incomplete", "has 2 files, the published data set 1,000")
    none = inspect(tmp_path, Expected("x", pattern="*.flac"))
    assert (none.state, none.detail) == ("incomplete", "has no *.flac")


@pytest.mark.parametrize("name", list(TASKS))
@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_every_task_answers_without_its_data(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    report = check_data(TASKS[name](None if place == "nowhere" else tmp_path))
    assert report.task == name and report.source and report.licence
    if TASKS[name].embedded:
        assert report.usable or "pip install" in report.problem
        made = [("absent", "made at its first use")] if TASKS[name].cache else []
        assert [(piece.state, piece.detail) for piece in report.found] == made
    else:
        assert not report.usable
        assert report.problem == TASKS[name](None if place == "nowhere" else tmp_path).missing()
    assert report.to_dict()["usable"] == report.usable


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].embedded])
def test_caches_are_where_they_are_said_to_be(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS[name]()
    if task.missing():
        pytest.skip(task.missing())
    asked = []

    def asked_for(folder: str, build: object) -> Path:
        asked.append(folder)
        return tmp_path

    for cls in type(task).__mro__[:-1]:
        monkeypatch.setattr(sys.modules[cls.__module__], "cached_folder", asked_for, raising=False)
    task.prepare()
    assert [fnmatchcase(folder, task.cache.format(task=name)) for folder in asked] == [True] * bool(task.cache)


@pytest.mark.parametrize("name", [name for name in TASKS if not TASKS[name].embedded])
def test_layouts_of_published_data(name: str) -> None:
    layout = TASKS[name]().layout()
    assert [piece.path for piece in layout if piece.required]
    assert len({piece.path for piece in layout}) == len(layout)
    for piece in layout:
        assert piece.what and not Path(piece.path).is_absolute() and ".." not in piece.path
        algorithm, _, digest = piece.checksum.partition(":")
        assert len(digest) == {"": 0, "md5": 32, "sha256": 64}[algorithm]
        assert set(digest) <= set("0123456789abcdef")
    assert folders(TASKS[name])


def test_folders_of_tasks() -> None:
    assert folders(TASKS["glue_mnli"]) == ["glue/MNLI"]
    assert folders(TASKS["voc07"]) == ["VOCdevkit"]
    assert folders(TASKS["modelnet40"]) == [
        *("ModelNet40", "modelnet40_normal_resampled", "modelnet40_ply_hdf5_2048"),
    ]
    assert folders(TASKS["digits_photos"]) == []


def test_a_task_without_a_layout_answers_by_missing(tmp_path: Path) -> None:
    class Plain(Sound):
        name, source, licence = "plain", "somewhere", "free"

        def missing(self) -> str:
            return "" if self.data_root and (self.data_root / "plain.bin").exists() else "fetch plain.bin"

    (tmp_path / "other").mkdir()
    for number in range(40):
        (tmp_path / f"{number:02}.txt").touch()
    report = check_data(Plain(tmp_path))
    assert (report.usable, report.problem, report.found) == (False, "fetch plain.bin", [])
    assert report.entries[0] == "00.txt" and report.entries[-1] == "and 11 more"
    (tmp_path / "plain.bin").touch()
    assert check_data(Plain(tmp_path)).usable
    read = check_data(Plain(tmp_path), read=True)
    assert read.examples == {"train": 16, "test": 16}
    assert check_data(Plain(None)).entries == []


def test_whatever_goes_wrong_is_a_problem_told(tmp_path: Path) -> None:
    class Broken(Sound):
        def missing(self) -> str:
            raise MissingLibraryError("install it")

    class Unreadable(Sound):
        def arrays(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
            raise PermissionError(13, "Permission denied", "plain.bin")

    assert check_data(Broken(tmp_path)).problem == "install it"
    assert check_data(Unreadable(tmp_path)).usable
    assert "Permission denied: 'plain.bin'" in check_data(Unreadable(tmp_path), read=True).problem


@pytest.mark.slow
def test_embedded_caches_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))
    assert not check_data(TASKS["photo_patches"]()).found[0].files
    report = check_data(TASKS["photo_patches"](), read=True)
    assert report.usable and report.examples == {"train": 4000, "validation": 800, "test": 1200}
    (piece,) = report.found
    assert (tmp_path / piece.path / SUMS).is_file()  # one more than the photos
    assert piece.state == "found" and piece.files == 6000 and piece.size == tree_size(tmp_path / piece.path)[1]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with three clips per word, taken for the published number."""
    monkeypatch.setattr(SpeechCommandsV1, "clips", 90)
    monkeypatch.setattr("bibench.tasks.speech_commands.NOISES", 2)
    return speech_commands(tmp_path / "speech_commands_v0.01")


def test_speech_commands(tiny: Path) -> None:
    report = check_data(SpeechCommandsV1(tiny.parent), read=True)
    assert report.usable, report.problem
    assert [(p.path, p.state, p.files) for p in report.found] == [
        ("speech_commands_v0.01", "found", 92),
        ("speech_commands_v0.01/_background_noise_", "found", 2),
        ("speech_commands_v0.01/validation_list.txt", "found", 1),
        ("speech_commands_v0.01/testing_list.txt", "found", 1),
    ]
    assert report.examples == {"train": 33, "validation": 33, "test": 33}
    damaged = next((tiny / "yes").glob("*.wav"))
    damaged.write_bytes(damaged.read_bytes()[:1000])
    assert check_data(SpeechCommandsV1(tiny.parent)).usable
    assert f"{damaged} is cut off" in check_data(SpeechCommandsV1(tiny.parent), read=True).problem
    damaged.unlink()
    report = check_data(SpeechCommandsV1(tiny.parent))
    assert report.problem == "speech_commands_v0.01 is incomplete: it has 91 files, the published data set 92"


def test_speech_archive_is_checked_when_the_folder_is_missing(tmp_path: Path) -> None:
    (tmp_path / "speech_commands_v0.01.tar.gz").write_bytes(b"half of it")
    folder, archive = check_data(SpeechCommandsV1(tmp_path)).found
    assert folder.state == "missing"
    assert archive.state == "damaged" and archive.detail.endswith(SpeechCommandsV1.archive_sha256)


def test_imagenet_is_counted(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "imagenet" / split / "n01440764").mkdir(parents=True)
        (tmp_path / "imagenet" / split / "n01440764" / "a.JPEG").touch()
    report = check_data(TASKS["imagenet"](tmp_path))
    assert not report.usable
    assert [piece.detail for piece in report.found] == [
        "has 1 files, the published data set 1,281,167",
        "has 1 files, the published data set 50,000",
    ]


def test_cifar10_is_checked_file_by_file(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(b"other")
    report = check_data(TASKS["cifar10"](tmp_path))
    states = {piece.path: piece.state for piece in report.found}
    assert len(states) == 7
    assert states.pop("cifar-10-batches-py/test_batch") == "damaged"
    assert set(states.values()) == {"missing"}
    assert report.problem.startswith("cifar-10-batches-py/data_batch_1 is missing")


def states(task: Task) -> dict[str, str]:
    return {piece.path: piece.state for piece in check_data(task).found}


def test_glue_in_either_form(tmp_path: Path) -> None:
    task = TASKS["glue_qnli"](tmp_path)
    assert list(states(task).values()) == ["missing", "missing", *["absent"] * 4]
    told = check_data(task).problem
    assert f"fetch {ARCHIVES_URL}/QNLIv2.zip and unpack it in {tmp_path / 'glue'}" in told
    folder = tmp_path / "glue" / "QNLI"
    folder.mkdir(parents=True)
    (tmp_path / "glue" / "QNLIv2.zip").write_bytes(b"half of it")
    (folder / "train.tsv").write_text("question\n")
    assert list(states(task).values())[:3] == ["found", "missing", "damaged"]
    (folder / "validation-00000-of-00001.parquet").write_bytes(b"")
    assert check_data(task).usable
    assert list(states(task).items())[:2] == [
        ("glue/QNLI/train.tsv", "found"),
        ("glue/QNLI/validation-00000-of-00001.parquet", "found"),
    ]
    assert "glue/QNLIv2.zip" not in states(task)
    (tmp_path / "bert-base-uncased").mkdir()
    (tmp_path / "bert-base-uncased" / "vocab.txt").write_text("[PAD]\n")
    assert states(task)["bert-base-uncased"] == "found"


def test_mrpc_is_fetched_from_elsewhere(tmp_path: Path) -> None:
    told = check_data(TASKS["glue_mrpc"](tmp_path)).problem
    assert "nyu-mll/glue" in told and "MRPC.zip" not in told


def test_glue_tables_that_are_not_all_there(tmp_path: Path) -> None:
    (tmp_path / "glue" / "RTE").mkdir(parents=True)
    (tmp_path / "glue" / "RTE" / "train-00000-of-00002.parquet").touch()
    report = check_data(TASKS["glue_rte"](tmp_path))
    assert not report.usable and "has 1 of 2 files" in report.problem


def test_checksums_of_voc_are_those_of_torchvision() -> None:
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    published = {DATASET_YEAR_DICT[year]["filename"]: DATASET_YEAR_DICT[year]["md5"] for year in ("2007-test", "2007")}
    published[DATASET_YEAR_DICT["2012"]["filename"]] = DATASET_YEAR_DICT["2012"]["md5"]
    stated = {piece.path: piece.checksum for piece in TASKS["voc07"]().layout() if piece.checksum}
    assert stated == {name: f"md5:{md5}" for name, md5 in published.items()}
