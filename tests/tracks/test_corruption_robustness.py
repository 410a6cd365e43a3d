"""Equations 4, 5 and 40 against the paper's raw accuracies (Tables 9, 13 and 14) and against computation by hand."""

import csv
from importlib.resources import files

import pytest

from bibench.data.corruptions import CORRUPTIONS
from bibench.operators import PAPER_ORDER
from bibench.published import corruption
from bibench.records.record import Record
from bibench.tracks import TRACKS, Score
from bibench.tracks.corruption_robustness import by_corruption, by_severity, mce, paper_ratio, ratio_of_sums

from ..records.test_records import make

RAW = files("bibench.published") / "raw"
FP, B = "fp32", "bnn"

RESNET20 = 89.55
"""Appendix A.8: the robustness of full-precision ResNet-20 where that of ResNet-18 is 100.00."""

# Mean over the 95 conditions of full precision's gap / the operator's in Tables 13-14, in percent.
ROBUSTNESS = {
    "bnn": 95.26,
    "xnor": 100.97,
    "dorefa": 81.43,
    "bireal": 96.56,
    "xnorpp": 92.69,
    "reactnet": 94.01,
    "recu": 103.29,
    "fda": 98.35,
}


def judged(operator: str, corruption: str, severity: int, value: float | None, **more: object) -> Record:
    status = "ok" if value is not None else "failed"
    given = {"kind": "corruption", "task": "cifar10", "model": "resnet18", "recipe": "paper", "cell": operator}
    condition = {"corruption": corruption, "severity": severity}
    return make(operator=operator, value=value, status=status, **{**given, **condition, **more})


def cell(operator: str, accuracies: dict[tuple[str, int], float], **more: object) -> list[Record]:
    return [judged(operator, name, severity, value, **more) for (name, severity), value in accuracies.items()]


def published(name: str = "cifar10c_resnet18.csv") -> list[dict[str, str]]:
    return list(csv.DictReader((RAW / name).read_text().splitlines()))


def papers_records() -> list[Record]:
    return [r for r in corruption.records() if r.model == "resnet18"]


def score(records: list[Record], protocol: str = "bibench") -> dict[tuple[str, str], Score]:
    rows = TRACKS["corruption_robustness"].score(records, protocol)
    assert len({(r.operator, r.metric, r.recipe) for r in rows}) == len(rows)
    return {(r.operator, r.metric): r for r in rows}


class TestThePaper:
    def test_the_tables_are_complete(self) -> None:
        found = papers_records()
        assert {r.operator for r in found} == set(PAPER_ORDER)
        assert {r.corruption for r in found} == {"none", *CORRUPTIONS}
        assert len({(r.operator, r.corruption, r.severity) for r in found}) == len(found) == 9 * 96

    def test_the_papers_robustness_of_resnet20(self) -> None:
        """The one number of this track that the text states, from two of its tables: fixes protocol and average."""
        tables = {}
        for name in ("cifar10c_resnet18.csv", "cifar10c_resnet20_fp32.csv"):
            rows = [r for r in published(name) if r.get("operator", FP) == FP]
            tables[name] = {(r["corruption"], int(r["severity"])): float(r["accuracy_percent"]) for r in rows}
        value, note = paper_ratio(*tables.values())
        assert 100 * value == pytest.approx(RESNET20, abs=0.005)
        assert note == ""

    def test_eight_operators(self) -> None:
        """Against the same averages computed from the raw table without any code of the track."""
        table = {(r["operator"], r["corruption"], r["severity"]): float(r["accuracy_percent"]) for r in published()}
        found, corrected = score(papers_records(), "paper"), score(papers_records())
        for operator in set(PAPER_ORDER) - {FP}:
            gaps = [
                (table[FP, "none", "0"] - table[FP, c, s], table[operator, "none", "0"] - table[operator, c, s])
                for c in CORRUPTIONS
                for s in "12345"
            ]
            row = found[operator, "cifar10"]
            assert row.value == pytest.approx(100 * sum(f / o for f, o in gaps) / 95)
            assert row.value == pytest.approx(ROBUSTNESS[operator], abs=0.005)
            assert found[operator, "om"].value == pytest.approx(row.value)
            assert (row.cells, row.expected, row.note, row.std_error) == (1, 1, "", None)
            robust = 100 * sum(f for f, _ in gaps) / sum(o for _, o in gaps)
            assert found[operator, "robust"].value == pytest.approx(robust)
            assert corrected[operator, "cifar10"].value == corrected[operator, "om"].value == pytest.approx(robust)

    def test_recu_and_xnor_beat_full_precision(self) -> None:
        """Section 5.1.3: "In some cases, such as ReCU and XNOR-Net, binarized networks outperform"."""
        for found in (score(papers_records(), "paper"), score(papers_records())):
            assert found["recu", "om"].value > 100
            assert found["xnor", "om"].value > 100

    def test_seven_of_eight_operators_beat_resnet20(self) -> None:
        """Appendix A.8: "worse than not only up to 7 (out of 8) binarization methods"."""
        values = [row.value for (_, metric), row in score(papers_records(), "paper").items() if metric == "om"]
        assert (len(values), sum(value > RESNET20 for value in values)) == (8, 7)


FULL = {("none", 0): 0.9, ("fog", 1): 0.8, ("fog", 2): 0.5, ("snow", 1): 0.85}
OWN = {("none", 0): 0.7, ("fog", 1): 0.5, ("fog", 2): 0.3, ("snow", 1): 0.6}


