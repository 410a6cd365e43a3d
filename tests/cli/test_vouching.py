"""What a stranger's file defines keeps its contracts before the first cell, or is refused, or is marked everywhere."""

import json
import subprocess
from pathlib import Path

import pytest

from bibench.data.location import CACHE
from bibench.records.record import read

from ..worlds import TINY, bibench_here

pytestmark = pytest.mark.slow

GOOD = """
from bibench import Operator, operator
from bibench.kernels.surrogate import STE

@operator("mine")
class Mine(Operator):
    activation_estimator = STE()

    def scale(self, w):
        return w.detach().abs().flatten(1).mean(1)
"""
BAD = (
    GOOD
    + """
    def output(self, y, x):
        return y + self.spec.in_channels * (x.numel() % 7)
"""
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdicts of other tests are not known."""
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))


def run(file: Path, runs: Path, *more: object) -> subprocess.CompletedProcess[str]:
    chosen = ("--models", "vgg_small", "--operators", "mine", "--seeds", 0, "--workers", 1)
    return bibench_here("run", "tiny", "--load", TINY, "--load", file, *chosen, "--runs", runs, *more)


def ask(verb: str, file: Path, runs: Path, *more: object) -> str:
    ended = bibench_here(verb, runs, "--load", TINY, "--load", file, *more)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_what_breaks_a_contract_is_refused_then_marked_wherever_it_is_forced(tmp_path: Path) -> None:
    file, runs = tmp_path / "mine.py", tmp_path / "runs"
    file.write_text(BAD)
    refused = run(file, runs)
    assert refused.returncode == 2 and not list(runs.rglob("done.json")), refused.stdout
    assert "error: operator 'mine' breaks its contracts and is not run" in refused.stderr
    assert "bibench check" in refused.stderr and "--force" in refused.stderr
    again = run(file, runs)
    assert "checking the contracts" in refused.stderr and "checking the contracts" not in again.stderr
    assert again.returncode == 2

    forced = run(file, runs, "--force")
    assert forced.returncode == 0 and "It goes on (--force)" in forced.stderr
    assert "mine †" in forced.stdout and "† mine breaks the operator contract" in forced.stdout
    flags = {r.operator: r.flags for r in read([runs]) if r.kind == "score"}
    assert "breaks operator " in flags["mine"] and "breaks" not in flags["fp32"]
    for verb in ("score", "rank", "coverage"):
        said = ask(verb, file, runs)
        assert "mine †" in said and "fp32 †" not in said, verb
    (row,) = [r for r in json.loads(ask("coverage", file, runs, "--format", "json"))["rows"] if r["operator"] == "mine"]
    assert row["doubts"].startswith("† mine breaks")
    assert "mine †" in ask("recommend", file, runs, "--task", "tiny")
    ask("report", file, runs, "-o", tmp_path / "site")
    pages = [p for p in (tmp_path / "site").rglob("*.html") if "mine" in p.read_text()]
    assert len(pages) > 5 and all("† mine breaks the operator contract" in page.read_text() for page in pages)


def test_after_an_edit_old_numbers_are_marked_and_the_way_to_new_ones_is_told(tmp_path: Path) -> None:
    file, runs = tmp_path / "mine.py", tmp_path / "runs"
    file.write_text(GOOD)
    first = run(file, runs)
    assert first.returncode == 0 and "‡" not in first.stdout, first.stderr
    file.write_text(GOOD.replace(".mean(1)", ".amax(1)"))
    old = run(file, runs)
    assert old.returncode == 0 and "checking the contracts of operator 'mine'" in old.stderr
    assert "mine ‡" in old.stdout and "fp32 ‡" not in old.stdout
    assert "the same bibench run with --rerun stale" in old.stdout
    for verb in ("score", "rank", "coverage"):
        assert "mine ‡" in ask(verb, file, runs), verb
    new = run(file, runs, "--rerun", "stale")
    assert new.returncode == 0 and "‡" not in new.stdout and "1 trained" in new.stdout
