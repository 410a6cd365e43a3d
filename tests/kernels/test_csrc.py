"""The kernels without Python: sanitized, and for 64-bit ARM under emulation (see csrc/check)."""

import os
import shutil
import subprocess
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
