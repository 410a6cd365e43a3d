"""Why a binarized model is slower than it could be, from profiles and layers whose answer is known."""

from pathlib import Path
from typing import Any

import pytest

from bibench.deploy.contenders import Contender
from bibench.deploy.explaining import explanations, least, verdict
from bibench.deploy.reasons import by_layers, by_profile

from .test_theory import described, written

PROFILE = [
    {"node": "stem", "op": "StemConv", "microseconds": 50.0},
    {"node": "dw", "op": "BinaryConv", "microseconds": 600.0},
    {"node": "pw", "op": "BinaryConv", "microseconds": 250.0},
    {"node": "pw#2", "op": "BinaryConv", "microseconds": 50.0},
    {"node": "node_Mul_1", "op": "Mul", "microseconds": 50.0},
]


@pytest.mark.parametrize(
    ("speedup", "theory", "said"),
    [
        (0.23, 10.35, "slower than float"),
        (0.99, None, "slower than float"),
        (1.21, 4.29, "far from theory"),
        (2.1, 4.2, ""),
        (1.0, None, ""),
        (9.0, 11.0, ""),
    ],
)
def test_the_verdict_is_that_of_the_least(speedup: float, theory: float | None, said: str) -> None:
    assert verdict(speedup, theory) == said
    assert (speedup < least(theory)) == bool(said)


def test_a_profile_is_told_by_kind_and_by_the_slowest() -> None:
    said = by_profile(PROFILE, described(), "bibench")
    assert said[:4] == [
        "where its time goes:",
        "  60 %, 0.60 ms: depthwise layers at 1 bit (1): too few products per output to fill words of bits",
        "  30 %, 0.30 ms: other layers at 1 bit (2)",
        "  10 %, 0.10 ms: nodes in float (2): StemConv 50 µs, Mul 50 µs",
    ]
    assert said[4:7] == [
        "the slowest of 5 nodes:",
        "  0.60 ms dw (depthwise: 9)",
        "  0.25 ms pw (1 bit)",
    ]
    assert said[-1].endswith("give bibench.binarize of the float model keep=['stem', 'dw']")


def test_squeeze_excite_and_groups_have_kinds_of_their_own() -> None:
    rows = [
        {"name": "dw", "weight_bits": 1, "activation_bits": 1, "macs": 5, "slow": "one position: 5 products in all"},
        {"name": "pw", "weight_bits": 1, "activation_bits": 1, "macs": 5, "slow": "8 groups: 18 products per output"},
    ]
    said = "\n".join(by_profile(PROFILE, described(rows=rows), "bibench"))
    assert "squeeze-excite and alike at 1 bit (1): so few products that a call" in said
    assert "layers of 8 groups at 1 bit (2): too few products per output" in said


def test_an_engine_without_bits_is_said_first() -> None:
    profile = [{**PROFILE[0]}, {"node": "pw/Conv7_nchwc", "op": "Conv", "microseconds": 450.0}]
    first, _, *said = by_profile(profile, described("onnxruntime"), "onnxruntime")
    assert first.startswith(
        "engine 'onnxruntime' computes the 3 1-bit layers of this file as ±1 in float: bibench export"
    )
    assert said[0] == "  90 %, 0.45 ms: products of 1-bit layers (1), as ±1 in float"
    assert "  0.45 ms pw/Conv7_nchwc (Conv, as ±1 in float)" in said
    assert not any("keep" in sentence for sentence in said)  # nothing runs at 1 bit, whatever is kept


def test_nothing_is_other_where_no_layer_is_slow() -> None:
    rows = [{"name": "pw", "weight_bits": 1, "activation_bits": 1, "macs": 5}]
    said = by_profile(PROFILE[2:], described(rows=rows), "bibench")
    assert said[1] == "  86 %, 0.30 ms: layers at 1 bit (2)"


def test_many_small_nodes_and_long_lists() -> None:
    rows = [
        {
            "name": f"b{n}.{'dw' if n % 2 else 'x'}{n}",
            "weight_bits": 1,
            "activation_bits": 1,
            "macs": 1,
            "slow": "depthwise: 9",
        }
        for n in range(9)
    ]
    found = described(rows=rows)
    found = type(found)(**{**vars(found), "layers": {row["name"]: {} for row in rows}})
    profile = [{"node": row["name"], "op": "BinaryConv", "microseconds": 5.0} for row in rows]
    said = by_profile(profile, found, "bibench")
    assert said[-2].startswith("9 of 9 nodes take less than 10 µs each, 45 µs together")
    assert said[-1].endswith("keep=bibench.audit(binarized, example_inputs).keep")


def test_without_times_of_nodes_the_layers_tell() -> None:
    said = by_layers(described("larq"), "larq")
    assert said[0] == "engine 'larq' tells no times of nodes, so that only the layers can be looked at"
    assert said[1] == "2 % of its multiply-accumulates are computed in float"
    assert said[2].startswith("1 bit makes 1 of 3 binarized layers no faster than float: 1 like 'dw'")
    assert by_layers(None, "larq")[-1] == "the file has no manifest, which would tell its layers"


def contender(folder: Path, key: str, operator: str, engine: str = "bibench", baseline: bool = False) -> Contender:
    file = folder / "base.onnx" if baseline else written(folder, described(engine))
    return Contender(key, file, engine, baseline, {"model": "net", "operator": operator})


def explained(contenders: list[Contender], times: dict[tuple[str, int, int], float], profiles: Any = None) -> Any:
    return explanations(contenders, {place: [ms] * 6 for place, ms in times.items()}, profiles or {})


def test_who_was_profiled_is_explained_where_that_was(tmp_path: Path) -> None:
    both = [contender(tmp_path, "base", "fp32", baseline=True), contender(tmp_path, "net", "bnn")]
    times = {("base", 1, 1): 2.0, ("net", 1, 1): 8.0, ("base", 2, 1): 2.0, ("net", 2, 1): 8.0}
    found = explained(both, times, {("net", 1, 1): PROFILE})
    assert list(found) == [("net", 1, 1)]
    assert found["net", 1, 1][0] == (
        "net bnn (bibench), 1 thread, batch 1: 0.25 times as fast as full precision, 15.00 in theory"
    )
    assert found["net", 1, 1][1] == "where its time goes:"


def test_whoever_is_odd_is_explained_once_and_nobody_else(tmp_path: Path) -> None:
    both = [contender(tmp_path, "base", "fp32", "larq", baseline=True), contender(tmp_path, "net", "bnn", "larq")]
    times = {("base", 1, 1): 30.0, ("net", 1, 1): 2.0, ("base", 2, 1): 20.0, ("net", 2, 1): 4.0, ("net", 4, 1): 9.0}
    times |= {("base", 8, 1): 4.0, ("net", 8, 1): 4.0}
    found = explained(both, times)
    assert list(found) == [("net", 2, 1)]  # 15 of 15, 5 of 15, no baseline, 1 of 15
    assert found["net", 2, 1][0].startswith("net bnn (larq), 2 threads, batch 1: 5.00 times as fast as full precision")
    assert "tells no times" in found["net", 2, 1][1]
    unknown = [both[0], contender(tmp_path, "net", "", "larq")]
    assert explained(unknown, times) == {}
