"""Where the compiled core cannot be built, bibench is installed without it, says why, and gives the same numbers."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from .test_wheel import ROOT, tracked

sys.path.insert(0, str(ROOT / "installation"))
import reasons

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="compilers are shell scripts here"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs to know which files are the project's"),
    pytest.mark.slow,
    pytest.mark.xdist_group("wheel"),
]
COMPILER = shutil.which("c++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="spoils a compiler that works")

OLD = f"""#!/bin/sh
case "$*" in *++20*|*++2a*) echo "c++: error: unrecognized command line option '-std=c++20'" >&2; exit 1;; esac
exec {COMPILER} "$@"
"""
HALF_WAY = f"""#!/bin/sh
case "$*" in *planar.cpp*) echo "c++: fatal error: Killed signal terminated program cc1plus" >&2; exit 1;; esac
exec {COMPILER} -O0 "$@"
"""
BROKEN = """#!/bin/sh
echo "planar.cpp:7:1: error: this compiler is out of order" >&2
exit 1
"""
KINDS = {
    "no compiler": (None, "no C++ compiler was found: install one (Debian and Ubuntu: apt install g++;"),
    "not even an empty program": (BROKEN, "the C++ compiler does not work, not even for an empty program"),
    "without C++20": (OLD, "the C++ compiler does not know C++20"),
    "half-way": (HALF_WAY, "the C++ compiler was stopped in the middle"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files."""
    folder = tmp_path_factory.mktemp("source")
    for name in tracked("."):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def build(source: Path, folder: Path, compiler: str | None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A wheel of `source` in `folder`, with this script for a compiler, or with no program but those of a shell."""
    bin = folder / "bin"
    bin.mkdir()
    variables = {k: v for k, v in os.environ.items() if k not in ("BIBENCH_CORE", "CXX", "CC")} | environment
    if compiler is None:
        variables["PATH"] = str(bin)
    else:
        script = bin / "c++"
        script.write_text(compiler)
        script.chmod(0o755)
        variables |= {"CXX": str(script), "PATH": f"{bin}{os.pathsep}{variables['PATH']}"}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env=variables)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if KINDS[kind][0] is None else needs_compiler) for kind in KINDS]
)
def test_a_wheel_without_the_core_says_why(source: Path, tmp_path: Path, kind: str) -> None:
    compiler, reason = KINDS[kind]
    done = build(source, tmp_path, compiler)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        note = archive.read("bibench/_core_absent.txt").decode()
    assert note.startswith(reason)
    assert note.count("\n") == 1
    assert not [name for name in names if "/_core." in name and not name.endswith(".pyi")]
    assert len(names) == len(set(names))


def test_installed_without_a_compiler_it_works_and_tells(source: Path, tmp_path: Path) -> None:
    assert build(source, tmp_path, None).returncode == 0
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    bin = tmp_path / "venv" / "bin"
    subprocess.run([bin / "pip", "install", "--quiet", "--no-deps", wheel], check=True, timeout=600)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    target = next((tmp_path / "venv").glob("lib*/python*/site-packages"))
    (target / "lent.pth").write_text("\n".join(libraries) + "\n")
    variables = {k: v for k, v in os.environ.items() if k != "BIBENCH_ISA"} | {"COLUMNS": "400"}

    def call(*words: object, expect: int = 0) -> str:
        done = subprocess.run(
            [bin / "bibench", *map(str, words)],
            capture_output=True,
            text=True,
            env=variables,
            cwd=tmp_path,
            timeout=600,
        )
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    told = "no C++ compiler was found: install one"
    assert told in call("env")
    runs = ("run", "smoke", "--tasks", "shapes", "--operators", "bnn", "--threads", 1, "--workers", 1)
    said = call(*runs, "--runs", tmp_path / "runs")
    (note,) = [line for line in said.splitlines() if "compiled core" in line]
    assert note.startswith(
        "note: bibench runs without its compiled core, with the same numbers but slower. Why: no C++"
    )
    assert "2 trained" in said
    assert "compiled core" not in call(*runs, "--runs", tmp_path / "runs")  # nothing is left to do
    cell = next((tmp_path / "runs").rglob("bnn/**/model.pt")).parent
    call("export", cell, "-o", tmp_path / "model.onnx")
    said = call("latency", tmp_path / "model.onnx", "--runs", tmp_path / "measured", expect=2)
    assert said.index("note: bibench runs without") < said.index("the 1-bit operators need BiBench's compiled core")


def test_a_release_is_never_without(source: Path, tmp_path: Path) -> None:
    done = build(source, tmp_path, None, BIBENCH_CORE="required")
    assert done.returncode != 0
    assert not list(tmp_path.glob("*.whl"))


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("CMake Error: No CMAKE_CXX_COMPILER could be found.\n", "no C++ compiler was found"),
        ("CMakeNotFoundError: Could not find CMake with version >=3.21", "CMake 3.21 or newer was not found"),
        ("CMake 3.21 or higher is required.  You are running version 3.16.3", "CMake 3.21 or newer was not found"),
        ("Could NOT find Threads (missing: Threads_FOUND)", "the system's threads library was not found"),
        ("fatal error: error writing to /tmp/a.s: No space left on device", "the disk was full"),
        (
            "a.cpp:3:1: error: expected ';'\nmake: *** [a.o] Error 1",
            "building it failed (a.cpp:3:1: error: expected ';')",
        ),
        ("something unheard of\n", "building it failed (something unheard of)"),
        ("", "building it failed"),
    ],
)
def test_what_a_build_printed_becomes_one_line(output: str, reason: str) -> None:
    said = reasons.reason_of(output)
    assert said.startswith(reason)
    assert "\n" not in said
