"""The site builds without a warning, loads nothing from elsewhere, and its reference has all that is to be known."""

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import bibench

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import docstrings  # noqa: E402
import faces  # noqa: E402
import mathml  # noqa: E402
import operator_pages  # noqa: E402
import outside  # noqa: E402

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}


def test_faces_that_share_a_name_tell_it_once() -> None:
    found = faces.public()
    assert [m.face for m in found["bibench.operators"] if m.name == "Operator"] == ["bibench"]
    assert {m.name for m in found["bibench"]} >= {"binarize", "audit", "export", "Operator", "Surrogate"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as `x` in ``y``", "as ``x`` in ``y``"),
        ("**options of |x| and w_", r"\**options of \|x\| and w\_"),
        ("see docs/records.md.", "see :doc:`docs/records.md </records>`."),
    ],
)
def test_docstrings_are_read_as_they_are_meant(text: str, expected: str) -> None:
    assert docstrings.restructured([text]) == [expected]


def test_code_over_two_lines_is_one() -> None:
    assert docstrings.restructured(["a `b", "  c` d", "e"]) == ["a ``b c`` d", "e"]


def test_formulas_of_github_are_those_of_the_site_and_code_stays() -> None:
    text = "a $`x_1`$ b\n```sh\necho $`x`$\n```\n$`y`$"
    assert mathml.plain_dollars(text) == "a $x_1$ b\n```sh\necho $`x`$\n```\n$y$"


@pytest.mark.parametrize(
    ("link", "page", "at", "expected"),
    [
        ("../CONTRIBUTING.md#tests", "tutorial", "docs/tutorial.md", "site/contributing.md#tests"),
        ("docs/data.md#x", "site/changelog", "CHANGELOG.md", "../data.md#x"),
        ("../data.md", "tasks/README", "docs/tasks/README.md", "../data.md"),
        ("../../docs/latency.md", "site/cpp", "examples/cpp/README.md", "../latency.md"),
        ("../examples/tutorial.ipynb", "tutorial", "docs/tutorial.md", "../examples/tutorial.ipynb"),
    ],
)
def test_links_to_files_beside_docs_lead_to_their_pages(link: str, page: str, at: str, expected: str) -> None:
    assert outside.inside(f"[a]({link})", page, at) == f"[a]({expected})"


def test_what_an_operator_may_leave_at_inference_has_words() -> None:
    assert set(operator_pages.LEFT) == {field.name for field in dataclasses.fields(bibench.InferenceForm)}
    assert "a scale computed from the input" in operator_pages.leftovers(bibench.OPERATORS["xnor"])
    assert operator_pages.leftovers(bibench.OPERATORS["bnn"]) == "What is left: 1-bit weights."


class Resources(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name == LOADED.get(tag) and value]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_works_offline(tmp_path: Path) -> None:
    for library in ("sphinx", "myst_parser", "furo", "sphinx_copybutton"):
        pytest.importorskip(library)
    site = tmp_path / "site"
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", str(tmp_path / "trees")]
    result = subprocess.run([*command, str(ROOT / "docs"), str(site)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        resources = Resources()
        resources.feed(page.read_text(encoding="utf-8"))
        assert [loaded for loaded in resources.found if re.match(r"(https?:)?//", loaded)] == [], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//|@import", style.read_text(encoding="utf-8")), style
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    titles = json.loads(index.removeprefix("Search.setIndex(").rstrip().removesuffix(")"))["docnames"]
    assert {"tutorial", "operators/recu", "tasks/glue", "api/bibench", "tree", "site/contributing"} <= set(titles)
    recu = (site / "operators" / "recu.html").read_text(encoding="utf-8")
    assert "<math" in recu and "recu.svg" in recu and "$`" not in recu
    reference = (site / "api" / "bibench.html").read_text(encoding="utf-8")
    assert "The rows of modules: neither single" in reference  # no type before a colon
    assert "“" not in reference  # "" stays what it is
    assert all(f'id="bibench.{name}"' in reference for name in ("binarize", "audit", "Operator", "OPERATORS"))
