"""The parts of the report: formulas, fronts, curves, names, colours, weak cells."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.operators import OPERATORS
from bibench.report.blocks import slug
from bibench.report.curves import curve_figures, read_curve
from bibench.report.figures import Point, front
from bibench.report.formulas import checked, formula
from bibench.report.material import Material
from bibench.report.palette import SCHEMES, ranks, resolve
from bibench.report.standings import standings, weak_cells
from bibench.report.surrogates import surrogate_figure
from bibench.stats import accuracies

from ..test_records import make
from ..tracks.records import scored


def test_formulas_of_all_operators_become_mathml() -> None:
    pytest.importorskip("latex2mathml", reason="formulas are shown as LaTeX without latex2mathml")
    for name in OPERATORS:
        if OPERATORS[name].formula:
            assert formula(OPERATORS[name].formula).mathml.startswith("<math"), name
    assert "<mi>sign</mi>" in formula(OPERATORS["bnn"].formula).mathml


def test_a_formula_cannot_bring_other_elements() -> None:
    with pytest.raises(ValueError, match="no element of a formula"):
        checked("<math><mtext><img src='x' onerror='alert(1)'/></mtext></math>")
    assert "onclick" not in checked("<math onclick='alert(1)'><mi>x</mi></math>")
    assert formula(r"\text{<img src=x onerror=alert(1)>}").mathml == ""


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 100)), min_size=1, max_size=30))
def test_the_front_is_what_no_point_beats(pairs: list[tuple[float, float]]) -> None:
    points = [Point("bnn", str(i), cost, merit) for i, (cost, merit) in enumerate(pairs)]
    found = front(points)
    beaten = {
        (p.cost, p.merit)
        for p in points
        for q in points
        if (q.cost <= p.cost and q.merit > p.merit) or (q.cost < p.cost and q.merit >= p.merit)
    }
    assert {(p.cost, p.merit) for p in found} == {(p.cost, p.merit) for p in points} - beaten


def test_curves_are_read_only_below_the_run_folder(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for folder in (runs / "cell", tmp_path / "outside"):
        folder.mkdir(parents=True)
        (folder / "curve.csv").write_text("epoch,validation\n0,0.25\n1,0.5\n")
    inside = Material([make(cell="cell")], runs=[runs])
    (figure,), left_out = curve_figures(inside)
    assert not left_out
    assert figure.data[0]["y"] == [25.0, 50.0]
    assert "50.0" in figure.takeaway
    assert curve_figures(Material([make(cell="../outside")], runs=[runs])) == ([], 0)
    (tmp_path / "bad.csv").write_text("epoch,validation\n0,nan\n")
    assert read_curve(tmp_path / "bad.csv") == read_curve(tmp_path / "none.csv") == []


@given(st.text(max_size=300))
def test_slugs_are_safe_file_names(text: str) -> None:
    found = slug(text)
    assert found
    assert len(found) < 100
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_contrast_is_what_wcag_asks(scheme: str) -> None:
    colours = SCHEMES[scheme]
    for name in ("text", "muted", "accent", "good", "bad"):
        for ground in ("surface", "page", "fill"):
            assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for name in filter(str.isdecimal, colours):
        assert contrast(colours[name], colours["surface"]) >= 2.8, name


def test_operators_keep_their_colours_whatever_else_is_there() -> None:
    assert ranks(["mine"])["recu"] == ranks([])["recu"]
    assert ranks(["b", "a"])["a"] < ranks(["b", "a"])["b"]
    assert resolve({"marker": {"color": "@1"}, "text": ["@1"]}) == {"marker": {"color": "#0072b2"}, "text": ["@1"]}


def test_standings_and_weak_cells() -> None:
    table = {
        ("t", "m", "fp32", 0): 0.8,
        ("t", "m", "bnn", 0): 0.4,
        ("t", "m", "xnor", 0): 0.72,
        ("t", "m", "fda", 0): None,
    }
    rows = scored(table)
    found = {s.accuracy.operator: (s.relative, s.rank, s.of) for s in standings(accuracies(rows))}
    assert found["bnn"] == (pytest.approx(50), 2, 2)
    assert found["xnor"] == (pytest.approx(90), 1, 2)
    assert found["fda"] == (None, None, 2)
    assert {(r.operator, why) for r, why in weak_cells(rows)} == {("bnn", "50 % of full precision"), ("fda", "failed")}


def test_surrogates_show_what_training_changes() -> None:
    assert surrogate_figure("fp32") is None
    assert len(surrogate_figure("bnn").data) == 1  # type: ignore[union-attr]
    scheduled = surrogate_figure("fda")
    assert scheduled is not None
    assert any("end of training" in trace["name"] for trace in scheduled.data)
