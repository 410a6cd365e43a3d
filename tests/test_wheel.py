"""The wheel: built as cibuildwheel builds it, complete, and at work where there is no compiler."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["cibuildwheel"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler to build the wheel with"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs to know which files are the project's"),
    pytest.mark.xdist_group("wheel"),
]


def tracked(folder: str) -> list[str]:
    said = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in said.splitlines() if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tracked files, with the settings for cibuildwheel."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in tracked("."):
        (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "source" / name)
    settings = [word for key, value in BUILD["config-settings"].items() for word in ("-C", f"{key}={value}")]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, *settings]
    done = subprocess.run([*command, folder / "source"], capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    core = [name for name in names if re.fullmatch(r"bibench/_core\..*\.(so|pyd)", name)]
    assert len(core) == 1
    about = [name for name in names if ".dist-info/" in name]
    assert {Path(name).name for name in about} >= {
        *("METADATA", "WHEEL", "RECORD", "LICENSE", "entry_points.txt"),
        *(Path(name).name for name in tracked("csrc/licenses")),
    }
    files = {name.removeprefix("src/") for name in tracked("src")}
    assert set(names) - set(core) - set(about) == files
    raw = ROOT / "src" / "bibench" / "published" / "raw"
    assert files >= {f"bibench/published/raw/{table.name}" for table in raw.iterdir()}


@pytest.mark.skipif(sys.platform != "linux", reason="ELF")
def test_the_core_needs_only_what_every_linux_has(wheel: Path, tmp_path: Path) -> None:
    """Of a library that torch's wheel brings along under changing names, such as OpenMP's, there must be none."""
    if shutil.which("readelf") is None:
        pytest.skip("readelf not installed")
    with zipfile.ZipFile(wheel) as archive:
        (core,) = [name for name in archive.namelist() if "/_core." in name and name.endswith(".so")]
        archive.extract(core, tmp_path)
    said = subprocess.run(["readelf", "-d", tmp_path / core], capture_output=True, text=True, check=True).stdout
    needed = {name.partition(".so")[0] for name in re.findall(r"NEEDED.*\[(.*)\]", said)}
    assert "libc" in needed
    assert needed <= {"libc", "libm", "libstdc++", "libgcc_s", "libpthread", "libdl", "librt", *loaders(needed)}


def loaders(names: set[str]) -> set[str]:
    return {name for name in names if name.startswith("ld-linux")}


def test_it_works_without_a_compiler(wheel: Path, tmp_path: Path) -> None:
    """In a new virtual environment that is lent the libraries of this one, and sees no other program."""
    venv.create(tmp_path / "venv", with_pip=True)
    bin = tmp_path / "venv" / "bin"
    subprocess.run([bin / "pip", "install", "--quiet", "--no-deps", wheel], check=True, timeout=600)
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    target = next((tmp_path / "venv").glob("lib*/python*/site-packages"))
    (target / "lent.pth").write_text("\n".join(libraries) + "\n")
    check = shutil.copy2(ROOT / "tests" / "installed.py", tmp_path)
    environment = {"PATH": str(bin), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    assert not any(shutil.which(name, path=str(bin)) for name in ("c++", "cc", "g++", "gcc", "clang"))
    done = subprocess.run(
        [bin / "python", check], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    place, kernels = done.stdout.split()
    assert Path(place).is_relative_to(target) and kernels != "none"
    said = subprocess.run([bin / "bibench", "list", "operators"], env=environment, capture_output=True, text=True)
    assert said.returncode == 0 and "reactnet" in said.stdout, said.stderr


@pytest.mark.parametrize(
    ("platform", "arch", "tag"),
    [
        ("linux", "x86_64", "manylinux_x86_64"),
        ("linux", "aarch64", "manylinux_aarch64"),
        ("macos", "arm64", "macosx_arm64"),
    ],
)
def test_wheels_of_every_kind_are_configured(platform: str, arch: str, tag: str) -> None:
    pytest.importorskip("cibuildwheel")
    command = [
        sys.executable,
        "-m",
        "cibuildwheel",
        "--platform",
        platform,
        "--archs",
        arch,
        "--print-build-identifiers",
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CIBW_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {f"cp3{minor}-{tag}" for minor in (11, 12, 13)}
