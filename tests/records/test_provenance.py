"""Where numbers come from: fingerprints of code, versions, git and machine."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy
import pytest
import torch

from bibench.foundation.registry import load_file
from bibench.operators import OPERATORS
from bibench.records import provenance
from bibench.records.provenance import code_fingerprint, environment, git_state, versions
from bibench.train import code
from bibench.train.code import code_of

from ..worlds import TINY, cell, fresh_registries, tiny_world

BASE = """
class Base:
    def f(self):
        return 1


class Child(Base):
    def g(self, x):
        return x + 2


def build(width=8):
    return Child()
"""


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Import a text as a file of its own."""
    count = iter(range(100))

    def make(text: str) -> ModuleType:
        name = f"stranger{next(count)}"
        file = tmp_path / name / "stranger.py"
        file.parent.mkdir()
        file.write_text(text)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[name] = made
        spec.loader.exec_module(made)
        return made

    yield make
    for name in [n for n in sys.modules if n.startswith("stranger")]:
        del sys.modules[name]


class TestFingerprint:
    @pytest.mark.parametrize("name", ["Child", "build"])
    def test_words_and_layout_do_not_count_nor_does_the_place(self, module, name: str) -> None:
        before = code_fingerprint(getattr(module(BASE), name))
        dressed = '"""A module."""\n# a comment\n' + BASE.replace(
            "def g(self, x):", 'def g(self,\n          x):  # why\n        """Add two."""'
        ).replace("class Base:", 'class Base:\n    """The base."""\n').replace(
            "return Child()", "return (\n        Child()\n    )"
        )
        assert code_fingerprint(getattr(module(dressed), name)) == before
        assert len(before) == 16

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("x + 2", "x + 3"),
            ("return 1", "return 1.0"),
            ("width=8", "width=9"),
            ("def g", "def h"),
            ("(Base)", "(Base, object)"),
        ],
    )
    def test_code_counts_also_that_of_a_base_class(self, module, old: str, new: str) -> None:
        assert code_fingerprint(module(BASE).Child) != code_fingerprint(module(BASE.replace(old, new)).Child)

    def test_a_string_that_is_no_docstring_counts(self, module) -> None:
        text = "def f():\n    x = 1\n    {}\n    return x\n"
        one, two = (code_fingerprint(module(text.format(word)).f) for word in ("'a'", "'b'"))
        assert one != two

    def test_imports_from_bibench_are_followed_unless_incidental(self, module, tmp_path: Path, monkeypatch) -> None:
        package = tmp_path / "package"
        monkeypatch.setattr(provenance, "PACKAGE", package)
        for folder in ("sub", "foundation"):
            (package / folder).mkdir(parents=True)
        files = {
            "near.py": "import bibench.sub.far",
            "sub/far.py": "FAR = 1",
            "foundation/errors.py": "E = 1",
            "alone.py": "A = 1",
        }
        user = module(
            "def f():\n    from bibench.near import x\n    from bibench.foundation import errors\n"
            "    import bibench.foundation.errors"
        )

        def fingerprint(**changed: str) -> str:
            for name, text in files.items():
                (package / name).write_text(changed.get(Path(name).stem, text))
            provenance._imports.cache_clear()
            provenance._normalized.cache_clear()
            return code_fingerprint(user.f)

        try:
            before = fingerprint()
            assert fingerprint(near="import bibench.sub.far\nNEAR = 2") != before
            assert fingerprint(far="FAR = 2") != before
            assert fingerprint(far="FAR = 1  # one") == before
            assert fingerprint(errors="E = 2", alone="A = 2") == before
        finally:
            provenance._imports.cache_clear()
            provenance._normalized.cache_clear()

    def test_what_lies_beside_a_strangers_file_counts(self, module, tmp_path: Path) -> None:
        def fingerprint(text: str, line: str = "from lies_beside import K") -> str:
            user = module(f"def f():\n    {line}")
            Path(user.__file__).with_name("lies_beside.py").write_text(text)
            provenance._normalized.cache_clear()
            return code_fingerprint(user.f)

        before = fingerprint("K = 1")
        assert fingerprint("K = 1  # one") == before
        assert fingerprint("K = 2") != before
        relative = fingerprint("K = 1", "from . import lies_beside")
        assert fingerprint("K = 2", "from . import lies_beside") != relative

    def test_circular_imports_end(self, module, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
        (tmp_path / "a.py").write_text("import bibench.b")
        (tmp_path / "b.py").write_text("import bibench.a")
        assert code_fingerprint(module("def f():\n    import bibench.a").f)


class TestCodeOfCells:
    @pytest.mark.slow
    def test_every_process_finds_the_same(self) -> None:
        """A set's order differs from process to process; a fingerprint must not."""
        cells = [cell(o) for o in ("fp32", "fda")]
        script = (
            "import json, sys; from bibench.suite.cell import Cell; from bibench.foundation.registry import load_file\n"
            "from bibench.train.code import code_of\n"
            "load_file(sys.argv[1]); print(json.dumps([code_of(Cell.from_dict(c)) for c in json.loads(sys.argv[2])]))"
        )
        with tiny_world():
            here = [code_of(c) for c in cells]
            data = json.dumps([c.to_dict() for c in cells])
        for seed in ("1", "2"):
            ended = subprocess.run(
                [sys.executable, "-c", script, str(TINY), data],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                timeout=300,
                check=True,
            )
            assert json.loads(ended.stdout) == here

    def test_parts_tell_what_differs(self) -> None:
        with tiny_world():
            bnn, fda = code_of(cell("bnn")), code_of(cell("fda"))
            other = code_of(cell("bnn", model="resnet20"))
        assert set(bnn) == {"training", "task", "model", "operator", "conversion"}
        assert {part for part in bnn if bnn[part] != fda[part]} == {"operator"}
        assert {part for part in bnn if bnn[part] != other[part]} == {"model"}

    def test_a_strangers_operator_follows_its_file(self, tmp_path: Path) -> None:
        text = (
            "import bibench\n\n@bibench.operator('mine')\nclass Mine(bibench.Operator):\n"
            "    def output(self, y, x):\n        return y * {}\n"
        )
        found = []
        for number, factor in enumerate(("1", "1  # the same", "2")):
            (tmp_path / str(number)).mkdir()
            file = tmp_path / str(number) / "mine.py"
            file.write_text(text.format(factor))
            with fresh_registries(), tiny_world():
                load_file(file)
                assert OPERATORS.source("mine").startswith(str(file))
                found.append(code_of(cell("mine"))["operator"])
        assert found[0] == found[1] != found[2]

    def test_a_file_that_is_edited_and_loaded_again_has_another_fingerprint(self, tmp_path: Path) -> None:
        text = (
            "import bibench\nfrom lies_near import K\n\n@bibench.operator('mine')\nclass Mine(bibench.Operator):\n"
            "    def output(self, y, x):\n        return {} * y * K\n"
        )
        found = []
        for factor, near in ((1, 1), (2, 1), (2, 2), (1, 1)):
            (tmp_path / "mine.py").write_text(text.format(factor))
            (tmp_path / "lies_near.py").write_text(f"K = {near}")
            with fresh_registries(), tiny_world():
                load_file(tmp_path / "mine.py")
                found.append(code_of(cell("mine"))["operator"])
                sys.modules.pop("lies_near")
        assert found[0] == found[3]
        assert len(set(found)) == 3

    def test_another_entry_of_the_same_name_is_other_code(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with tiny_world():
            before = code_of(cell("bnn"))
            monkeypatch.setitem(OPERATORS._entries, "bnn", OPERATORS["fda"])
            assert code_of(cell("bnn")) == {**before, "operator": code_of(cell("fda"))["operator"]}
            assert code_of(cell("bnn")) != before

    def test_each_piece_of_code_is_read_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[object] = []
        monkeypatch.setattr(
            code, "code_fingerprint", lambda *objects: made.append(objects) or code_fingerprint(*objects)
        )
        with fresh_registries(), tiny_world():
            code._fingerprint.cache_clear()
            for seed in range(50):
                code_of(cell("bnn", seed=seed))
                code_of(cell("recu", seed=seed))
        assert len(made) == len(set(made)) == 6

    def test_books_about_results_do_not_make_them_stale(self) -> None:
        """What stores and describes numbers may change without a new training."""
        from bibench.train.cell import train_cell

        files = provenance._closure(Path(sys.modules[train_cell.__module__].__file__))
        names = {str(file.relative_to(provenance.PACKAGE)) for file in files}
        assert {"train/loop.py", "recipes/recipe.py", "nn/layers.py", "nn/conversion.py", "data/batches.py"} <= names
        others = {"suite/store.py", "records/record.py", "foundation/files.py", "foundation/errors.py"}
        others |= {"cli/running.py", "operators/bnn.py"}
        assert all((provenance.PACKAGE / name).is_file() for name in others)
        assert not names & others

    def test_what_is_incidental_is_there(self) -> None:
        """A name that leads nowhere lets its module count, so that every edit of it makes all results stale."""
        for name in provenance.INCIDENTAL:
            assert provenance._module_file(f"bibench.{name}", provenance.PACKAGE / "x.py"), name


class TestEnvironment:
    def test_says_what_a_record_carries(self) -> None:
        facts = environment("cpu")
        assert facts["torch"] == torch.__version__.partition("+")[0] or facts["torch"] == torch.__version__
        assert facts["numpy"] == numpy.__version__
        assert facts["python"] == sys.version.split()[0]
        assert facts["accelerator"] == "cpu"
        assert facts["threads"] == torch.get_num_threads()
        assert facts["cpu_count"] == os.cpu_count()
        assert facts["cpu"]
        assert facts["platform"].split()[0] in ("Linux", "Darwin", "Windows")

    def test_a_library_that_is_not_installed_has_no_version(self) -> None:
        assert provenance._version("no-such-library") == ""
        assert all(versions().values())

    def test_git_state_of_a_checkout(self, root: Path) -> None:
        if not (root / ".git").exists():
            pytest.skip("not a checkout")

        def git(*arguments: str) -> str:
            return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True).stdout.strip()

        commit, dirty = git_state.__wrapped__()  # the cached one may be older than the last edit
        assert commit == git("rev-parse", "HEAD")
        assert dirty is bool(git("status", "--porcelain", "--untracked-files=no"))

    def test_outside_of_a_checkout_there_is_no_commit(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
        assert git_state.__wrapped__() == ("", None)
