"""The figure of a study: every run at its height, well-formed, and refusals."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bibench.foundation.errors import BiBenchError
from bibench.report.distribution import distribution_svg, write_distribution

from ..records.test_records import make
from ..tracks.test_training_consumption import published, run, runs

SVG = "{http://www.w3.org/2000/svg}"


def circles(svg: str) -> dict[str, tuple[float, float]]:
    """What each run says, and where it is."""
    marks = [c for c in ET.fromstring(svg).iter(f"{SVG}circle") if len(c)]
    return {c[0].text: (float(c.get("cx")), float(c.get("cy"))) for c in marks}


def test_every_run_is_drawn_where_its_operator_and_accuracy_say() -> None:
    found = circles(distribution_svg(published()))
    assert len(found) == 360
    high, low = found["fp32, sgd 0.1 cosine, seed 2: 95.05"], found["bnn, sgd 0.01 step momentum=0.0, seed 4: 53.14"]
    middle = found["bnn, adam 0.001 cosine, seed 0: 88.76"]
    assert high[1] < middle[1] < low[1]
    assert (low[1] - middle[1]) / (middle[1] - high[1]) == pytest.approx((88.76 - 53.14) / (95.05 - 88.76), rel=0.01)
    assert high[0] < middle[0]


def test_collapsed_runs_and_embedded_data_are_said() -> None:
    svg = distribution_svg([run("bnn", 0.1, 0, flags="collapsed"), run("bnn", 0.5, 1)])
    assert "bnn, sgd 0.1 cosine, seed 0: 10.00 (collapsed)" in circles(svg)
    assert "(embedded data)" in svg
    assert "(embedded data)" not in distribution_svg([run("bnn", 0.1, embedded=False)])


def test_failed_runs_and_other_records_are_no_points() -> None:
    records = [*runs("bnn", 0.5, None, 0.5), make(operator="bnn"), run("bnn", 0.9, kind="task")]
    assert len(circles(distribution_svg(records))) == 2


def test_each_model_and_study_has_its_panel() -> None:
    records = [*runs("bnn", 0.5, 0.6), *runs("bnn", 0.5, 0.6, model="vgg_small"), *runs("bnn", 0.5, study="other")]
    assert len(list(ET.fromstring(distribution_svg(records)).iter(f"{SVG}g"))) == 3


def test_strange_names_are_text() -> None:
    svg = distribution_svg(runs("<script>&", 0.5, 0.6))
    assert "<script>" not in svg
    assert any(said.startswith("<script>&, ") for said in circles(svg))


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_files(tmp_path: Path, suffix: str) -> None:
    write_distribution(tmp_path / f"figure{suffix}", runs("bnn", 0.5, 0.6))
    text = (tmp_path / f"figure{suffix}").read_text()
    assert distribution_svg(runs("bnn", 0.5, 0.6)) in text
    assert text.startswith("<!doctype html>" if suffix == ".html" else "<svg ")


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(BiBenchError, match=r"figure\.pdf: expected a file name that ends in \.svg or \.html"):
        write_distribution(tmp_path / "figure.pdf", runs("bnn", 0.5))
    with pytest.raises(BiBenchError, match="no runs of a sensitivity study to plot"):
        distribution_svg([make()])
    assert not list(tmp_path.iterdir())
