"""`import bibench` is light, and imports inside the package run one way."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "bibench"

HEAVY = ("lightning", "lightning_fabric", "torchmetrics", "torchvision", "transformers", "plotly", "sklearn", "skimage")

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import rooms  # noqa: E402  the list of rooms, bottom to top, and how arrows are counted


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_import_loads_torch_and_little_else() -> None:
    loaded = run(
        "import torch, sys; a = set(sys.modules); import bibench; print(*sorted(set(sys.modules) - a))"
    ).split()
    ours = [m for m in loaded if m.split(".")[0] == "bibench"]
    others = [m for m in loaded if m.split(".")[0] != "bibench"]
    assert not [m for m in loaded if m.split(".")[0] in HEAVY]
    assert len(ours) < 40
    assert len(others) < 10, others


@pytest.mark.parametrize(
    ("verb", "needs"),
    [
        ("list operators", ""),
        ("list suites", ""),
        ("plan sensitivity_quick", ""),
        ("plan smoke --tasks digits_photos,shapes,shape_parts,embedded_stsb,formant_words", ""),
        ("plan smoke", "torchvision"),  # has a detector, whose parts are torchvision's
        ("status smoke", "torchvision"),
    ],
)
@pytest.mark.slow_but("list operators-")
def test_light_verbs_do_not_import_the_training_libraries(verb: str, needs: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv = ['bibench', *{verb.split()!r}]\n"
        "from bibench.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', *[m for m in {HEAVY!r} if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == f"HEAVY {needs}".strip()


def test_every_package_is_a_room_with_a_sentence() -> None:
    packages = {folder.parent.name for folder in PACKAGE.glob("*/__init__.py")}
    assert packages == set(rooms.ROOMS)
    for room in rooms.ROOMS:
        assert rooms.sentence(room).endswith("."), room


def test_tests_lie_in_the_rooms_of_what_they_test() -> None:
    folders = {
        file.relative_to(Path(__file__).parent).parts[0] for file in Path(__file__).parent.glob("*/**/test_*.py")
    }
    assert folders <= set(rooms.ROOMS)


def test_no_file_lies_flat_beside_the_rooms() -> None:
    assert {file.name for file in PACKAGE.glob("*.py")} == {"__init__.py"}


def test_imports_run_one_way() -> None:
    """Wherever they stand, inside functions too."""
    assert rooms.back(rooms.arrows()) == {}


def test_no_files_import_each_other() -> None:
    assert rooms.circles() == []


def test_the_counting_finds_what_it_is_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, text in {
        "foundation": "def f():\n    import bibench.cli.app",
        "cli": "from bibench import foundation",
    }.items():
        (tmp_path / "bibench" / folder).mkdir(parents=True)
        (tmp_path / "bibench" / folder / "__init__.py").write_text("")
        (tmp_path / "bibench" / folder / "app.py").write_text(text)
    (tmp_path / "bibench" / "cli" / "other.py").write_text("def f():\n    from bibench.cli import app")
    (tmp_path / "bibench" / "cli" / "app.py").write_text("from bibench.cli.other import f")
    monkeypatch.setattr(rooms, "PACKAGE", tmp_path / "bibench")
    assert list(rooms.back(rooms.arrows())) == [("foundation", "cli")]
    assert rooms.circles() == [["bibench.cli.app", "bibench.cli.other"]]


@pytest.mark.parametrize("room", rooms.LIBRARY)
def test_the_library_imports_torch_and_numpy_alone(room: str) -> None:
    """Whatever file of it is loaded; and of `bibench` nothing but the library."""
    allowed = {"torch", "numpy", "bibench", *sys.stdlib_module_names}
    for file in (PACKAGE / room).rglob("*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert {name.partition(".")[0] for name in names} <= allowed, file
        for module, _ in rooms.imports(file):
            assert rooms.room_of(module) in ("", *rooms.LIBRARY), f"{file}: {module}"


def test_every_file_has_a_docstring_and_is_short() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{file} has no docstring"
        assert len(text.splitlines()) < 400, f"{file} is long; is it one thing?"
