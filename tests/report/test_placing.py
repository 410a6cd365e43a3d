"""A report in the place of another: whatever ends the process, there is a whole one, and the next build tidies up."""

from pathlib import Path

import pytest

from bibench.report import build, placing

from ..foundation.test_files import names
from ..killing import killed_at


def site(folder: Path, text: str) -> Path:
    (folder / "pages").mkdir(parents=True)
    for name in ("report.json", "index.html", "pages/a.html"):
        (folder / name).write_text(text)
    return folder


def whole(folder: Path) -> str:
    """What all its files say."""
    (said,) = {(folder / name).read_text() for name in ("report.json", "index.html", "pages/a.html")}
    return said


def test_there_is_a_whole_one_whenever_it_is_killed(tmp_path: Path) -> None:
    for step in range(1, 30):
        out, new = site(tmp_path / f"{step}" / "site", "old"), site(tmp_path / f"{step}" / ".site-01234567", "new")
        if not killed_at(step, lambda new=new, out=out: build._take_place(new, out)):
            assert names(out.parent) == ["site"]
            assert whole(out) == "new"
            break
        assert whole(out) in ("old", "new")
        with build.exclusive(out):
            placing.recover(out)
        assert names(out.parent) == ["site"]
        assert whole(out) in ("old", "new")
    else:
        pytest.fail("never ended")
    assert step > 3


def test_without_an_exchange_the_next_build_puts_it_back(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(placing, "_rename", lambda: None)
    gone = 0
    for step in range(1, 30):
        out, new = site(tmp_path / f"{step}" / "site", "old"), site(tmp_path / f"{step}" / ".site-01234567", "new")
        if not killed_at(step, lambda new=new, out=out: placing.take_place(new, out)):
            break
        gone += not out.exists()
        with build.exclusive(out):
            placing.recover(out)
        assert names(out.parent) == ["site"]
        assert whole(out) in ("old", "new")
    assert gone == 1


def test_a_system_error_leaves_the_old_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(placing, "_rename", lambda: lambda one, other: 13)
    out, new = site(tmp_path / "site", "old"), site(tmp_path / ".site-01234567", "new")
    with pytest.raises(PermissionError):
        placing.take_place(new, out)
    assert whole(out) == "old"


def test_a_file_that_somebody_has_open_can_be_read_on(tmp_path: Path) -> None:
    out, new = site(tmp_path / "site", "old"), site(tmp_path / ".site-01234567", "new")
    with (out / "index.html").open() as stream:
        placing.take_place(new, out)
        assert stream.read() == "old"
    assert whole(out) == "new"
