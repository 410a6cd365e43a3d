"""The compiler launcher of the tests: what did not change is copied, everything else is compiled."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).with_name("compile_once.py")
Compile = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")


@pytest.fixture
def compile_it(tmp_path: Path) -> Compile:
    (tmp_path / "a.h").write_text("inline int number() { return 1; }\n")
    (tmp_path / "a.cpp").write_text('#include "a.h"\nint twice() { int unused; return 2 * number(); }\n')

    def run(*options: str, to: str = "a.o") -> subprocess.CompletedProcess[str]:
        words = ["-c", tmp_path / "a.cpp", "-o", tmp_path / to, "-MD", "-MT", to, "-MF", tmp_path / f"{to}.d", *options]
        command = [sys.executable, "-S", LAUNCHER, tmp_path / "store", "c++", *words]
        return subprocess.run([str(w) for w in command], capture_output=True, text=True, timeout=300)

    return run


def stored(folder: Path) -> list[Path]:
    return list((folder / "store").glob("*.o"))


def test_the_same_is_copied_with_its_warnings(compile_it: Compile, tmp_path: Path) -> None:
    first = compile_it("-Wall")
    assert first.returncode == 0 and "unused" in first.stderr
    (kept,) = stored(tmp_path)
    assert kept.read_bytes() == (tmp_path / "a.o").read_bytes()
    kept.write_bytes(b"the stored one")
    second = compile_it("-Wall", "-DNOTHING", to="b.o")
    assert (second.returncode, second.stderr) == (0, first.stderr)
    assert (tmp_path / "b.o").read_bytes() == b"the stored one"
    assert "a.h" in (tmp_path / "b.o.d").read_text()


def test_what_changed_is_compiled(compile_it: Compile, tmp_path: Path) -> None:
    compile_it()
    stored(tmp_path)[0].write_bytes(b"the stored one")
    compile_it("-O2")
    assert (tmp_path / "a.o").read_bytes()[1:4] == b"ELF" or sys.platform != "linux"
    (tmp_path / "a.h").write_text("inline int number() { return 3; }\n")
    compile_it()
    assert (tmp_path / "a.o").read_bytes() != b"the stored one"
    assert len(stored(tmp_path)) == 3


def test_mistakes_are_told_and_not_kept(compile_it: Compile, tmp_path: Path) -> None:
    for text in ('#include "a.h"\nint twice() { return number; }}\n', '#include "b.h"\n'):
        (tmp_path / "a.cpp").write_text(text)
        done = compile_it()
        assert done.returncode != 0 and "error" in done.stderr
        assert stored(tmp_path) == []
