"""Catalogues: lazy discovery, near misses, strangers' files and plug-ins."""

import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import bibench
from bibench.foundation.errors import BiBenchError, UnknownNameError
from bibench.foundation.registry import Registry, load_file
from bibench.operators import OPERATORS, known_operators


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The operators' catalogue, whose changes are undone."""
    list(OPERATORS)
    for name in ("_entries", "_sources", "_broken"):
        monkeypatch.setattr(OPERATORS, name, type(getattr(OPERATORS, name))(getattr(OPERATORS, name)))
    return OPERATORS


def test_the_papers_operators_come_in_its_order() -> None:
    assert known_operators()[:9] == ["fp32", "bnn", "xnor", "dorefa", "bireal", "xnorpp", "reactnet", "recu", "fda"]


def test_lookup_errors_name_kind_near_misses_and_all() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown operator 'xnor\+\+'; did you mean 'xnor'.*Known operators: .*fda"
    ):
        OPERATORS["xnor++"]
    with pytest.raises(UnknownNameError, match=r"unknown operator 'zzz'\. Known operators"):
        OPERATORS["zzz"]
    assert isinstance(UnknownNameError(), LookupError)


def test_entries_know_their_place() -> None:
    path, line = OPERATORS.source("recu").rsplit(":", 1)
    assert Path(path).name == "recu.py"
    assert Path(path).read_text().splitlines()[int(line) - 1].startswith('@operator("recu")')


def write(path: Path, text: str) -> Path:
    path.write_text("import bibench\n" + text)
    return path


def test_load_file_registers_what_it_defines(fresh: Registry, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", "@bibench.operator('mine_a')\nclass A(bibench.Operator):\n    pass\n")
    assert load_file(file) == file
    assert fresh.names_from(file) == ["mine_a"]
    assert "mine_a" in fresh
    assert known_operators()[-1] == "mine_a"
    load_file(file)  # again is harmless


def test_a_file_may_import_what_lies_beside_it(
    fresh: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "lies_beside.py").write_text("FACTOR = 2\n")
    text = "from lies_beside import FACTOR\n@bibench.operator('beside')\nclass A(bibench.Operator):\n    f = FACTOR\n"
    load_file(write(tmp_path / "uses.py", text))
    assert fresh["beside"].f == 2


def test_two_files_cannot_share_a_name(fresh: Registry, tmp_path: Path) -> None:
    file = write(tmp_path / "again.py", "@bibench.operator('bnn')\nclass A(bibench.Operator):\n    pass\n")
    with pytest.raises(BiBenchError, match=r"operator 'bnn' is defined twice: in .*bnn.py:\d+ and in .*again.py:2"):
        load_file(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nraise RuntimeError('no')\n", r"line 3: RuntimeError: no"),
        ("def f(:\n", r"line 2: SyntaxError"),
        ("import sys\nsys.exit(3)\n", r"line 3: SystemExit: 3"),
        ("import does_not_exist\n", r"line 2: ModuleNotFoundError"),
        ("@bibench.operator('f')\ndef f(): pass\n", r"decorates a subclass of bibench.Operator"),
        (
            "@bibench.operator\nclass A(bibench.Operator): pass\n",
            r"line 2: .*@operator needs a name, as in @operator\('",
        ),
        ("@bibench.operator('a[b=1]')\nclass A(bibench.Operator): pass\n", r"a name consists of letters, digits and"),
        ("@bibench.operator('a/b')\nclass A(bibench.Operator): pass\n", r"a name consists of letters, digits and"),
        (
            "from bibench.models import model\n@model('m m', family='mlp', paper='')\ndef f(): pass\n",
            r"a name consists of",
        ),
        (
            "from bibench.tasks.base import task\n@task('f')\ndef f(): pass\n",
            r"decorates a subclass of bibench.tasks.Task, got <function f",
        ),
    ],
)
def test_files_that_fail_on_import(fresh: Registry, tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path / "bad.py", text)
    with pytest.raises(BiBenchError, match=message):
        load_file(file)
    with pytest.raises(BiBenchError, match=message):  # not half-loaded the second time
        load_file(file)


def test_what_is_defined_again_in_its_own_file_takes_its_place() -> None:
    registry: Registry[type] = Registry("gadget", "bibench.operators")
    first, second = type("First", (), {}), type("Second", (), {})

    def one_line() -> None: ...

    def another_line() -> None: ...

    registry.register("gadget", first, where=one_line)
    registry.register("gadget", second, where=another_line)
    assert registry["gadget"] is second
    assert registry.names_from(__file__) == ["gadget"]
    with pytest.raises(BiBenchError, match=r"gadget 'gadget' is defined twice: in .*test_registry.py"):
        registry.register("gadget", first, where=Registry)


@pytest.mark.parametrize("name", ["missing.py", "folder", "text.txt"])
def test_what_is_not_a_python_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.txt").write_text("")
    with pytest.raises(BiBenchError, match=r"expected an existing Python file \(.py\)"):
        load_file(tmp_path / name)


def test_entry_points_register_and_broken_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: Registry[type] = Registry("gadget", "bibench.operators")

    class Point:
        def __init__(self, name: str, broken: bool) -> None:
            self.name, self.value, self.broken = name, f"{name}.module", broken

        def load(self) -> None:
            if self.broken:
                raise ImportError("cannot import")
            registry.register("plugged", Point)

    points = [Point("good", False), Point("bad", True)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "bibench.gadgets" else [])
    assert "plugged" in registry
    with pytest.raises(UnknownNameError, match=r"Plug-ins that failed to load: bad \(bad.module\): ImportError"):
        registry["nope"]


def test_public_names_exist() -> None:
    assert all(hasattr(bibench, name) for name in bibench.__all__)


PAGE = "# A page\n\n```python\n@decorator(\ndef one_line(\n```\n"


@pytest.mark.parametrize("lines", range(6))
def test_code_of_a_page_that_lies_elsewhere_has_no_file(
    lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python finds lines for it, where a folder of `sys.path` has a page of that name; they are not Python."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a_page.md").write_text(PAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path / "docs"), *sys.path])
    assert source_of("\n" * lines, "a_page.md") == "__main__:0"


def test_code_under_the_name_of_a_page_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "a_page.md").write_text(PAGE)
    assert source_of("\n" * 4, str(tmp_path / "a_page.md")) == f"{tmp_path / 'a_page.md'}:5"


@pytest.mark.parametrize("text", ["def f(:", "\0", ""])
def test_a_class_of_a_file_that_cannot_be_read_as_python_has_no_place(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("is_no_python")
    module.__file__ = str(tmp_path / "is_no_python.txt")
    (tmp_path / "is_no_python.txt").write_text(text)
    monkeypatch.setitem(sys.modules, "is_no_python", module)
    assert source_of("", "<string>", "is_no_python", "class one_line: pass") == "is_no_python:0"


def source_of(
    before: str, file: str, module: str = "__main__", code: str = "@staticmethod\ndef one_line(): pass"
) -> str:
    """The source of what is compiled as code of `file`."""
    made: dict[str, Any] = {"__name__": module}
    exec(compile(f"{before}{code}\none_line = getattr(one_line, '__func__', one_line)", file, "exec"), made)
    registry: Registry[object] = Registry("gadget", "bibench.operators")
    registry.register("gadget", made["one_line"])
    return registry._sources["gadget"]
