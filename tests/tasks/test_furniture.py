"""Sweet Home 3D furniture, on a tiny library in the true layout: what is read, what is refused."""

import zipfile
from pathlib import Path

import pytest
import torch

from bibench.data import furniture
from bibench.data.furniture import CATALOGUE, CLASSES, Piece, label_of, libraries, pieces, split_of
from bibench.data.location import CACHE
from bibench.errors import DataError
from bibench.tasks.data_check import check_data
from bibench.tasks.furniture import Furniture

OBJ = "v 0 0 0\nv {s} 0 0\nv 0 {s} 0\nv 0 0 1\nf 1/1 2/2 3/3\nf 1 2 4\n"
ADJECTIVES = ("red", "blue", "green", "small", "large", "round", "modern", "antique", "tall", "low")


def library(file: Path, names: list[str], *, obj: str = OBJ, members: dict[str, str] | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# catalogue", "! of furniture", "id=test"]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names, 1):
            lines += [f"name#{number}={name}", f"model#{number}=/models/{number}/m{number}.obj"]
            archive.writestr(f"models/{number}/m{number}.obj", obj.format(s=number))
        for member, text in (members or {}).items():
            archive.writestr(member, text)
        archive.writestr(CATALOGUE, "\n".join(lines).encode("latin-1"))
    return file


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(furniture, "MESH_POINTS", 40)
    monkeypatch.setattr(Furniture, "points", 16)
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))


def many() -> list[str]:
    """Names in every split."""
    return [f"{adjective.title()} {word}" for word in ("chair", "table", "lamp") for adjective in ADJECTIVES]


def test_it_is_served(tmp_path: Path) -> None:
    library(tmp_path / "data" / "sweethome3d-furniture" / "all.sh3f", [*many(), "Mystery", "Chair with lamp"])
    task = Furniture(tmp_path / "data")
    assert task.missing() == ""
    sizes = {split: task.batches(split, batch_size=4).examples for split in task.splits()}
    assert sum(sizes.values()) == len(many())
    assert sizes["train"] > sizes["test"] > 0
    batch = next(task.batches("train", batch_size=4, seed=0).epoch(0))
    assert batch.inputs[0].shape == (4, 6, 16)
    fixed = [next(task.batches("test", batch_size=4).epoch(e)).inputs[0] for e in (0, 1)]
    assert torch.equal(*fixed)


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    file = library(tmp_path / "a.sh3f", ["Chair", "Mystery", "Chair with lamp", "Tabletop"])
    found, left_out = pieces([file])
    assert [(piece.name, piece.label) for piece in found] == [("Chair", list(CLASSES).index("chair"))]
    assert left_out == 3


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Armchair 3", "chair"),
        ("Round TABLE", "table"),
        ("Double bed 140x190", "bed"),
        ("Carpet", None),
        ("Bed table", None),
        ("Washbasin", "sanitary"),
    ],
)
def test_classes_by_name(name: str, label: str | None) -> None:
    assert label_of(name) == (None if label is None else list(CLASSES).index(label))


def test_variants_of_a_name_stay_together() -> None:
    for base in many():
        splits = {split_of(Piece(Path("x"), f"{base}{tail}", "m", 0)) for tail in ("", " 2", " (3)", "_10")}
        assert len(splits) == 1
    assert {split_of(Piece(Path("x"), name, "m", 0)) for name in many()} == {"train", "validation", "test"}


def test_catalogues_are_latin_1_with_escapes(tmp_path: Path) -> None:
    file = library(tmp_path / "a.sh3f", ["Chaise \xe9l\xe9gante chair", "Caf\\u00e9 table"])
    names = [value for key, value in furniture.catalogue(file).items() if key.startswith("name#")]
    assert names == ["Chaise \xe9l\xe9gante chair", "Caf\xe9 table"]


