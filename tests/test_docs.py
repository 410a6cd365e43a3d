"""README and docs are true: their code runs, their commands work, their generated parts are up to date."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from bibench.cli.app import main
from bibench.data.location import CACHE
from bibench.records.record import Record
from bibench.suite.definition import SUITES
from bibench.tasks import TASKS

from .worlds import bibench_here, fresh_registries

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDS = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Fenced code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_generated_pages_are_up_to_date() -> None:
    subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], check=True)


@pytest.mark.parametrize("code", blocks(README, "python"), ids=lambda code: code.strip().splitlines()[0])
def test_readme_python_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with fresh_registries():
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})


def test_readme_describes_the_scripts() -> None:
    commands = [line for block in blocks(README, "sh") for line in block.splitlines()]
    assert "./quickstart" in commands
    assert "./test" in commands
    for script in ("quickstart", "test", ".ci/run"):
        assert os.access(ROOT / script, os.X_OK), f"{script} cannot be executed"
    assert "exec ./test" in (ROOT / ".ci" / "run").read_text()
    assert "bibench run quick" in (ROOT / "quickstart").read_text()


def readme_commands() -> list[str]:
    lines = [line.partition("#")[0].strip() for block in blocks(README, "sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("bibench ")]


def shortened(command: str, tmp_path: Path) -> list[str]:
    """The command as written, but with one short training per cell and results in a folder of the test."""
    words = [w.replace("~/data", str(tmp_path)) for w in shlex.split(command)]
    words = [str(ROOT / w) if w.startswith("examples/") else w for w in words]
    words = [w.replace("/quick/seed0", "/quick,epochs=1/seed0") for w in words]
    if words[1] == "latency":
        words += ["--max-seconds", "1"]
    if words[1:3] == ["run", "quick"]:
        words += ["--recipe", "quick[epochs=1]", "--seeds", "0", "--models", "vgg_small[width=8]"]
    return words


@pytest.mark.slow
def test_readme_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = readme_commands()
    assert len(commands) >= 6
    for command in commands:
        with fresh_registries():
            result = bibench_here(*shortened(command, tmp_path)[1:])
        if "--data-root" in command:  # there is no CIFAR-10 here: a clear message, and status 1
            assert result.returncode == 1, result.stderr
            assert "cifar-10-python.tar.gz" in result.stdout
        else:
            assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"


@pytest.mark.slow
def test_quickstart_in_a_fresh_environment(tmp_path: Path) -> None:
    """The script itself, in a copy of the checkout; installed libraries are lent to the new environment."""
    copy = tmp_path / "clone"
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    venv.create(copy / ".venv", with_pip=True)
    libraries = [p for p in sys.path if p.endswith("site-packages")]
    lend = "\n".join(libraries) + "\n"
    target = next((copy / ".venv").glob("lib*/python*/site-packages"))
    (target / "lent.pth").write_text(lend)
    arguments = ["--operators", "bnn", "--seeds", "0", "--recipe", "quick[epochs=1]", "--models", "vgg_small[width=8]"]
    result = subprocess.run([copy / "quickstart", *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 trained" in result.stdout
    assert (copy / ".venv" / "bin" / "bibench").exists()


def test_example_operator_is_about_ten_lines_and_the_readme_shows_it() -> None:
    text = (ROOT / "examples" / "my_operator.py").read_text()
    code = [line for line in text.splitlines() if line.strip() and not line.startswith(('"""', "import"))]
    assert len(code) <= 10
    assert text in README


PAGES = sorted((ROOT / "docs").rglob("*.md")) + [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
]
ENTRY_POINTS = {"bibench.devices", "bibench.transports", "bibench.pages"}
"""Groups of entry points, which are no modules."""
TASK_PAGES = sorted((ROOT / "docs" / "tasks").glob("[!R]*.md"))


def test_every_task_has_a_page_with_all_that_is_to_be_known() -> None:
    index = (ROOT / "docs" / "tasks" / "README.md").read_text(encoding="utf-8")
    for name in TASKS:
        page = ROOT / "docs" / "tasks" / f"{TASKS[name].__module__.rpartition('.')[2]}.md"
        text = page.read_text(encoding="utf-8")
        assert f"({page.name})" in index and f"`{name}`" in index
        told = (f"`{name}`", f"`{TASKS[name].metric}`", TASKS[name].source, TASKS[name].licence, "## Splits")
        assert [part for part in told if part not in text] == []
        assert all(f"`{model}`" in text for model in TASKS[name].models)
        assert all(f"| `{recipe}` |" in text for recipe in TASKS[name].recipes)
        assert all(f"`{piece.path}`" in text for piece in TASKS[name]().layout())
        assert ("## How" in text) == TASKS[name].embedded


def test_no_page_is_left_of_a_task_that_is_gone() -> None:
    assert {page.stem for page in TASK_PAGES} == {TASKS[name].__module__.rpartition(".")[2] for name in TASKS}


def test_every_stand_in_and_extra_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {TASKS[name].extra for name in TASKS} - {""} <= set(extras)
    real = [TASKS[name].title for name in TASKS if not TASKS[name].embedded]
    for name in TASKS:
        if TASKS[name].embedded:
            assert any(title.startswith(TASKS[name].stands_in_for) for title in real), name


@pytest.mark.parametrize("page", TASK_PAGES, ids=lambda page: page.stem)
def test_commands_of_task_pages_work(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = page.read_text(encoding="utf-8")
    for code in blocks(text, "python"):
        (tmp_path / "mine.py").write_text(code)
    commands = [line for block in blocks(text, "sh") for line in block.splitlines()]
    assert commands[0].startswith("bibench data check ") and len(commands) >= 2
    monkeypatch.setenv(CACHE, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert "mine" not in SUITES
    for catalogue in ("_entries", "_sources"):  # what a page's own suite adds goes away again
        monkeypatch.setattr(SUITES, catalogue, dict(getattr(SUITES, catalogue)))
    for command in commands:
        words = [w.replace("~/data", str(tmp_path)) for w in shlex.split(command)]
        if words[1] == "run":
            words = ["bibench", "plan", *words[2:], "--operators", "bnn"]
        monkeypatch.setattr(sys, "argv", words)
        lacking = words[1] == "data" and any(TASKS[name](tmp_path).missing() for name in words[3:] if name in TASKS)
        assert ended(main) == int(lacking), command


def ended(call: Callable[[], None]) -> int:
    """The exit status of a command."""
    try:
        call()
    except SystemExit as ending:
        return int(ending.code or 0)
    return 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        target, _, section = link.partition("#")
        file = page if not target else page.parent / target
        assert file.exists(), link
        headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE) if section else []
        assert not section or section in {heading.lower().replace(" ", "-") for heading in headings}, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_code_that_a_page_names_exists(page: Path) -> None:
    for name in set(re.findall(r"`(bibench(?:\.\w+)+)[`(]", page.read_text(encoding="utf-8"))) - ENTRY_POINTS:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


def test_attention_is_said_to_be_shared() -> None:
    for name in ("tasks/README.md", "tasks/glue.md", "tasks/embedded_text.md", "operators/README.md"):
        assert "share the fixed binarizers of bi-attention" in (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_every_record_field_is_documented() -> None:
    table = RECORDS.split("| field | meaning |")[1]
    documented = set(
        re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    assert documented == {f.name for f in fields(Record)}
