"""ModelNet40 in its three forms, on tiny files in the true layout: what is read, what is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bibench.data import modelnet
from bibench.data.location import CACHE
from bibench.data.modelnet import CLASSES
from bibench.errors import DataError
from bibench.tasks.data_check import check_data
from bibench.tasks.modelnet40 import LAYOUTS, ModelNet40

PYRAMID = (
    "{header}\n5 5 0\n0 0 0\n{a} 0 0\n{a} {b} 0\n0 {b} 0\n{x} {y} {h}\n4 0 1 2 3\n3 0 1 4\n3 1 2 4\n3 2 3 4\n3 3 0 4\n"
)
POINTS = 16
STORED = 40


def counts(split: str) -> dict[str, int]:
    """Objects of each class; the first has enough for validation."""
    return dict.fromkeys(CLASSES, 2 if split == "test" else 1) | ({"airplane": 21} if split == "train" else {})


def write_meshes(root: Path) -> Path:
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, number in counts(split).items():
            folder = root / "ModelNet40" / name / split
            folder.mkdir(parents=True)
            for index in range(number):
                sizes = dict(zip("abxyh", random.uniform(50, 200, 5).round(2), strict=True))
                text = PYRAMID.format(header="OFF", **sizes)
                text = text.replace("OFF\n", "OFF") if index % 2 else text  # the fault of the published files
                (folder / f"{name}_{index + 1:04d}.off").write_text(text)
    return root / "ModelNet40"


def write_text(root: Path) -> Path:
    folder = root / "modelnet40_normal_resampled"
    folder.mkdir()
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        names = []
        for name, number in counts(split).items():
            (folder / name).mkdir(exist_ok=True)
            for index in range(number):
                names.append(f"{name}_{index + (1000 if split == 'test' else 0):04d}")
                np.savetxt(folder / name / f"{names[-1]}.txt", random.normal(size=(STORED, 6)), "%.6f", delimiter=",")
        (folder / f"modelnet40_{split}.txt").write_text("\n".join(names) + "\n")
    (folder / "modelnet40_shape_names.txt").write_text("\n".join(CLASSES) + "\n")
    return folder


def write_hdf5(root: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    folder = root / "modelnet40_ply_hdf5_2048"
    folder.mkdir()
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        labels = [label for label, number in enumerate(counts(split).values()) for _ in range(number)]
        listed = []
        for part, chosen in enumerate(np.array_split(random.permutation(labels), 2)):
            with h5py.File(folder / f"ply_data_{split}{part}.h5", "w") as file:
                file["data"] = random.normal(size=(len(chosen), STORED, 3)).astype(np.float32)
                file["label"] = chosen[:, None].astype(np.uint8)
            listed.append(f"data/modelnet40_ply_hdf5_2048/ply_data_{split}{part}.h5")
        (folder / f"{split}_files.txt").write_text("\n".join(listed) + "\n")
    return folder


WRITERS = [write_meshes, write_text, write_hdf5]
Writer = Callable[[Path], Path]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ModelNet40, "points", POINTS)
    monkeypatch.setattr(modelnet, "MESH_POINTS", STORED)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    modelnet._hdf5_arrays.cache_clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def problem(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        ModelNet40(root).prepare()
    assert not list((root.parent / "cache").glob("[!.]*-v1-*[!k]")), "a half-made copy was kept"
    return str(caught.value)


# -- what is read ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", WRITERS)
def test_every_form_is_served(root: Path, write: Writer) -> None:
    write(root)
    task = ModelNet40(root)
    assert task.missing() == ""
    sizes = {split: task.batches(split, batch_size=8).examples for split in task.splits()}
    assert sizes == {"train": 58, "validation": 2, "test": 80}
    batch = next(task.batches("train", batch_size=8, seed=0).epoch(0))
    assert batch.inputs[0].shape == (8, 6, POINTS)
    torch.testing.assert_close(batch.inputs[0][:, :3].norm(dim=1).amax(1), torch.ones(8))
    labels = torch.cat([b.targets for b in task.batches("test", batch_size=32).epoch(0)])
    assert torch.bincount(labels).tolist() == [2] * 40
    assert torch.cat([b.targets for b in task.batches("validation", batch_size=32).epoch(0)]).tolist() == [0, 0]
    assert ModelNet40(root).checksum() == task.checksum()


@pytest.mark.parametrize("write", WRITERS)
def test_the_check_counts_the_form_that_is_there(root: Path, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    report = check_data(ModelNet40(root))
    assert [piece.state for piece in report.found] == ["missing"] * 3 + ["absent"] * 2
    assert all(source in report.problem for source in ("ModelNet40.zip", "resampled.zip", "hdf5_2048.zip"))
    folder = write(root).name
    report = check_data(ModelNet40(root))
    objects, *lists = report.found
    assert objects.path == folder and objects.files == (4 if folder.endswith("2048") else sum(sizes().values()))
    assert objects.state == "incomplete" and [piece.state for piece in lists] == ["found"] * len(lists)
    pieces = LAYOUTS[folder]
    monkeypatch.setitem(LAYOUTS, folder, (replace(pieces[0], files=objects.files), *pieces[1:]))
    assert check_data(ModelNet40(root), read=True).examples == {"train": 58, "validation": 2, "test": 80}


def sizes() -> dict[str, int]:
    return {split: sum(counts(split).values()) for split in ("train", "test")}


@pytest.mark.parametrize("write", WRITERS)
def test_test_points_are_fixed_and_training_points_are_drawn(root: Path, write: Writer) -> None:
    write(root)
    task = ModelNet40(root)
    fixed = [next(task.batches("test", batch_size=80).epoch(epoch)).inputs[0] for epoch in (0, 1)]
    assert torch.equal(*fixed)
    first = [next(task.batches("train", batch_size=58, seed=seed).epoch(0)).inputs[0] for seed in (0, 0, 1)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_meshes_are_sampled_the_same_in_any_cache(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_meshes(root)
    checksum = ModelNet40(root).checksum()
    monkeypatch.setenv(CACHE, str(tmp_path / "other"))
    assert ModelNet40(root).checksum() == checksum
    clouds = ModelNet40(root).clouds("test")
    assert clouds.points.abs().max() <= 1 + 1e-6  # scaled: the files are in hundreds
    assert len({clouds.points[i * STORED].sum().item() for i in range(80)}) == 80  # each object its own points


def test_text_gives_the_first_points_of_the_file(root: Path) -> None:
    folder = write_text(root)
    stored = np.loadtxt(folder / "airplane" / "airplane_1000.txt", delimiter=",")[:POINTS, :3]
    raw = next(ModelNet40(root).batches("test", batch_size=1).epoch(0)).inputs[0][0, 3:].T
    np.testing.assert_allclose(raw, stored, rtol=1e-5, atol=1e-6)


def test_meshes_come_before_copies_of_them(root: Path) -> None:
    write_text(root)
    folder = write_meshes(root)
    assert ModelNet40(root)._found is modelnet.DISTRIBUTIONS[0]
    assert folder.name == modelnet.DISTRIBUTIONS[0].folder


def test_a_changed_file_is_read_again(root: Path) -> None:
    folder = write_text(root)
    before = ModelNet40(root).checksum()
    np.savetxt(folder / "xbox" / "xbox_1001.txt", np.ones((STORED, 6)), delimiter=",")
    assert ModelNet40(root).checksum() != before


# -- what is refused ---------------------------------------------------------------------------------------


def test_what_is_missing_and_where_to_get_it(root: Path) -> None:
    assert "--data-root" in ModelNet40().missing()
    told = ModelNet40(root).missing()
    assert str(root) in told
    for distribution in modelnet.DISTRIBUTIONS:
        assert distribution.folder in told
        assert distribution.source in told
    assert told in problem(root)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("bed/train/bed_0001.off", "OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "the mesh has no faces"),
        (
            "bed/train/bed_0001.off",
            "OFF\n3 1 0\n0 0 0\n1 nan 0\n0 1 0\n3 0 1 2\n",
            "a coordinate of vertex 2 is nan, expected a finite number",
        ),
        ("bed/train/bed_0001.off", "OFF\n300 1 0\n0 0 0\n1 0 0\n", "truncated?"),
        ("xbox/test/xbox_0002.off", "", "does not start with OFF"),
    ],
)
def test_damaged_meshes(root: Path, name: str, content: str, told: str) -> None:
    file = write_meshes(root) / name
    file.write_text(content)
    message = problem(root)
    assert message.startswith(str(file))
    assert told in message


def test_a_class_without_meshes(root: Path) -> None:
    folder = write_meshes(root)
    for file in (folder / "sofa" / "test").iterdir():
        file.unlink()
    assert f"{folder / 'sofa' / 'test'} is missing or has no .off files" in problem(root)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "it is empty"),
        ("1,2,3\n", "3 columns, expected 6"),
        ("1,2,3,4,5,6\n1,2,3", "truncated?"),
        ("1,2,3,4,5,six\n", "truncated?"),
        ("1,2,3,4,5,6\n1,2,nan,4,5,6\n", "a value in line 2 is nan, expected a finite number"),
    ],
)
def test_damaged_text(root: Path, content: str, told: str) -> None:
    file = write_text(root) / "bed" / "bed_1001.txt"
    file.write_text(content)
    message = problem(root)
    assert message.startswith(f"{file} is damaged: ")
    assert told in message


def test_a_cut_text_is_told_although_its_rows_are_whole(root: Path) -> None:
    file = write_text(root) / "bed" / "bed_1001.txt"
    file.write_text("1,2,3,4,5,6\n" * 3)
    with pytest.raises(DataError, match="an object of the test split has 3 points, expected at least 16"):
        ModelNet40(root).batches("test", batch_size=4)


def test_a_listed_text_that_is_missing(root: Path) -> None:
    file = write_text(root) / "bed" / "bed_1001.txt"
    file.unlink()
    assert str(file) in problem(root)


@pytest.mark.parametrize("line", ["../../etc/passwd", "/etc/passwd_1", "bed", "spaceship_0001", "bed_0001/../../x_1"])
def test_lists_do_not_lead_out_of_the_folder(root: Path, line: str) -> None:
    listing = write_text(root) / "modelnet40_test.txt"
    listing.write_text(listing.read_text() + line + "\n")
    message = problem(root)
    assert message.startswith(str(listing))
    assert repr(line) in message


def rewrite(file: Path, **arrays: object) -> None:
    import h5py

    with h5py.File(file, "w") as stored:
        for key, value in arrays.items():
            stored[key] = value


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:500]), "is damaged"),
        (lambda file: file.write_bytes(b""), "is damaged"),
        (lambda file: file.unlink(), "is missing"),
        (lambda file: rewrite(file, data=np.zeros((2, STORED, 3))), "is damaged"),
        (lambda file: rewrite(file, data=np.zeros((2, STORED)), label=[0, 1]), "expected (objects, points, 3)"),
        (lambda file: rewrite(file, data=np.zeros((2, STORED, 3)), label=[0]), "there are 1 labels"),
        (lambda file: rewrite(file, data=np.zeros((2, STORED, 3)), label=[0, 40]), "labels range from 0 to 40"),
        (
            lambda file: rewrite(file, data=np.full((2, STORED, 3), np.nan), label=[0, 1]),
            "a coordinate of object 0 is nan, expected a finite number",
        ),
    ],
)
def test_damaged_hdf5(root: Path, damage: Callable[[Path], object], told: str) -> None:
    file = write_hdf5(root) / "ply_data_test1.h5"
    damage(file)
    message = problem(root)
    assert message.startswith(str(file))
    assert told in message


def test_hdf5_lists_do_not_lead_out_of_the_folder(root: Path) -> None:
    folder = write_hdf5(root)
    (folder / "test_files.txt").write_text("../../../secret.h5\n")
    assert str(folder / "secret.h5") in problem(root)


def test_train_examples_are_those_of_the_published_split() -> None:
    """9,843 training objects; every tenth of each class is for validation."""
    sizes = json.loads(
        "[626,106,515,173,572,335,64,197,889,167,79,138,200,109,200,149,171,155,145,124,149,284,465,200,88,231,240,"
        "104,115,128,680,124,90,392,163,344,267,475,87,103]"
    )
    assert sum(sizes) == 9843
    assert ModelNet40.train_examples == sum(size - size // 10 for size in sizes)


def test_reading_without_data_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="task 'modelnet40': no data root given"):
        ModelNet40().batches("train", batch_size=4)


def few(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setitem(globals(), "counts", lambda split: dict.fromkeys(CLASSES, 2) | {"airplane": number})


@pytest.mark.parametrize("write", WRITERS)
def test_classes_too_small_to_cut_validation_from(root: Path, write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 9)
    write(root)
    for _ in range(2):  # nothing half-made is taken for a damaged copy
        assert "no class has more than 9 training objects" in (message := problem(root))
        assert "a class needs at least 10 to have one there" in message


def test_ten_objects_of_one_class_are_enough(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch, 10)
    write_text(root)
    assert ModelNet40(root).batches("validation", batch_size=4).examples == 1


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"data": np.zeros((2, STORED, 3), np.int32), "label": [0, 1]}, "data holds int32, expected floating-point"),
        ({"data": np.zeros((2, STORED, 3)), "label": [0.0, 1.5]}, "label holds float64, expected integers"),
        ({"data": np.zeros((2, STORED, 3)), "label": [False, True]}, "label holds bool, expected integers"),
        (
            {"data": np.full((2, STORED, 3), 1e39), "label": [0, 1]},
            "a coordinate of object 0 is inf, expected a finite",
        ),
    ],
)
def test_hdf5_of_other_types(root: Path, arrays: dict[str, object], told: str) -> None:
    file = write_hdf5(root) / "ply_data_test1.h5"
    rewrite(file, **arrays)
    assert told in problem(root)


def test_lists_and_rows_end_at_newlines_alone(root: Path) -> None:
    folder = write_text(root)
    sizes = {s: ModelNet40(root).batches(s, batch_size=8).examples for s in ("train", "test")}
    listing = folder / "modelnet40_test.txt"
    listing.write_bytes(b"\xef\xbb\xbf" + listing.read_bytes().replace(b"\n", b"\r\n"))
    assert {s: ModelNet40(root).batches(s, batch_size=8).examples for s in ("train", "test")} == sizes
    file = folder / "bed" / "bed_1001.txt"
    file.write_text("# 1,2,3,4,5,6\n" + file.read_text())  # no comment, but a row that is damaged
    assert f"{file} is damaged" in problem_of(root)


def problem_of(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        ModelNet40(root).prepare()
    return str(caught.value)


def test_a_folder_behind_a_link_is_read_and_one_that_is_gone_is_told(root: Path, tmp_path: Path) -> None:
    folder = write_meshes(root)
    (folder / "bed").rename(tmp_path / "bed")
    (folder / "bed").symlink_to(tmp_path / "bed")
    assert ModelNet40(root).batches("test", batch_size=8).examples == 80
    (folder / "bed").unlink()
    (folder / "bed").symlink_to(tmp_path / "nowhere")
    assert f"{folder / 'bed'} is a link that cannot be followed" in problem_of(root)
