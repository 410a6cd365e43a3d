"""Setting up: what is said of downloads, which torch is taken, and that a second time nothing is done."""

import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "installation"))
import environment  # noqa: E402


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a = 1")
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    for name in ("CMakeLists.txt",):
        (tmp_path / name).write_text("")
    return tmp_path


def test_requirements_are_those_of_the_project() -> None:
    found = environment.requirements(ROOT, "bench,deploy")
    assert {"torch>=2.6", "polars>=1.9", "onnxruntime>=1.21"} <= set(found)
    assert not [line for line in found if line.startswith("pytest")]


class TestState:
    def test_same_content_same_state(self, project: Path) -> None:
        assert environment.state_of(project, "bench") == environment.state_of(project, "bench")

    def test_anything_installed_changes_it(self, project: Path) -> None:
        before = environment.state_of(project, "bench")
        assert environment.state_of(project, "bench,deploy") != before
        (project / "src" / "a.py").write_text("a = 2")
        edited = environment.state_of(project, "bench")
        (project / "src" / "a.py").rename(project / "src" / "b.py")
        assert len({before, edited, environment.state_of(project, "bench")}) == 3

    def test_what_python_compiles_does_not(self, project: Path) -> None:
        before = environment.state_of(project, "bench")
        (project / "src" / "__pycache__").mkdir()
        (project / "src" / "__pycache__" / "a.pyc").write_text("x")
        assert environment.state_of(project, "bench") == before


class TestMain:
    @pytest.fixture
    def calls(self, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
        """Words of the calls of pip, in a project that is not there yet; a pip that fails is asked for by `fail`."""
        made: list[list[str]] = []
        monkeypatch.setattr(environment, "ROOT", project)
        monkeypatch.setattr(environment, "STAMP", tmp_path / "stamp")
        script = f"import os, sys; sys.exit(3 * os.path.exists({str(project / 'fail')!r}))"
        monkeypatch.setattr(environment, "PIP", [sys.executable, "-c", script])
        run = environment.subprocess.run

        def remembered(words: list[str], **how: object) -> object:
            made.append(words[3:])
            return run(words, **how)

        monkeypatch.setattr(environment.subprocess, "run", remembered)
        monkeypatch.setattr(environment, "missing", lambda wanted: [("torch", 2_000_000_000), ("tiny", None)])
        return made

    def test_says_first_what_it_does_and_the_second_time_does_nothing(self, calls: list, capsys) -> None:
        environment.main("bench")
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith("Setting up BiBench in ")
        assert said[1].startswith("Downloading 2 packages, about 2.0 GB (torch 2.0 GB), into ")
        assert any(words[0] == "install" and "--progress-bar" in words for words in calls)
        calls.clear()
        environment.main("bench")
        assert not calls
        assert capsys.readouterr().out == ""

    def test_again_after_a_failure_or_a_change(self, calls: list, project: Path) -> None:
        (project / "fail").touch()
        with pytest.raises(SystemExit) as stopped:
            environment.main("bench")
        assert stopped.value.code == 3
        (project / "fail").unlink()
        calls.clear()
        environment.main("bench")
        assert calls
        (project / "src" / "a.py").write_text("a = 3")
        calls.clear()
        environment.main("bench")
        assert calls


@pytest.mark.parametrize(
    ("versions", "gpu", "taken"),
    [
        (["2.14.1", "2.14.1+cpu", "2.13.0+cpu"], None, ["torch==2.14.1+cpu"]),
        (["2.14.1", "2.14.1+cpu"], "/usr/bin/nvidia-smi", []),
        (["2.14.1", "2.13.0"], None, []),
        ([], None, []),
    ],
)
def test_the_build_for_the_cpu_where_there_is_no_gpu(
    versions: list[str], gpu: str | None, taken: list[str], monkeypatch
) -> None:
    monkeypatch.setattr(environment.shutil, "which", lambda name: gpu)
    assert environment.cpu_build(versions) == taken


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "Nothing has to be downloaded but what building BiBench itself needs."),
        ([("a", 3_400_000)], "Downloading 1 package, about 3 MB (a 3 MB), into here"),
        ([("a", None), ("b", None)], "Downloading 2 packages, of unknown size, into here"),
        (
            [("a", 9e8), ("b", 2e8), ("c", 1e5)],
            "Downloading 3 packages, about 1.1 GB (a 900 MB, b 200 MB, c 1 MB), into here",
        ),
    ],
)
def test_what_is_said_of_downloads(found: list, said: str) -> None:
    assert environment.announcement(found, "here") == said


def test_sizes_are_known_without_a_download(tmp_path: Path) -> None:
    (tmp_path / "a b.whl").write_bytes(b"12345")
    assert environment.size((tmp_path / "a b.whl").as_uri()) == 5
    assert environment.size((tmp_path / "none.whl").as_uri()) is None
    assert environment.size("nonsense") is None
