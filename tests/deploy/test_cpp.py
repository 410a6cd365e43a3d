"""examples/cpp: compiled, run on an exported model, and compared with Python.

It is compiled with ONNX Runtime's header where that is installed, and always with a stand-in for it (cpp/), against the
library in the Python wheel.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import bibench
from bibench import deploy
from bibench.deploy.session import session_options

from ..test_docs import blocks

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cpp"
DECLARED = Path(__file__).parent / "cpp"
PLACES = ("/usr/include/onnxruntime", "/usr/include/onnxruntime/core/session", "/usr/local/include/onnxruntime")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="compiled and linked as on Linux"),
    pytest.mark.skipif(not (shutil.which("cmake") and shutil.which("c++")), reason="cmake or c++ not installed"),
    pytest.mark.xdist_group("cpp"),
]


def run(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=cwd, timeout=900)


def succeed(*words: object, cwd: Path | None = None) -> str:
    done = run(*words, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ONNX Runtime's library, of the Python wheel, under the names that linkers look for."""
    package = importlib.util.find_spec("onnxruntime")
    assert package is not None and package.origin is not None
    found = sorted((Path(package.origin).parent / "capi").glob("libonnxruntime.so*"))
    if not found:
        pytest.skip("this wheel of onnxruntime has no libonnxruntime.so")
    folder = tmp_path_factory.mktemp("runtime")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(found[-1])
    return folder


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory, runtime: Path) -> Path:
    """Built as the README says, with the stand-in for the header."""
    folder = tmp_path_factory.mktemp("build")
    places = f"-DONNXRUNTIME_INCLUDE={DECLARED}", f"-DONNXRUNTIME_LIBRARY={runtime / 'libonnxruntime.so'}"
    succeed("cmake", "-S", EXAMPLE, "-B", folder, *places)
    succeed("cmake", "--build", folder, "--parallel", "2")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's model and images, and what Python says to them."""
    folder = tmp_path_factory.mktemp("model")
    (code,) = blocks((EXAMPLE / "README.md").read_text(encoding="utf-8"), "python")
    (folder / "said").write_text(succeed(sys.executable, "-c", code, cwd=folder))
    return folder


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library as another version of bibench brings it."""
    folder = tmp_path_factory.mktemp("newer")
    succeed("cmake", "-S", ROOT, "-B", folder, "-DBIBENCH_OPENMP=OFF", "-DBIBENCH_VERSION=99.1")
    succeed("cmake", "--build", folder, "--parallel", "2", "--target", "bibench_ort")
    return folder / "libbibench_ort.so"


def library(build: Path) -> Path:
    return build / "bibench" / "libbibench_ort.so"


def check(program: Path, build: Path, model: Path) -> None:
    images = np.fromfile(model / "image.f32", np.float32).reshape(-1, 3, 32, 32)
    expected = deploy.load(model / "model.onnx")(images)[0]
    assert str(expected.argmax(1).tolist()) == (model / "said").read_text().strip()
    for threads in (1, 2):
        said = succeed(program, model / "model.onnx", library(build), model / "image.f32", threads)
        lines = [line.split() for line in said.splitlines()]
        assert [int(line[0]) for line in lines] == expected.argmax(1).tolist()
        np.testing.assert_allclose([float(line[1]) for line in lines], expected.max(1), rtol=1e-5)


def test_classes_are_those_of_python(build: Path, model: Path) -> None:
    check(build / "classify", build, model)


def test_library_needs_neither_python_nor_openmp(build: Path) -> None:
    needed = succeed("readelf", "-d", library(build)) if shutil.which("readelf") else succeed("ldd", library(build))
    assert "libstdc++" in needed
    assert "python" not in needed and "gomp" not in needed


def test_the_other_library_of_python_is_refused_with_a_reason(build: Path, model: Path) -> None:
    done = run(build / "classify", model / "model.onnx", deploy.library(), model / "image.f32")
    assert done.returncode == 1 and "undefined symbol: Py" in done.stderr


def test_two_versions_for_one_session_are_refused_with_their_names(build: Path, newer: Path) -> None:
    for first, second in ((library(build), newer), (newer, library(build))):
        options = onnxruntime.SessionOptions()
        options.register_custom_ops_library(str(first))
        names = [f"{path} (version {'99.1' if path == newer else bibench.__version__})" for path in (first, second)]
        message = f"two libraries register the operators of domain 'bibench' with one session: {' and '.join(names)}"
        with pytest.raises(Exception, match=re.escape(f"{message}; register one of them")):
            options.register_custom_ops_library(str(second))
        options.register_custom_ops_library(str(first))  # the same one again is none


def test_two_versions_in_one_process_do_not_disturb_each_other(build: Path, newer: Path, model: Path) -> None:
    """Nor the third one, of the Python module; each session keeps its own."""
    images = np.fromfile(model / "image.f32", np.float32).reshape(-1, 3, 32, 32)
    expected = deploy.load(model / "model.onnx")(images)[0]
    sessions = []
    for path in (library(build), newer, Path(deploy.library())):
        options = session_options(1)
        options.register_custom_ops_library(str(path))
        assert options.get_session_config_entry("bibench.library").startswith(f"{path} (version ")
        sessions.append(onnxruntime.InferenceSession(model / "model.onnx", options))
    for session in [*sessions, *reversed(sessions)]:
        (outputs,) = session.run(None, {session.get_inputs()[0].name: images})
        np.testing.assert_array_equal(outputs, expected)
    del sessions[1], session  # one goes, the others stay
    for session in sessions:
        np.testing.assert_array_equal(session.run(None, {session.get_inputs()[0].name: images})[0], expected)


def test_bad_input(build: Path, model: Path, tmp_path: Path) -> None:
    def refused(*words: object) -> str:
        done = run(build / "classify", *words)
        assert done.returncode == 1 and done.stderr.startswith("classify: ") and not done.stdout
        return done.stderr

    good, own = model / "model.onnx", library(build)
    assert run(build / "classify", good).returncode == 2
    assert run(build / "classify", good, own, model / "image.f32", "none").returncode == 2
    np.zeros(3072 + 1, np.float32).tofile(tmp_path / "long")
    assert "long: expected a multiple of 3072 floats, got 3073" in refused(good, own, tmp_path / "long")
    (tmp_path / "odd").write_bytes(b"12345")
    assert "odd is no file of 32-bit floats" in refused(good, own, tmp_path / "odd")
    (tmp_path / "empty").write_bytes(b"")
    assert "got 0" in refused(good, own, tmp_path / "empty")
    assert "cannot be read" in refused(good, own, tmp_path / "missing")
    assert "missing" in refused(good, tmp_path / "missing.so", model / "image.f32")
    (tmp_path / "cut.onnx").write_bytes(good.read_bytes()[:5000])
    refused(tmp_path / "cut.onnx", own, model / "image.f32")


@pytest.fixture(scope="module")
def header() -> Path:
    """The folder of ONNX Runtime's own header."""
    for place in (os.environ.get("ONNXRUNTIME_INCLUDE", ""), *PLACES):
        if place and (Path(place) / "onnxruntime_c_api.h").is_file():
            return Path(place)
    pytest.skip("onnxruntime_c_api.h not installed (Debian 13: libonnxruntime-dev) and ONNXRUNTIME_INCLUDE not set")


