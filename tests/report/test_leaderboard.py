"""The leaderboard and what other pages say of the same scores: one order, one set of intervals, everywhere."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from bibench.report.criticals import critical_figure, stacked
from bibench.report.material import Material
from bibench.report.ranked import places_figure, rank_step
from bibench.statistics import ranks

from ..statistics.worlds import world
from .sites import Html, make_site

NAMES = ["bnn", "xnor", "dorefa", "bireal", "xnorpp", "reactnet", "recu", "fda"]
MANY = [*NAMES, *(f"operator_{n:02}" for n in range(14))]


def records(names: list[str] = NAMES, seeds: int = 3, tasks: int = 3) -> list[Any]:
    means = {
        o: {f"t{t}": 0.5 + 0.015 * (n % 11) + 0.01 * ((n + t) % 3) for t in range(tasks)} for n, o in enumerate(names)
    }
    return world(means, seeds, 0.01, family="cnn")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site(tmp_path_factory.mktemp("leaderboard") / "site", records())


def rows(site: Path, table: str) -> list[dict[str, str]]:
    with (site / "tables" / f"{table}.csv").open() as stream:
        return list(csv.DictReader(stream))


def drawn(site: Path, page: str, figure: str) -> dict[str, Any]:
    text = (site / page).read_text("utf-8")
    found = re.search(rf'id="f-{figure}".*?<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found, f"{page} has no figure {figure}"
    return json.loads(found[1])


def bars(figure: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    return {t["y"][0]: (t["x"][0], t["error_x"]["arrayminus"][0], t["error_x"]["array"][0]) for t in figure["data"]}


@pytest.mark.parametrize("track", ["learning_task", "neural_architecture"])
def test_the_tracks_page_has_the_intervals_of_the_leaderboard(site: Path, track: str) -> None:
    there = bars(drawn(site, "leaderboard.html", f"ranks-{track}"))
    assert len(there) == 8 and all(low > 0 and high > 0 for _, low, high in there.values())
    assert bars(drawn(site, f"tracks/{track}.html", f"overall-{track}")) == there
    expected = {
        Material([]).title(r.operator): (r.value, r.value - r.low, r.high - r.value) for r in ranks(records(), track)
    }
    assert there == {o: pytest.approx(v) for o, v in expected.items()}
    board = {row["operator"]: row["interval"] for row in rows(site, f"ranks-{track}")}
    assert {row["operator"]: row["interval of om"] for row in rows(site, f"scores-{track}-quick")} == board
    for operator in NAMES:
        shown = {row["track"]: row for row in rows(site, f"operator-{operator}-tracks")}
        assert shown[track.replace("_", " ").capitalize()]["interval"] == board[operator]
    assert f"interval {board['bnn']}" in {a.get("title") for a in Html(site / "index.html").all("td")}


def test_ranks_on_all_pages_follow_the_score(site: Path) -> None:
    board = rows(site, "ranks-learning_task")
    assert [int(row["rank"]) for row in board] == list(range(1, 9))
    values = [float(row["overall"]) for row in board]
    assert values == sorted(values, reverse=True)
    for row in board:
        low, _, high = row["rank between"].partition("–")
        assert int(low) <= int(row["rank"]) <= int(high or low)
        (own,) = (r for r in rows(site, f"operator-{row['operator']}-tracks") if r["track"] == "Learning task")
        assert (own["rank"], own["rank between"]) == (f"{row['rank']} of 8", row["rank between"])
    for ending in ("md", "tex"):
        assert "Holm for 28 comparisons" in (site / "tables" / f"ranks-learning_task.{ending}").read_text("utf-8")


def test_letters_and_names_say_the_same(site: Path) -> None:
    board = rows(site, "ranks-learning_task")
    for row in board:
        near = [o for o in board if o is not row and set(o["letters"]) & set(row["letters"])]
        assert (row["not told apart from"] == "all others") == (len(near) == 7)
        if 0 < len(near) < 7:
            assert len(re.split(", | and ", row["not told apart from"])) == len(near)


def test_the_first_line_says_how_little_there_is(site: Path, tmp_path: Path) -> None:
    few = "Three seeds, three tasks (Learning task, Neural architecture): so few tasks hardly speak for others."
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', (site / "leaderboard.html").read_text("utf-8"))
    assert lead == few
    assert few in Html(site / "index.html").text
    assert "Three seeds, three tasks: so few" in Html(site / "tracks" / "learning_task.html").text
    assert Material(records(["bnn", "xnor"], seeds=3, tasks=11)).evidence() == ""
    make_site(tmp_path / "enough", records(["bnn", "xnor"], seeds=3, tasks=11))
    (lead,) = re.findall(r'<p class="lead">(.*?)</p>', (tmp_path / "enough" / "leaderboard.html").read_text("utf-8"))
    assert lead.startswith("Ranks follow the overall metric.")


def test_the_diagram_is_that_of_the_average_ranks(site: Path) -> None:
    figure = drawn(site, "leaderboard.html", "critical-learning_task")
    ranks_shown = {row["operator"]: float(row["average rank"]) for row in rows(site, "critical-learning_task")}
    assert len(ranks_shown) == 8 and sum(ranks_shown.values()) == pytest.approx(36)
    stems = [t for t in figure["data"] if "text" in t]
    assert [t["x"][0] for t in stems] == pytest.approx(list(ranks_shown.values()))
    assert [t["y"][1] for t in stems] == figure["layout"]["yaxis"]["tickvals"]
    assert "Friedman F(7, 14)" in Html(site / "leaderboard.html").text


@pytest.mark.parametrize("names", [NAMES, MANY], ids=["8", "22"])
def test_the_diagram_stays_readable(names: list[str]) -> None:
    """A row of at least 20 pixels for each name, no two bars on each other, at most nine numbers on the axis."""
    material = Material(records(names, seeds=1, tasks=12))
    found = material.critical("learning_task")
    assert found is not None
    figure = critical_figure(material, "learning_task", found)
    assert figure is not None
    top, bottom = figure.layout["yaxis"]["range"][1], figure.layout["yaxis"]["range"][0]
    assert (figure.height - 40) / (bottom - top) >= 20
    thick = [t for t in figure.data if t["line"]["width"] == 5]
    assert len(thick) == len(found.groups) > 0
    assert len({(t["y"][0], t["x"][0]) for t in thick}) == len(thick)
    assert all(max(t["y"]) < min(figure.layout["yaxis"]["tickvals"]) - 0.3 for t in thick)
    assert len(names) / figure.layout["xaxis"]["dtick"] <= 9
    places = places_figure(material, "learning_task", material.ranks("learning_task"))
    assert places is not None and len(places.data) == 2 * len(names)


def test_bars_that_would_meet_are_on_levels_of_their_own() -> None:
    assert stacked([(1, 3), (2, 4), (3.5, 5), (4.1, 6)]) == [0, 1, 0, 2]
    assert stacked([(1, 2), (3, 4)]) == [0, 0]
    assert [rank_step(n) for n in (2, 8, 9, 16, 22, 60)] == [1, 1, 2, 2, 5, 10]


def test_options_that_an_operator_does_not_have_stop_no_report(tmp_path: Path) -> None:
    make_site(tmp_path / "site", records(["bnn", "recu[of_another_version=1]", "bnn[width=3]"], seeds=1, tasks=2))
    text = Html(tmp_path / "site" / "operators" / "bnn-width-3.html").text
    assert "Its surrogate gradient cannot be drawn" in text and "does not take these options" in text


def test_without_a_critical_difference_the_page_says_why(tmp_path: Path) -> None:
    make_site(tmp_path / "site", records(["bnn", "xnor"], seeds=2, tasks=1))
    text = Html(tmp_path / "site" / "leaderboard.html").text
    assert "There is no critical difference: it needs two operators and two tasks, there are 2 and 1." in text
