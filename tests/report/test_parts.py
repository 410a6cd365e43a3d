"""The parts of the report: formulas, fronts, curves, names, colours, weak cells."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bibench.operators import OPERATORS
from bibench.records.accuracies import accuracies
from bibench.records.record import Record
from bibench.report.blocks import slug
from bibench.report.build import build
from bibench.report.curves import MAX_FIGURES, curve_figures, read_curve
from bibench.report.figures import Point, front, trade_off
from bibench.report.formulas import checked, formula
from bibench.report.material import Material
from bibench.report.palette import SCHEMES, ranks, resolve
from bibench.report.standings import standings, weak_cells
from bibench.report.surrogates import surrogate_figure
from bibench.report.tradeoffs import basis_of, sized

from ..records.test_records import make
from ..tracks.records import scored
from .sites import Html


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


def test_where_there_are_more_curves_the_first_are_drawn_and_the_rest_counted(tmp_path: Path) -> None:
    """Three of 27 places have several operators and seeds, which are lines of one figure and means of one line."""
    names = [f"task{n:02}" for n in range(MAX_FIGURES + 3)]
    rows = []
    for number, name in enumerate(names):
        for operator, seed in (("fp32", 0), ("bnn", 0), ("bnn", 1)) if number < 3 else (("bnn", 0),):
            cell = f"{name}/{operator}/{seed}"
            (tmp_path / cell).mkdir(parents=True)
            (tmp_path / cell / "curve.csv").write_text(f"epoch,validation\n0,0.25\n1,{0.5 + seed / 10}\n")
            rows.append(make(task=name, operator=operator, seed=seed, cell=cell))
    drawn, left_out = curve_figures(Material(rows, runs=[tmp_path]))
    assert [figure.title.split(",")[0] for figure in drawn] == names[:MAX_FIGURES]
    assert left_out == 3
    assert {trace["name"]: trace["y"][1] for trace in drawn[0].data} == {"Full precision": 50.0, "BNN": 55.0}
    site = build(Material(rows, runs=[tmp_path]), tmp_path / "site").folder
    page = Html(site / "tracks" / "learning_task.html")
    assert f"The first {MAX_FIGURES} of {MAX_FIGURES + 3} task × model × recipe are drawn" in page.text
    assert (
        sum("Line plot of the validation score" in (a.get("aria-label") or "") for a in page.all("div")) == MAX_FIGURES
    )


def test_sizes_are_those_of_files_where_an_engine_measured_them(tmp_path: Path) -> None:
    def size(operator: str, kind: str, value: float, **more: str) -> Record:
        return make(operator=operator, kind=kind, metric="storage", split="", unit="B", value=value, **more)

    rows = [make(operator=o, value=v) for o, v in (("fp32", 0.9), ("bnn", 0.7), ("recu", 0.8))]
    counted = [size("fp32", "complexity", 8e6), size("bnn", "complexity", 4e5), size("recu", "complexity", 5e5)]
    measured = [
        size("bnn", "latency", 7e5, engine="onnx", started="2026-02-01"),
        size("bnn", "latency", 6e5, engine="onnx", started="2026-01-01"),
        size("bnn", "latency", 9e5, engine="tflite"),
        size("fp32", "latency", 8.1e6, engine="onnx"),
    ]
    for records, sizes, said in (
        (counted, {("bnn", 0.4, True), ("recu", 0.5, True), ("fp32", 8.0, True)}, "Sizes are counted"),
        (
            [*counted, *measured],
            {("bnn", 0.7, False), ("bnn", 0.9, False), ("recu", 0.5, True), ("fp32", 8.1, False)},
            "but for 1 of 4 that are counted and drawn with a dot",
        ),
        (measured, {("bnn", 0.7, False), ("bnn", 0.9, False), ("fp32", 8.1, False)}, "those of exported files."),
    ):
        material = Material([*rows, *records])
        (points,) = sized(material, material.accuracies, material.compared).values()
        assert {(p.operator, p.cost, p.counted) for p in points} == sizes
        assert said in basis_of(points)
    drawn, _ = trade_off(Material(rows), [Point("bnn", "a", 1.0, 2.0, counted=True)], "MB", "%")
    assert drawn[-1]["marker"]["symbol"] == ["circle"]  # nothing was measured that it had to be told from
    build(Material([*rows, *counted, *measured]), tmp_path / "site")
    text = (tmp_path / "site" / "tracks" / "theoretical_complexity.html").read_text("utf-8")
    assert "drawn with a dot" in text
    assert '"symbol":["star-open-dot"]' in text  # ReCU, counted
    assert '"symbol":["circle-open"]' in text  # full precision, measured


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
    assert read_curve(tmp_path / "none.csv") == []


def test_a_curve_behind_a_link_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "curve.csv").write_text("epoch,validation\n0,0.25\n1,0.5\n")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "cell").symlink_to(tmp_path / "disk")
    (figure,), _ = curve_figures(Material([make(cell="cell")], runs=[tmp_path / "runs"]))
    assert figure.data[0]["y"] == [25.0, 50.0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("0,nan\n", "line 2: validation is 'nan', expected a finite number"),
        ("0,0.5\n1,0_5\n", "line 3: validation is '0_5', expected a finite number"),
        ("\xff", "is no curve of a training"),
    ],
)
def test_a_damaged_curve_is_left_out_with_a_word(content: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(f"epoch,validation\n{content}", encoding="latin-1")
    with pytest.warns(UserWarning, match=rf"bad\.csv.*{told}.*the report leaves this curve out"):
        assert read_curve(file) == []


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
