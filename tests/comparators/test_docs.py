"""docs/compression.md: its code runs, its commands exist, and Table 21 in it is the one shipped."""

import re
from pathlib import Path

import pytest
import torch

from bibench.comparators.table21 import TABLE_21
from bibench.complexity import PAPER, Comparison, compression, speedup
from bibench.models import create

from ..worlds import fresh_registries

TEXT = (Path(__file__).parents[2] / "docs" / "compression.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_its_code_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with fresh_registries():
        exec(compile(code, "compression.md", "exec"), {"__name__": "__main__"})


def test_table_21_is_printed_as_shipped() -> None:
    for row in TABLE_21:
        line = f"| {row.method} | {row.resnet18:.2f} | {row.resnet20:.2f} | {row.flops:g} | {row.parameters:,.0f} |"
        assert line in TEXT, line


def test_what_resnet18_costs_by_our_count() -> None:
    with torch.device("meta"):
        model = create("resnet18", num_classes=1000, input_shape=(3, 224, 224), binarize_downsample=True)
        comparison = Comparison(model, torch.zeros(1, 3, 224, 224))
        counted = {bits: comparison.under("lsq", bits=bits) for bits in (2, 8)}
    rates = {bits: (compression(comparison.full, c), speedup(comparison.full, c, PAPER)) for bits, c in counted.items()}
    assert rates[2] == pytest.approx((9.51, 8.06), abs=0.005)
    assert rates[8] == pytest.approx((3.52, 1.00), abs=0.005)
    printed = 13.61 / 1.686
    assert rates[2][1] == pytest.approx(printed, abs=0.02)
    assert "9.51×" in TEXT and "3.52×" in TEXT and "8.06×" in TEXT
