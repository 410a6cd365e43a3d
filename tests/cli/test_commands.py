"""Advice names commands that exist: those of texts, documentation and pages are in the command tree."""

import html
import re
from pathlib import Path

import pytest

from .commands import all_options, strings, told, tree, wrong
from .test_cli import Call, call

__all__ = ["call"]

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "bibench"
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

OTHERS = {
    *("--force-reinstall", "--no-cache-dir", "--no-deps"),  # pip
    *("--error-unmatch", "--porcelain", "--untracked-files"),  # git
    *("--graph", "--num", "--min", "--warmup", "--use", "--strict", "--check"),  # programs that measure and convert
}
"""Options of other programs that texts name, up to an underscore."""


def test_the_tree_is_the_real_one() -> None:
    assert {"run", "score", "measure", "latency", "data"} <= set(tree().commands)
    assert "complexity" in tree().commands["measure"].commands
    assert "--table" in tree().commands["score"].options and "-h" in tree().options


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("do it with: bibench measure complexity SUITE.", ["measure complexity SUITE"]),
        ("needs time_cost (bibench measure training-cost)", ["measure training-cost"]),
        ("`bibench run quick --seeds 0-2` trains", ["run quick --seeds 0-2"]),
        ("bibench run quick \\\n    --runs runs  # a comment", ["run quick --runs runs"]),
        ("what bibench writes, bibench runs", []),
        ("see bibench list operators; or not", ["list operators"]),
        ("from bibench import x", []),
    ],
)
def test_commands_are_found(text: str, commands: list[str]) -> None:
    assert list(told(text)) == commands


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("measure complexity --convention paper", "bibench measure complexity has no option --convention"),
        ("measure complexty SUITE", "bibench measure has no verb 'complexty'"),
        ("scor runs", "bibench has no verb 'scor'"),
        ("run quik --seeds 0", "there is no suite 'quik'"),
        ("run SUITE --rerun stale", ""),
        ("complexity resnet18 --convention paper", ""),
        ("COMMAND --help", ""),
    ],
)
def test_what_is_wrong_is_told(command: str, said: str) -> None:
    assert wrong(command) == said


def test_texts_of_the_package_name_commands_that_exist() -> None:
    faults = {
        (file.name, command): fault
        for file in PACKAGE.rglob("*.py")
        for text in strings(file)
        for command in told(text)
        if (fault := wrong(command))
    }
    assert not faults


def test_texts_of_the_package_name_options_that_exist() -> None:
    """Also where a text is put together from parts."""
    faults = {
        (file.name, option)
        for file in PACKAGE.rglob("*.py")
        for text in strings(file)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text)
        if option not in all_options() | OTHERS
    }
    assert not faults


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_documents_name_commands_that_exist(file: Path) -> None:
    faults = {c: fault for c in told(html.unescape(file.read_text())) if (fault := wrong(c))}
    assert not faults


@pytest.mark.parametrize("protocol", ["paper", "bibench"])
def test_pages_and_tables_name_commands_that_exist(call: Call, tmp_path: Path, protocol: str) -> None:
    """Where advice is put together from parts."""
    asked = ("published", "--protocol", protocol)
    assert call("report", *asked, "-o", tmp_path / "site").code == 0
    texts = [re.sub(r"<[^>]*>", "\n", page.read_text()) for page in (tmp_path / "site").rglob("*.html")]
    texts += re.split(r"\s{2,}", call("score", *asked).out)
    texts += [row["note"] for row in call("score", *asked, "--format", "json").json]
    found = {c for text in texts for c in told(html.unescape(text))}
    assert {"measure training-cost", "run SUITE --rerun stale"} & found
    assert not {c: fault for c in found if (fault := wrong(c))}