def test_what_is_missing_and_where_to_get_it(tmp_path: Path) -> None:
    assert "--data-root" in Furniture().missing()
    assert f"{tmp_path} has no .sh3f file" in Furniture(tmp_path).missing()
    assert "apt-get download sweethome3d-furniture" in Furniture(tmp_path).missing()
    with pytest.raises(DataError, match=r"task 'furniture': .* has no \.sh3f file"):
        Furniture(tmp_path).prepare()


def test_members_are_never_written_anywhere(tmp_path: Path) -> None:
    """Archives whose members point outside are read like any other: nothing is unpacked."""
    root = tmp_path / "data"
    evil = {"../../escaped.obj": OBJ.format(s=1), "/absolute.obj": OBJ.format(s=1)}
    file = library(root / "a.sh3f", many(), members=evil)
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    Furniture(root).prepare()
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before
    assert not list(tmp_path.rglob("*.obj"))
    assert libraries(root) == [file]


@pytest.mark.parametrize(
    ("obj", "told"),
    [
        ("", "the mesh has no faces"),
        ("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "a coordinate of vertex 1 is nan, expected a finite number"),
    ],
)
def test_damaged_models(tmp_path: Path, obj: str, told: str) -> None:
    file = library(tmp_path / "a.sh3f", many(), obj=obj)
    with pytest.raises(DataError, match=told) as caught:
        Furniture(tmp_path).prepare()
    assert str(caught.value).startswith(f"{file}, models/")


def test_damaged_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = library(tmp_path / "a.sh3f", ["Chair"])
    whole = file.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(DataError, match=r"announces .* bytes, more than 10; not read"):
        patch.setattr(furniture, "LARGEST", 10)
        pieces([file])
    file.write_bytes(whole[:100])
    with pytest.raises(DataError, match=r"a\.sh3f is damaged"):
        pieces([file])
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme", "no catalogue")
    with pytest.raises(DataError, match=r"a\.sh3f is damaged: it has no member 'PluginFurnitureCatalog\.properties'"):
        pieces([file])
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(CATALOGUE, "name#1=Chair\nmodel#1=gone.obj")
    with pytest.raises(DataError, match=r"it has no member 'gone\.obj'"):
        pieces([file])[0][0].read()


def test_a_split_without_models_is_told(tmp_path: Path) -> None:
    library(tmp_path / "a.sh3f", ["Chair"])
    with pytest.raises(DataError, match=r"no model in .* is for"):
        Furniture(tmp_path).prepare()


def test_the_check_shows_every_library(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (piece,) = check_data(Furniture(tmp_path / "data")).found
    assert (piece.path, piece.state) == ("sweethome3d-furniture", "missing")
    library(tmp_path / "data" / "b.sh3f", many())
    library(tmp_path / "data" / "sweethome3d-furniture" / "deep" / "a.sh3f", many())
    report = check_data(Furniture(tmp_path / "data"))
    assert report.usable
    assert [(p.path, p.state) for p in report.found] == [
        ("b.sh3f", "found"),
        ("sweethome3d-furniture/deep/a.sh3f", "found"),
    ]


def test_separators_in_names_end_no_line(tmp_path: Path) -> None:
    file = library(tmp_path / "a.sh3f", ["Red\\u2028chair", "Blue\x85chair\\u0085model#3=x"])
    assert [piece.name for piece in pieces([file])[0]] == ["Red\u2028chair", "Blue\x85chair\x85model#3=x"]


def test_libraries_behind_links_are_found(tmp_path: Path) -> None:
    file = library(tmp_path / "disk" / "all.sh3f", ["Red chair"])
    (tmp_path / "data" / "sweethome3d" / "more").mkdir(parents=True)
    (tmp_path / "data" / "sweethome3d" / "more" / "deep").symlink_to(file.parent)
    assert libraries(tmp_path / "data") == [tmp_path / "data" / "sweethome3d" / "more" / "deep" / "all.sh3f"]