def test_with_the_header_of_onnxruntime(header: Path, build: Path, runtime: Path, model: Path, tmp_path: Path) -> None:
    options = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-isystem", header]
    linked = [f"-L{runtime}", "-lonnxruntime", f"-Wl,-rpath,{runtime}"]
    succeed("c++", *options, EXAMPLE / "classify.cpp", "-o", tmp_path / "classify", *linked)
    check(tmp_path / "classify", build, model)


def test_the_stand_in_has_every_function_in_its_place(header: Path, tmp_path: Path) -> None:
    text = (DECLARED / "onnxruntime_c_api.h").read_text()
    names = re.findall(r"\(\*(\w+)\)", text.partition("struct OrtApi {")[2].partition("};")[0])
    assert len(names) >= 20
    lines = "".join(f'  std::printf("{name} %zu\\n", offsetof(OrtApi, {name}));\n' for name in names)
    (tmp_path / "places.cpp").write_text(
        f"#include <cstddef>\n#include <cstdio>\n#include <onnxruntime_c_api.h>\nint main() {{\n{lines}}}\n"
    )
    said = []
    for folder in (header, DECLARED):
        succeed("c++", "-std=c++20", "-isystem", folder, tmp_path / "places.cpp", "-o", tmp_path / "places")
        said.append(succeed(tmp_path / "places"))
    assert said[0] == said[1]
