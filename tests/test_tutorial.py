"""docs/tutorial.md is true: it runs from top to bottom and prints what it says, numbers of time and luck aside."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
MARK = "=== cell"
EXACT = ("images to train with", "(norms, scales", "1-bit layers,")
"""Blocks with one of these are the same on every machine (`until_layers`)."""


def converter() -> Any:
    spec = importlib.util.spec_from_file_location("notebook", ROOT / "docs" / "notebook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CELLS = converter().cells(PAGE)


def script() -> str:
    """All code of the page as one program; what each cell prints follows a line with its number."""
    lines = ["import subprocess, sys"]
    for number, (kind, text) in enumerate(CELLS):
        if kind not in ("python", "sh"):
            continue
        lines.append(f"print('{MARK} {number}', flush=True)")
        if kind == "sh":
            lines += [f"subprocess.run({line!r}, shell=True, check=True)" for line in text.splitlines()]
        else:
            lines.append(text)
    return "\n".join(lines)


def masked(text: str) -> list[str]:
    """Lines without their numbers, widths of columns, rules of tables, and what tells how busy the machine was.

    That are flags, and the explanation of a model that was slower than expected.
    """
    text = re.sub(r"^.* times as fast as full precision.*\n(  .*\n)*", "", text, flags=re.MULTILINE)
    plain = re.sub(r"[-+]?\d[\d,.]*(e[-+]?\d+)?|─+", "#", text)
    plain = re.sub(r"; latency flagged [a-z, ]+", "", plain)
    plain = re.sub(r"\b(busy|steal|throttled|drift|wide|unpinned|far from theory|slower than float)\b[,;]?", "", plain)
    return [" ".join(line.split()) for line in plain.splitlines() if line.strip()]


def until_layers(text: str) -> list[str]:
    """Lines up to the words `1-bit layers`, or all."""
    return [line.rstrip() for line in text.partition("1-bit layers")[0].strip().splitlines()]


@pytest.mark.slow
def test_it_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    (tmp_path / "tutorial.py").write_text(script(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "tutorial.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    compare(done.stdout)


def compare(said: str) -> None:
    """What the program printed with what the page says that it prints."""
    printed = {int(n): text for n, text in re.findall(rf"{MARK} (\d+)\n(.*?)(?={MARK}|\Z)", said, re.DOTALL)}
    expected = {number - 1: text for number, (kind, text) in enumerate(CELLS) if kind == "text"}
    assert len(expected) == 8 and set(expected) <= set(printed)
    for number, text in expected.items():
        assert masked(printed[number]) == masked(text)
        if any(words in text for words in EXACT):
            assert until_layers(printed[number]) == until_layers(text)
    converted, trained, full = (
        float(found)
        for pattern in (r"as converted: ([\d.]+)", r"1-bit, trained: ([\d.]+)", r"full precision: ([\d.]+)")
        for found in re.findall(pattern, said)
    )
    assert converted < 30 and trained > 45 and full > 60  # what the page says of learning, with room for other rounding


def test_what_it_says_of_the_bound() -> None:
    """1 / (1 - share of binary MACs), as told under the audit."""
    share, total = (int(n.replace(",", "")) for n in ("12,058,624", "14,469,632"))
    assert f"{100 * share / total:.1f} %" == "83.3 %" and "83.3 %" in PAGE
    assert round(1 / (1 - share / total)) == 6 and "6 times as fast" in PAGE


def test_the_notebook_is_the_page() -> None:
    notebook = ROOT / "examples" / "tutorial.ipynb"
    text = notebook.read_text(encoding="utf-8")
    assert text == converter().notebook(PAGE), "run: python docs/notebook.py"
    found = json.loads(text)["cells"]
    assert [c["cell_type"] for c in found].count("code") == sum(kind in ("python", "sh") for kind, _ in CELLS)
    assert len({c["id"] for c in found}) == len(found)
    for link in re.findall(r"\]\(([^)\s]+)\)", "".join("".join(c["source"]) for c in found)):
        assert (notebook.parent / link.partition("#")[0]).exists(), link
