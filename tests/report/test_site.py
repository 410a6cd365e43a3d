"""The site as files: links, anchors, escaping, exports, honesty about gaps, and all or nothing."""

import csv
import errno
import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from bibench.execution.plan import PlanRow
from bibench.foundation.errors import StoreError
from bibench.report import build as building
from bibench.report.build import MARKER, build
from bibench.report.material import Material

from ..records.test_records import make
from ..tracks.records import scored
from ..worlds import cell, tiny_world
from .sites import HOSTILE, Html, make_site, some_records


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site(tmp_path_factory.mktemp("report") / "site")


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    return {path: Html(path) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_link_leads_to_a_file_and_an_anchor(site: Path, pages: dict[Path, Html]) -> None:
    followed = 0
    for path, page in pages.items():
        targets = [a["href"] for a in page.all("a")] + [s["src"] for s in page.all("script") if "src" in s]
        for target in targets:
            file, _, anchor = unquote(target or "").partition("#")
            reached = (path.parent / file).resolve() if file else path
            assert reached.is_relative_to(site.resolve()), target
            assert reached.is_file(), f"{path.name}: {target}"
            if anchor:
                assert anchor in pages[next(p for p in pages if p.resolve() == reached.resolve())].ids, target
            followed += 1
    assert followed > 500


def test_pages_are_self_contained(pages: dict[Path, Html]) -> None:
    for path, page in pages.items():
        for _, attributes in page.elements:
            for name in ("src", "href"):
                assert not re.match(r"(https?:)?//", attributes.get(name) or ""), f"{path.name} loads from the network"


@pytest.mark.slow
def test_ids_are_unique_and_figures_have_alternatives(pages: dict[Path, Html]) -> None:
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path.name
        plots = [a for a in page.all("div") if a.get("class") == "plot"]
        assert all(len(a["aria-label"] or "") > 20 and a["role"] == "img" for a in plots)


def test_names_of_records_are_never_markup(pages: dict[Path, Html]) -> None:
    shown = 0
    for path, page in pages.items():
        assert "<script>document.title" not in path.read_text(encoding="utf-8"), path.name
        shown += page.text.count(HOSTILE)
        for attributes in page.all("script"):
            assert attributes.get("src", "").startswith(("assets/", "../assets/")) or attributes in (
                {},
                {"type": "application/json"},
            )
    assert shown > 5


def test_every_table_is_exported_with_the_numbers_it_shows(site: Path) -> None:
    page = Html(site / "tracks" / "learning_task.html")
    names = [(a["id"] or "").removeprefix("t-") for a in page.all("div") if a.get("class") == "table"]
    assert names
    for name in names:
        assert {f.suffix for f in (site / "tables").glob(f"{name}.*")} == {".csv", ".md", ".tex"}
    (exact,) = {
        a.get("data-v") for a in page.all("td") if a.get("class") == "n best" and a.get("title") == "2 seeds"
    } & {row["resnet20"] for row in csv.DictReader((site / "tables" / "accuracy-task00.csv").open())}
    records = [r for r in some_records() if (r.kind, r.task, r.model) == ("score", "task00", "resnet20")]
    means = [
        sum(values) / len(values)
        for operator in {r.operator for r in records} - {"fp32"}
        if (values := [100 * r.value for r in records if r.operator == operator and r.value is not None])
    ]
    assert float(exact or 0) == pytest.approx(max(means))


def test_every_cell_has_its_records(site: Path) -> None:
    text = "".join(Html(path).text for path in (site / "cells").glob("[0-9]*.html"))
    for record in some_records()[::997]:
        assert record.cell in text
        assert record.value is None or f"{record.value:.6g}" in text


def test_gaps_are_said(site: Path, tmp_path: Path) -> None:
    overview = Html(site / "index.html").text
    assert "Incomplete:" in overview
    assert "training consumption" in re.search(r"There is no overall score in ([^.]*)\.", overview)[1]  # type: ignore[index]
    assert "Nothing was measured for this track" in Html(site / "tracks" / "training_consumption.html").text
    weak = Html(site / "operators" / "fda.html").text
    assert "collapsed" in weak
    assert "ran out of memory" in Html(site / "operators" / "xnor.html").text
    table = {("t", "m", o, s): 0.5 for o in ("fp32", "bnn") for s in (0, 1)}
    whole = Html(make_site(tmp_path / "whole", scored(table, family="cnn")) / "index.html").text
    assert "Incomplete" not in whole


def test_latencies_stand_with_what_they_were_flagged_with(tmp_path: Path) -> None:
    timed = {"kind": "latency", "metric": "latency_ms", "split": "", "device": "Board", "engine": "e", "threads": 1}
    records = [make(operator=o, value=v) for o, v in (("fp32", 0.9), ("bnn", 0.8))]
    for batch in (1, 8):
        records += [make(**timed, batch_size=batch, operator="fp32", value=9.5 * batch)]
        records += [make(**timed, batch_size=batch, operator="bnn", value=4.25 * batch, flags="busy,drift")]
    page = Html(make_site(tmp_path / "site", records) / "tracks" / "hardware_inference.html")
    text = " ".join(page.text.split())
    assert "4.250" in text
    assert "busy, drift" in text
    assert "e, 1 thread " in text.replace("1 thread,", "1 thread ")
    assert "batch 8" in text  # batches are no points of one plot
    assert "Measured for this track: 2 of 2 cells" in text


def test_measured_speed_ups_stand_beside_the_theoretical_one(tmp_path: Path) -> None:
    place = {"kind": "latency", "split": "", "device": "Board", "engine": "e", "operator": "bnn"}
    records = [make(operator=o, value=v) for o, v in (("fp32", 0.9), ("bnn", 0.8))]
    records += [make(**place, metric="latency_ms", value=4.25, threads=1, batch_size=1)]
    records += [make(**place, metric="speedup", value=6.0, low=5.5, high=6.25, threads=1, batch_size=1)]
    records += [make(**place, metric="theoretical_speedup", value=12.0)]
    make_site(tmp_path / "site", records)
    with (tmp_path / "site" / "tables" / "speedups.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["operator"], row["measured"], row["in theory"], row["share, percent"]) == ("bnn", "6.0", "12.0", "50.0")
    assert "Theory and reality" in Html(tmp_path / "site" / "tracks" / "hardware_inference.html").text


def test_unfair_comparisons_and_open_rows_are_listed(tmp_path: Path) -> None:
    rows = [
        make(operator=o, cell=o, initial_weights=w, data_order="d", division=d)
        for o, w, d in (("bnn", "a", "closed"), ("xnor", "a", "closed"), ("dorefa", "b", "open"))
    ]
    build(Material(rows), tmp_path / "site")
    text = Html(tmp_path / "site" / "provenance.html").text
    assert "1 differences in 1 comparisons" in text
    assert "1 rows were trained by a changed recipe" in text


def test_comparators_must_start_alike_too(tmp_path: Path) -> None:
    rows = [
        make(operator=o, cell=o, initial_weights=w, data_order="d")
        for o, w in (("bnn", "a"), ("xnor", "a"), ("lsq[bits=2]", "b"))
    ]
    build(Material(rows), tmp_path / "site")
    page = Html(tmp_path / "site" / "provenance.html")
    assert "1 differences in 1 comparisons" in page.text
    with (tmp_path / "site" / "tables" / "provenance-fairness.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["what differs"], row["operators"]) == ("initial weights", "LSQ[bits=2]")
    build(Material([rows[0], replace(rows[2], initial_weights="a")]), tmp_path / "site")
    assert "In all 1 comparisons" in Html(tmp_path / "site" / "provenance.html").text


def test_coverage_of_run_folders_tells_what_is_stale(tmp_path: Path) -> None:
    rows = [make(operator=o, cell=o, value=v) for o, v in (("fp32", 0.9), ("bnn", 0.7), ("lsq[bits=2]", 0.8))]
    states = {"fp32": "done", "bnn": "stale", "recu": "interrupted", "lsq[bits=2]": "stale"}
    plan = [
        PlanRow(cell(operator, model="vgg_small"), state, "changed since: operator code" * (state == "stale"))
        for operator, state in states.items()
    ]
    with tiny_world():
        build(Material(rows, plan=plan), tmp_path / "site")
    overview, page = (Html(tmp_path / "site" / f"{name}.html").text for name in ("index", "coverage"))
    assert "Incomplete: 2 of 3 cells: 1 interrupted, 1 stale." in overview
    assert "Stale cells: 1. Their code or their baseline changed" in page
    assert "stale: changed since: operator code" in page
    assert "Expected: the cells of the plan." in page
    assert "Comparators, which are in no average of the tracks: 1 of 1 cells: 1 stale." in page
    with tiny_world():
        build(Material(rows, plan=[replace(row, state="stale") for row in plan]), tmp_path / "site")
    assert "Out of date: 3 of 3 cells: 3 stale." in Html(tmp_path / "site" / "index.html").text
    build(Material(rows), tmp_path / "site")
    alone = Html(tmp_path / "site" / "coverage.html").text
    assert "staleness is unknown" in alone
    assert "Stale cells" not in alone


def test_figures_are_what_plotly_accepts(pages: dict[Path, Html]) -> None:
    from plotly.graph_objects import Figure

    from bibench.report.palette import resolve

    found = 0
    for path in pages:
        for text in re.findall(r'<script type="application/json">(.*?)</script>', path.read_text(encoding="utf-8")):
            figure = resolve(json.loads(text))
            assert "@" not in json.dumps(figure["layout"])
            Figure(figure)
            found += 1
    assert found > 40


def test_an_older_report_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "site"
    rows = scored({("t", "m", o, 0): 0.5 for o in ("fp32", "bnn")})
    build(Material(rows), out)
    (out / "stray.txt").write_text("of the old report")
    build(Material(rows), out)
    assert (out / MARKER).is_file()
    assert not (out / "stray.txt").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="something else than a report"):
        build(Material(rows), mine)
    assert (mine / "thesis.tex").read_text() == "precious"
    with pytest.raises(StoreError, match="name a folder"):
        build(Material(rows), mine / "thesis.tex")
    assert {p.name for p in tmp_path.iterdir()} == {"site", "mine"}


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "choose a folder that can be written")]
)
def test_a_disk_that_refuses_leaves_the_old_report(
    number: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    rows = scored({("t", "m", o, 0): 0.5 for o in ("fp32", "bnn")})
    build(Material(rows), out)
    before = sorted(p.relative_to(out) for p in out.rglob("*"))

    def refuse(table: object) -> dict[str, str]:
        raise OSError(number, "refused")

    monkeypatch.setattr(building, "exports", refuse)
    with pytest.raises(StoreError, match=said):
        build(Material(rows), out)
    assert sorted(p.relative_to(out) for p in out.rglob("*")) == before
    assert [p.name for p in tmp_path.iterdir()] == ["site"]
