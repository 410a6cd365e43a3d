"""The kernels without Python: sanitized, and for 64-bit ARM under emulation (see csrc/check)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import LAUNCHER

TOOLS = {"sanitize": ("cmake", "c++"), "aarch64": ("cmake", "aarch64-linux-gnu-g++", "qemu-aarch64")}


def check(root: Path, build: Path, what: str, cases: int) -> str:
    missing = [tool for tool in TOOLS[what] if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; csrc/check {what} names the packages")
    environment = {
        **{name: os.environ[name] for name in ("PATH", LAUNCHER) if name in os.environ},
        "BUILD": str(build),
        "CASES": str(cases),
        "TMPDIR": str(build),
    }
    done = subprocess.run(
        [root / "csrc" / "check", what], capture_output=True, text=True, env=environment, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_sanitized(root: Path, tmp_path: Path) -> None:
    said = check(root, tmp_path, "sanitize", 60)
    assert [line for line in said.splitlines() if ":" not in line] == [
        "asan-ubsan-openmp",
        "asan-ubsan-pool",
        "tsan-pool",
    ]
    assert said.count("portable: 10 kinds of kernels, 60 random cases each, all equal to their definition") == 3
    assert said.count("portable: operators as defined on ") == 3
    assert said.count("lookup: 60 cases") == 3


@pytest.mark.slow
def test_64_bit_arm(root: Path, tmp_path: Path) -> None:
    said = check(root, tmp_path, "aarch64", 60)
    for name in ("neon", "portable"):
        assert f"{name}: 10 kinds of kernels, 60 random cases each, all equal to their definition" in said
        assert f"{name}: operators as defined on " in said
    assert "lookup: 60 cases" in said


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
def test_missing_tools_are_named(root: Path, tmp_path: Path) -> None:
    """With a path on which there is no cmake."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "dirname", "env"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    done = subprocess.run(
        [root / "csrc" / "check", "aarch64"], capture_output=True, text=True, env={"PATH": str(tools)}, timeout=300
    )
    assert done.returncode == 3
    assert "cmake is missing. On Debian and Ubuntu: apt-get install cmake" in done.stderr


def test_what_it_can_do_is_listed(root: Path) -> None:
    done = subprocess.run([root / "csrc" / "check", "nonsense"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert all(f"csrc/check {what}" in done.stderr for what in TOOLS)


BEFORE = """
static __attribute__((noinline)) float half(float x) { return x * 0.5f; }
float twice(float x) { return x + half(x) * 3.0f; }
int count(int n) { int sum = 0; for (int i = 0; i < n; ++i) sum += i ^ n; return sum; }
"""
MOVED = """
int count(int n) { int sum = 0; for (int i = 0; i < n; ++i) sum += i ^ n; return sum; }
static __attribute__((noinline)) float halved(float x) { return x * 0.5f; }
float twice(float x) { return x + halved(x) * 3.0f; }
"""


@pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("c++", "objdump", "c++filt")) or sys.platform != "linux",
    reason="no compiler, or none of its tools that read object files",
)
def test_moved_code_is_told_from_changed_code(root: Path, tmp_path: Path) -> None:
    """csrc/compare.py: neither places nor names count; a constant, an instruction and what is called do."""

    def build(name: str, text: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "some.cpp").write_text(text)
        command = ["c++", "-O2", "-fPIC", "-c", folder / "some.cpp", "-o", folder / "some.o"]
        subprocess.run(command, check=True, timeout=300)
        return folder

    def compare(after: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, root / "csrc" / "compare.py", before, after, "--lines", "20"]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    before = build("before", BEFORE)
    moved = compare(build("moved", MOVED))
    assert moved.returncode == 0, moved.stdout + moved.stderr
    assert re.search(r"renamed: half\(float\)\n +to: halved\(float\)", moved.stdout)
    for name, changed, function in (
        ("constant", MOVED.replace("0.5f", "0.25f"), "halved(float)"),
        ("instruction", MOVED.replace("i ^ n", "i | n"), "count(int)"),
        ("call", MOVED.replace("halved(x) * 3.0f", "halved(halved(x)) * 3.0f"), "twice(float)"),
    ):
        done = compare(build(name, changed))
        assert done.returncode == 1, name
        assert f"differs: {function}" in done.stdout, done.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no object files; build there first" in compare(empty).stderr


SUM = """
namespace {{
[[gnu::noinline]] float {helper}(float x) {{ return x * {factor}f; }}
}}
float sum(const float* x, long n) {{
  float total = 0;
  for (long i = 0; i < n; ++i) total += {helper}(x[i]);
  return total;
}}
{more}
"""


def built(folder: Path, helper: str = "scaled", factor: float = 3.5, more: str = "") -> Path:
    folder.mkdir()
    (folder / "sum.cpp").write_text(SUM.format(helper=helper, factor=factor, more=more), encoding="utf-8")
    subprocess.run(["c++", "-O2", "-c", "sum.cpp", "-o", "sum.o"], cwd=folder, check=True, timeout=300)
    return folder


def compared(root: Path, before: Path, after: Path) -> tuple[int, str]:
    command = [sys.executable, root / "csrc" / "compare.py", before, after]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.mark.skipif(
    sys.platform != "linux" or not all(map(shutil.which, ("c++", "objdump", "c++filt"))),
    reason="no compiler, or none of the tools that read object files",
)
def test_machine_code_is_compared(root: Path, tmp_path: Path) -> None:
    """Code that has moved or has another name is the same; another constant in it is not."""
    before = built(tmp_path / "before")
    moved = built(tmp_path / "moved", more="long first(long a, long b) { return a * b; }")
    status, said = compared(root, before, moved)
    assert status == 1 and "first(long, long): none -> " in said and "2 functions are the same" in said
    status, said = compared(root, before, built(tmp_path / "renamed", helper="multiplied"))
    assert status == 0 and "scaled(float)" in said and "multiplied(float)" in said and "differs" not in said
    status, said = compared(root, before, built(tmp_path / "changed", factor=4.5))
    assert status == 1 and "scaled(float)" in said and "1 functions are the same; 1 before and 1 after" in said
