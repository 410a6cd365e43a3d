"""Other compression in the report: a page of its own, and in nothing that counts, averages or ranks operators."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bibench.operators import FULL_PRECISION
from bibench.records.record import Record
from bibench.report.build import build
from bibench.report.material import Material

from ..records.test_records import make
from .sites import Html

OPERATORS = {FULL_PRECISION: 0.9, "bnn": 0.7, "reactnet": 0.8}
COMPARATORS = {"lsq[bits=2]": 0.93, "l1_filters[ratio=0.3]": 0.89, "odd[": 0.5}
"""Better than any operator, so that a rank or an average that took them in would be another one."""


def records(scores: dict[str, float]) -> list[Record]:
    found = []
    for operator, value in scores.items():
        for seed in (0, 1):
            place = {"operator": operator, "seed": seed, "task": "cifar10", "model": "resnet20", "embedded": False}
            place["cell"] = f"cifar10/resnet20/{operator}/{seed}"
            found.append(make(**place, value=value + 0.01 * seed))
            size = 1e6 if operator == FULL_PRECISION else 1e5
            found.append(make(**place, kind="complexity", metric="storage", unit="B", value=size, split=""))
            found.append(make(**place, kind="complexity", metric="compression", value=1e6 / size, split=""))
            found.append(make(**place, kind="complexity", metric="speedup", value=2.0, split=""))
    return found


def built(found: Sequence[Record], folder: Path) -> dict[str, Html]:
    build(Material(found), folder)
    return {path.relative_to(folder).as_posix(): Html(path) for path in folder.rglob("*.html")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Html]:
    return built(records(OPERATORS), tmp_path_factory.mktemp("alone") / "site")


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Html]:
    others = {name: value for name, value in COMPARATORS.items() if name != "odd["}
    return built(records({**OPERATORS, **others}), tmp_path_factory.mktemp("beside") / "site")


def plain(page: Html) -> str:
    """Its text without the time of writing and without what is said of comparators apart."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "", page.text)
    return re.sub(r"Beside them stand .* in none of the numbers here\.", "", " ".join(text.split())).replace(" ", "")


def test_pages_of_operators_and_tracks_are_the_same_without_them(
    alone: dict[str, Html], beside: dict[str, Html]
) -> None:
    same = [name for name in alone if name.startswith("tracks/") or re.match("operators/(?!index)", name)]
    for name in ("index.html", "leaderboard.html", "comparison.html", *same):
        assert plain(beside[name]) == plain(alone[name]), name
    assert len(same) > 8


def test_their_page_has_them_and_the_printed_numbers(alone: dict[str, Html], beside: dict[str, Html]) -> None:
    text = " ".join(beside["compression.html"].text.split())
    assert "Comparators: 4 of 4 cells." in text
    assert "LSQ[bits=2]" in text
    assert "89.26" in text  # printed for LSQ at 2 bits on ResNet-20
    assert "93.5" in text  # ours
    assert "1,229" not in text
    assert "No comparator is among the records" in alone["compression.html"].text
    assert "89.26" in alone["compression.html"].text


def test_each_has_a_page_without_ranks(beside: dict[str, Html]) -> None:
    index = beside["operators/index.html"]
    assert "operators/lsq-bits-2.html" in [str(a["href"]).removeprefix("../") for a in index.all("a")]
    assert index.text.index("Other compression") < index.text.index("LSQ")
    for name in ("operators/lsq-bits-2.html", "operators/l1-filters-ratio-0-3.html"):
        page = beside[name]
        assert "<math" in Path(page.path).read_text("utf-8")
        assert "no rank, average or overall metric" in page.text
        assert " of 2" not in page.text
        assert "best operator" not in page.text
        assert "Weak cells" in page.text
    assert "L1-norm" in beside["operators/l1-filters-ratio-0-3.html"].text


def test_coverage_counts_them_apart(alone: dict[str, Html], beside: dict[str, Html]) -> None:
    assert "6 of 6 cells" in beside["coverage.html"].text
    assert "in no average of the tracks: 4 of 4 cells." in beside["coverage.html"].text
    assert "omparators" not in alone["coverage.html"].text


def test_a_damaged_name_is_a_flagged_row(tmp_path: Path) -> None:
    damaged = ["odd[", "bnn[x", "", "reactnet]", "a b"]
    found = records({**OPERATORS, **dict.fromkeys(damaged, 0.5)})
    material = Material(found)
    flagged = {row.operator for row in material.scores["learning_task"] if "its name is not of the form" in row.note}
    assert flagged == set(damaged)
    material.protocol = "paper"
    pages = built([*found, replace(found[0], model="resnet20[", recipe="x[", task="t]", study="s[")], tmp_path / "site")
    assert "its name is not of the form" in pages["tracks/learning_task.html"].text
    assert Material(found, protocol="paper").scores["learning_task"]
