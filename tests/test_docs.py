"""README and docs are true: their code runs, their commands work, their generated parts are up to date."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from dataclasses import fields
from pathlib import Path

import pytest

from bibench.records import Record

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDS = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent


def blocks(text: str, language: str) -> list[str]:
    """Fenced code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def environment(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


def test_generated_pages_are_up_to_date() -> None:
    subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], check=True)


@pytest.mark.parametrize("code", blocks(README, "python"), ids=lambda code: code.strip().splitlines()[0])
def test_readme_python_runs(code: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)


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
    if words[1:3] == ["run", "quick"]:
        words += ["--recipe", "quick[epochs=1]", "--seeds", "0", "--models", "vgg_small[width=8]"]
    return words


@pytest.mark.slow
def test_readme_commands_work(tmp_path: Path) -> None:
    commands = readme_commands()
    assert len(commands) >= 6
    for command in commands:
        result = subprocess.run(
            shortened(command, tmp_path), cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
        )
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


def test_every_record_field_is_documented() -> None:
    table = RECORDS.split("| field | meaning |")[1]
    documented = set(
        re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    assert documented == {f.name for f in fields(Record)}