class TestByHand:
    def test_all_metrics(self) -> None:
        found = score([*cell(FP, FULL), *cell(B, OWN)], "paper")
        # gaps of full precision .1 .4 .05, of the operator .2 .4 .1
        assert found[B, "cifar10"].value == pytest.approx(100 * (0.5 + 1 + 0.5) / 3)
        assert found[B, "robust"].value == pytest.approx(100 * 0.55 / 0.7)
        assert score([*cell(FP, FULL), *cell(B, OWN)])[B, "cifar10"].value == pytest.approx(100 * 0.55 / 0.7)
        assert found[B, "mce"].value == pytest.approx(100 * ((0.5 + 0.7) / (0.2 + 0.5) + 0.4 / 0.15) / 2)
        assert found[B, "relative_mce"].value == pytest.approx(100 * (0.6 / 0.5 + 0.1 / 0.05) / 2)

    def test_om_is_quadratic_over_tasks(self) -> None:
        other = {"task": "digits_photos"}
        halved = {c: (v if c == ("none", 0) else 0.7 - (0.7 - v) / 2) for c, v in OWN.items()}
        records = [*cell(FP, FULL), *cell(B, OWN), *cell(FP, FULL, **other), *cell(B, halved, **other)]
        found = score(records)
        first, second = found[B, "cifar10"].value, found[B, "digits_photos"].value
        assert second == pytest.approx(2 * first)
        assert found[B, "om"].value == pytest.approx(((first**2 + second**2) / 2) ** 0.5)

    def test_seeds_are_compared_with_their_own_baseline(self) -> None:
        flat = {c: (v if c == ("none", 0) else 0.65) for c, v in OWN.items()}
        records = [*cell(FP, FULL), *cell(B, OWN), *cell(FP, FULL, seed=1), *cell(B, flat, seed=1)]
        row = score(records)[B, "robust"]
        values = [100 * 0.55 / 0.7, 100 * 0.55 / 0.15]
        assert row.value == pytest.approx(sum(values) / 2)
        assert row.std_error == pytest.approx(abs(values[0] - values[1]) / 2)
        assert row.cells == 2

    def test_tables(self) -> None:
        records = [*cell(FP, FULL), *cell(B, OWN)]
        rows = {(r.operator, r.condition): r for r in by_corruption(records)}
        assert rows[B, "fog"].accuracy == pytest.approx(40)
        assert rows[B, "fog"].gap == pytest.approx(30)
        assert rows[B, "fog"].gap_ratio == pytest.approx(100 * 0.25 / 0.3)
        assert rows[FP, "none"].accuracy == pytest.approx(90)
        curve = {(r.operator, r.condition): r.accuracy for r in by_severity(records)}
        assert [curve[B, s] for s in "012"] == pytest.approx([70, 55, 30])

    def test_the_latest_counts(self) -> None:
        old = cell(B, {("fog", 1): 0.1}, started="2025")
        found = score([*cell(FP, FULL), *cell(B, OWN, started="2026"), *old])
        assert found[B, "robust"].value == pytest.approx(100 * 0.55 / 0.7)


class TestWhatIsMissing:
    def test_no_baseline(self) -> None:
        row = score(cell(B, OWN))[B, "om"]
        assert row.value is None
        assert "full precision was not measured" in score(cell(B, OWN))[B, "robust"].note

    def test_a_failed_cell_is_counted(self) -> None:
        records = [*cell(FP, FULL), *cell(B, OWN), *cell(FP, FULL, seed=1), judged(B, "none", 0, None, seed=1)]
        row = score(records)[B, "cifar10"]
        assert (row.cells, row.expected) == (1, 2)
        assert row.note == "1 of 2 cells; cifar10 resnet18 seed 1: the operator was not measured"

    def test_missing_conditions_are_said(self) -> None:
        few = {c: v for c, v in OWN.items() if c != ("fog", 2)}
        row = score([*cell(FP, FULL), *cell(B, few)], "paper")[B, "cifar10"]
        assert row.value == pytest.approx(50)
        assert "conditions are missing" in row.note

    def test_a_gap_of_zero_has_no_ratio(self) -> None:
        value, note = paper_ratio({("none", 0): 0.9, ("fog", 1): 0.8}, {("none", 0): 0.5, ("fog", 1): 0.5})
        assert (value, note) == (None, "1 conditions without a gap left out")
        assert ratio_of_sums({("none", 0): 0.9, ("fog", 1): 0.8}, {("none", 0): 0.5, ("fog", 1): 0.6})[0] is None

    def test_a_perfect_reference_is_left_out_of_mce(self) -> None:
        value, note = mce({("none", 0): 1, ("fog", 1): 1}, {("none", 0): 1, ("fog", 1): 0.9})
        assert (value, note) == (None, "fog left out: they cost full precision nothing")

    def test_a_network_at_chance_is_flagged(self) -> None:
        """Its gaps are small because it has nothing to lose."""
        flat = dict.fromkeys(OWN, 0.1)
        for more in ({"chance": 0.1}, {"flags": "collapsed"}):
            row = score([*cell(FP, FULL), *cell(B, {**flat, ("fog", 1): 0.09}, **more)])[B, "cifar10"]
            assert (row.collapsed, row.note) == (1, "1 collapsed")

    def test_other_records_do_not_enter(self) -> None:
        assert score([make(operator=FP), make(operator=B)]) == {}
