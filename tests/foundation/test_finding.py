"""Finding files: links, cycles, closed folders and things that are no files, each told or followed, none passed by."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from bibench.cli.planned import plan_of
from bibench.foundation.errors import DataError, StoreError
from bibench.foundation.files import write_json
from bibench.foundation.finding import Tree, data_tree, find, folders_in, listed, results
from bibench.records.record import read, write_file
from bibench.suite.cell import Cell
from bibench.suite.definition import Filters
from bibench.suite.store import CellDirectory, cells_below

from ..records.test_records import make
from ..worlds import cell

Close = Callable[[Path], None]


@pytest.fixture
def close(monkeypatch: pytest.MonkeyPatch) -> Close:
    """Refuse to list a folder as the system does, which refuses nothing to the superuser whom tests may run as."""
    closed: set[str] = set()
    scandir = os.scandir

    def refusing(path: str | Path = ".") -> object:
        if os.path.realpath(path) in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    return lambda folder: closed.add(os.path.realpath(folder))


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")


def names(tree: Tree, root: Path) -> list[str]:
    return [file.relative_to(root).as_posix() for file in tree.files]


@pytest.mark.parametrize("once", [True, False])
def test_links_to_folders_and_files_are_followed(tmp_path: Path, once: bool) -> None:
    root, disk = tmp_path / "runs", tmp_path / "disk"
    touch(root / "b" / "x", disk / "deep" / "x", disk / "single" / "x", disk / "other")
    (root / "a").symlink_to(disk / "deep")
    (root / "c").mkdir()
    (root / "c" / "x").symlink_to(disk / "single" / "x")
    tree = find(root, "x", once=once)
    assert names(tree, root) == ["a/x", "b/x", "c/x"]
    assert tree.problems == []


def test_a_file_with_several_names_counts_once_under_its_own(tmp_path: Path) -> None:
    touch(tmp_path / "z" / "deep" / "x", tmp_path / "y" / "x")
    (tmp_path / "a").symlink_to(tmp_path / "z")  # sorts before, and passes a link
    (tmp_path / "x").symlink_to(tmp_path / "z" / "deep" / "x")
    (tmp_path / "hard").mkdir()
    (tmp_path / "hard" / "x").hardlink_to(tmp_path / "y" / "x")
    assert names(find(tmp_path, "x", once=True), tmp_path) == ["hard/x", "z/deep/x"]
    assert names(find(tmp_path, "x"), tmp_path) == ["a/deep/x", "hard/x", "x", "y/x", "z/deep/x"]


@pytest.mark.parametrize("once", [True, False])
def test_cycles_end(tmp_path: Path, once: bool) -> None:
    root = tmp_path / "root"
    touch(root / "a" / "x")
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "top").symlink_to(root)
    (root / "loop").symlink_to(root / "loop")
    tree = find(root, "x", once=once)
    assert names(tree, root)[0] == "a/x"
    assert len(tree.files) == 1
    assert [p for p in tree.problems if not p.startswith(f"{root / 'loop'} is a link that cannot be followed")] == []
    assert len(tree.problems) == 1


def test_a_link_out_to_a_folder_that_holds_the_root_is_told(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "x", tmp_path / "root" / "x")
    (tmp_path / "root" / "up").symlink_to(tmp_path)
    tree = find(tmp_path / "root", "x", once=True)
    assert names(tree, tmp_path) == ["root/x"]
    assert tree.problems == [
        f"{tmp_path / 'root' / 'up'} leads to {tmp_path}, which holds {tmp_path / 'root'} itself; it is not followed"
    ]


def test_what_cannot_be_looked_at_is_told(tmp_path: Path, close: Close) -> None:
    touch(tmp_path / "a" / "x", tmp_path / "closed" / "x")
    close(tmp_path / "closed")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".#x").symlink_to("me@here.1")  # of an editor that is open
    (tmp_path / "folder" / "x").mkdir(parents=True)
    os.mkfifo(tmp_path / "folder" / "y")
    tree = find(tmp_path, "x", once=True)
    assert names(tree, tmp_path) == ["a/x"]
    assert tree.problems == [
        f"{tmp_path / 'closed'} cannot be listed (Permission denied)",
        f"{tmp_path / 'folder' / 'x'} is a folder, expected a file",
        f"{tmp_path / 'gone'} is a link that cannot be followed (No such file or directory)",
    ]
    assert find(tmp_path, "y", once=True).problems[1] == f"{tmp_path / 'folder' / 'y'} is no regular file"


def test_superseded_results_are_left_out_also_behind_links(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x", tmp_path / "a" / "superseded" / "2020" / "x")
    (tmp_path / "old").symlink_to(tmp_path / "a" / "superseded" / "2020")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert results(tmp_path, "x") == [tmp_path / "a" / "x"]
        assert results(tmp_path / "a" / "superseded", "x") == [tmp_path / "a" / "superseded" / "2020" / "x"]


def test_data_that_cannot_be_listed_is_an_error(tmp_path: Path, close: Close) -> None:
    touch(tmp_path / "a" / "train" / "1.off", tmp_path / "b" / "train" / "2.off")
    assert listed(tmp_path, "*/train/*.off") == data_tree(tmp_path, "*.off").files
    assert folders_in(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert listed(tmp_path / "none") == folders_in(tmp_path / "none") == []
    close(tmp_path / "b" / "train")
    for look in (lambda: listed(tmp_path, "*/train/*.off"), lambda: data_tree(tmp_path)):
        with pytest.raises(DataError, match=r"b/train cannot be listed \(Permission denied\)"):
            look()
    (tmp_path / "c").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"/c is a link that cannot be followed"):
        folders_in(tmp_path)


# -- run folders -----------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path, in_tiny_world: None) -> Path:
    """Three cells: one in the folder, one behind a link, one in a folder that will be closed."""
    runs, disk = tmp_path / "runs", tmp_path / "disk"
    for operator in ("fp32", "bnn", "recu"):
        chosen = cell(operator)
        directory = CellDirectory(runs, chosen)
        directory.create()
        directory.describe()
        write_file(directory.file("records.jsonl"), [make(operator=operator, cell=chosen.path.as_posix())])
    behind = CellDirectory(runs, cell("bnn")).path.parent
    disk.mkdir()
    behind.rename(disk / "bnn")
    behind.symlink_to(disk / "bnn")
    return runs


def found(runs: Path) -> tuple[list[str], list[Cell], list[str]]:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return [r.operator for r in read([runs])], [c for _, c in cells_below(runs)], [str(w.message) for w in told]


def test_records_and_cells_agree(runs: Path, close: Close) -> None:
    assert found(runs) == (["bnn", "fp32", "recu"], [cell("bnn"), cell("fp32"), cell("recu")], [])
    closed = CellDirectory(runs, cell("recu")).path
    close(closed)
    records, cells, told = found(runs)
    assert (records, cells) == (["bnn", "fp32"], [cell("bnn"), cell("fp32")])
    said = (
        f"{closed} cannot be listed (Permission denied); results there are left out: make it readable, or move it away"
    )
    assert told == [said, said]


@pytest.mark.parametrize("name", ["records.jsonl", "cell.json"])
def test_a_file_that_cannot_be_read_is_told_and_the_others_count(
    runs: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = CellDirectory(runs, cell("recu")).file(name)
    path_open = Path.open

    def refusing(path: Path, *args: object, **kwargs: object) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return path_open(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refusing)
    records, cells, told = found(runs)
    assert len(records) == (2 if name == "records.jsonl" else 3)
    assert len(cells) == (2 if name == "cell.json" else 3)
    assert [str(closed) in line and "left out" in line for line in told] == [True]


def test_damaged_records_stay_an_error(runs: Path) -> None:
    file = CellDirectory(runs, cell("recu")).file("records.jsonl")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="cannot be read"):
        read([runs])


def test_a_closed_cell_is_not_taken_for_missing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = CellDirectory(runs, cell("recu"))

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    for look in (lambda: directory.state, lambda: directory.reason, directory.description):
        with pytest.raises(StoreError, match=r"recu.* cannot be looked into \(Permission denied\); make it readable"):
            look()


def test_a_copy_by_links_is_no_second_measurement(runs: Path) -> None:
    (runs / "copy").symlink_to(runs / next(runs.iterdir()).name)
    write_json(runs / "notes.json", {})
    assert found(runs)[0] == ["bnn", "fp32", "recu"]


def test_cells_of_a_run_folder_inside_another_have_the_state_of_where_they_are(runs: Path, tmp_path: Path) -> None:
    directory = CellDirectory(runs, cell("bnn"))
    directory.finish({"weights": "x"})
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "old").symlink_to(runs)
    rows = plan_of([tmp_path / "all"], None, Filters(), None)
    assert rows is not None
    assert {row.cell: row.state for row in rows}[cell("bnn")] in ("done", "stale")
