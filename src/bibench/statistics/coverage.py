"""Coverage: which cells exist, are done, failed, cannot work, are stale or never ran. Shown before any average."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bibench.comparators.compressor import is_comparator
from bibench.execution.plan import PlanRow
from bibench.foundation.wording import counted
from bibench.operators import paper_order
from bibench.records.accuracies import is_score
from bibench.records.record import Record, distinct
from bibench.suite.cell import Cell

NEVER, UNMEASURED = "never ran", "not measured"
_WITHOUT_SEEDS = ("complexity", "cost", "latency")

Key = tuple[str, str, str, str, str]
States = dict[tuple[str, int], tuple[str, str]]
"""(recipe, seed) → state and reason."""


@dataclass(frozen=True)
class CoverageRow:
    """State of the cells of one task × model × operator × recipe (or study): counts over seeds, and reasons.

    Attributes:
        task: name of the task.
        model: name of the model, with its options.
        operator: name of the operator, with its options.
        recipe: name of the recipe, with its options.
        states: number of cells by state (done, failed, stale, …).
        reasons: of the failed ones, each once.
        source: the published set that the numbers are from; empty for runs.
    """

    task: str
    model: str
    operator: str
    recipe: str
    states: dict[str, int]
    reasons: tuple[str, ...] = ()
    source: str = ""

    @property
    def expected(self) -> int:
        """How many cells there should be."""
        return sum(self.states.values())

    @property
    def done(self) -> int:
        """How many have a result that counts in averages (stale ones do, and are said to be stale)."""
        return self.states.get("done", 0) + self.states.get("stale", 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**asdict(self), "done": self.done, "expected": self.expected}


@dataclass(frozen=True)
class Coverage:
    """All rows; `line` is the sentence to stand before an average.

    Attributes:
        rows: one for each task × model × operator × recipe.
        basis: what the expected cells were taken from.
    """

    rows: tuple[CoverageRow, ...]
    basis: str

    @property
    def states(self) -> dict[str, int]:
        """Cells by state, over all rows."""
        total: Counter[str] = Counter()
        for row in self.rows:
            total.update(row.states)
        return dict(sorted(total.items()))

    @property
    def expected(self) -> int:
        """All cells."""
        return sum(row.expected for row in self.rows)

    @property
    def done(self) -> int:
        """Those with a result."""
        return sum(row.done for row in self.rows)

    @property
    def complete(self) -> bool:
        """Whether every cell has a result of the present code."""
        return self.states.get("done", 0) == self.expected

    @property
    def line(self) -> str:
        """Like ``57 of 60 cells: 2 failed, 1 never ran``."""
        others = [f"{n} {state}" for state, n in self.states.items() if state != "done" and n]
        return f"{self.done} of {counted(self.expected, 'cell')}" + (": " + ", ".join(others) if others else "")

    @property
    def incomplete(self) -> Coverage:
        """The same without the rows of which every cell is done: what is missing."""
        return replace(self, rows=tuple(row for row in self.rows if row.states.get("done", 0) < row.expected))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "done": self.done,
            "expected": self.expected,
            "line": self.line,
            "basis": self.basis,
            "states": self.states,
            "rows": [row.to_dict() for row in self.rows],
        }


OF_PLAN, OF_RECORDS = "the cells of the plan", "the grid that the records span; staleness is unknown"


def coverage(
    records: Sequence[Record], plan: Sequence[PlanRow] | None = None, *, kind: str = "score", basis: str = OF_PLAN
) -> Coverage:
    """What there is of `plan`, or, without one, of the grid that the records themselves span.

    That grid is every operator of a recipe (or study) × every task, model and seed that any operator has under
    it; whether code changed since is then unknown. `kind` other than ``score`` asks which cells were measured.

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        plan: the cells that are expected, with their state.
        kind: of records.
        basis: what the plan was made from.
    """
    used, _ = distinct(r for r in records if r.kind == kind and (kind != "score" or r.split == "test"))
    if plan is None:
        return Coverage(_rows(_spanned(used, kind)), OF_RECORDS)
    measured = {(r.task, r.model, r.operator, r.recipe, _seed(r, kind)): r for r in used if r.status == "ok"}
    found: dict[Key, States] = defaultdict(dict)
    for row in plan:
        cell, state, reason = row.cell, row.state, row.reason
        if state == "missing":
            state, reason = NEVER, reason
        elif kind != "score" and state in ("done", "stale"):
            names = (str(cell.task), str(cell.model), str(cell.operator), str(cell.recipe))
            if (*names, 0 if kind in _WITHOUT_SEEDS else cell.seed) not in measured:
                state, reason = UNMEASURED, f"no {kind} of it"
        found[_key(cell)][str(cell.recipe), cell.seed] = state, reason
    return Coverage(_rows(found), basis)


def told_by(records: Sequence[Record], cells: Sequence[Cell]) -> list[PlanRow]:
    """The plan of `cells` where only records tell what there is of them: done, failed, or missing.

    Args:
        records: those of other cells are passed over.
        cells: of a suite.
    """
    used, _ = distinct(r for r in records if r.kind == "score" and r.split == "test")
    there = {(r.task, r.model, r.operator, r.recipe, r.seed): r for r in used}
    rows = []
    for cell in cells:
        names = str(cell.task), str(cell.model), str(cell.operator), str(cell.recipe)
        record = there.get((*names, cell.seed))
        rows.append(PlanRow(cell, "missing") if record is None else PlanRow(cell, *_state(record, "score")))
    return rows


def coverages(records: Sequence[Record], plan: Sequence[PlanRow] | None = None) -> tuple[Coverage, Coverage]:
    """Coverage by test scores of operators with full precision, and of comparators, which no average contains."""
    others = {name for name in {r.operator for r in records} if is_comparator(name)}
    parts = []
    for comparators in (False, True):
        own = [r for r in records if (r.operator in others) == comparators]
        cells = None if plan is None else [r for r in plan if is_comparator(str(r.cell.operator)) == comparators]
        parts.append(coverage(own, cells))
    return parts[0], parts[1]


def _key(cell: Cell) -> Key:
    return str(cell.task), str(cell.model), str(cell.operator), str(cell.study or cell.recipe), ""


def _seed(record: Record, kind: str) -> int:
    return 0 if kind in _WITHOUT_SEEDS else record.seed


def _spanned(records: Sequence[Record], kind: str) -> dict[Key, States]:
    operators: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    runs: dict[tuple[str, str, str, str], dict[tuple[str, int], None]] = defaultdict(dict)
    found: dict[Key, States] = defaultdict(dict)
    for r in records:
        under, run = r.study or r.recipe, (r.recipe, _seed(r, kind))
        operators[under, r.source][r.operator] = None
        runs[r.task, r.model, under, r.source][run] = None
        states = found[r.task, r.model, r.operator, under, r.source]
        if states.get(run, ("", ""))[0] != "done":
            states[run] = _state(r, kind)
    for (task, model, under, source), every in runs.items():
        for operator in operators[under, source]:
            states = found[task, model, operator, under, source]
            for run in every:
                states.setdefault(run, (NEVER, ""))
    return found


def _state(record: Record, kind: str) -> tuple[str, str]:
    """Done, or why the record has no number that counts."""
    if record.value is None:
        return record.status, record.reason
    possible = kind != "score" or is_score(record.value)
    return ("done", "") if possible else ("failed", f"a score of {record.value:g}, expected -1 to 1")


def _rows(found: Mapping[Key, States]) -> tuple[CoverageRow, ...]:
    ordered = sorted(found.items(), key=lambda item: (item[0][0], item[0][1], item[0][3], paper_order(item[0][2])))
    return tuple(
        CoverageRow(
            *key[:4],
            source=key[4],
            states=dict(sorted(Counter(state for state, _ in states.values()).items())),
            reasons=tuple(dict.fromkeys(f"{s}: {why}" for s, why in states.values() if why and s != "done")),
        )
        for key, states in ordered
    )
