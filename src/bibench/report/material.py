"""What all pages draw on: the records, what follows from them, and where in the site each cell is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath

from bibench.comparators.compressor import COMPRESSORS, is_comparator, method
from bibench.execution.plan import PlanRow
from bibench.foundation.choice import recorded
from bibench.foundation.errors import BiBenchError
from bibench.operators import FULL_PRECISION, OPERATORS, Method, paper_order
from bibench.records.accuracies import Accuracy, accuracies
from bibench.records.record import Record
from bibench.report import palette
from bibench.statistics import Coverage, CriticalDifference, LeaveOneOut, Rank, thin
from bibench.statistics.coverage import coverage, coverages
from bibench.statistics.critical import criticals_of
from bibench.statistics.evidence import evidence_of
from bibench.statistics.layout import Layout, layouts
from bibench.statistics.leaving_out import left_out_of
from bibench.statistics.measured import Measured, measured
from bibench.statistics.ranking import ranks_of
from bibench.tracks import TRACKS, Score
from bibench.tracks.base import without_comparators
from bibench.tracks.other_compression import order

SIX = (
    *("learning_task", "neural_architecture", "corruption_robustness", "training_consumption"),
    *("theoretical_complexity", "hardware_inference"),
)
"""The paper's tracks, in its order; those of others follow by name."""

TITLES = {"hardware_inference": "Hardware inference"}
"""Titles of tracks of the paper whose measurements are not in this version."""

MEASURED = {
    "learning_task": "score",
    "neural_architecture": "score",
    "corruption_robustness": "corruption",
    "training_consumption": "cost",
    "theoretical_complexity": "complexity",
    "hardware_inference": "latency",
}
"""The kind of records that each of the paper's tracks is about."""

OVERALL = "om"
RECORDS_PER_PAGE = 1500

GroupKey = tuple[str, str, str, str]


@dataclass
class Group:
    """The cells of one task × model × recipe × operator, one per seed, and where the site shows them."""

    key: GroupKey
    cells: dict[str, list[Record]] = field(default_factory=dict)
    page: int = 0
    number: int = 0

    @property
    def size(self) -> int:
        """How many records it has."""
        return sum(map(len, self.cells.values()))

    @property
    def href(self) -> str:
        """Page and anchor, from the site's root."""
        return f"{cells_page(self.page)}#g{self.number}"


def cells_page(number: int) -> str:
    """The file of a page of cells."""
    return f"cells/{number:04d}.html"


class Material:
    """Records and everything that pages derive from them, each thing once.

    Args:
        records: what the report is about.
        runs: folders they came from, for the training curves.
        against: records to compare with (the paper's), and `against_name` what to call them.
        protocol: how tracks average (see the documentation of scores).
        plan: state of the cells in the run folders; without it coverage is that of the grid which the records span.

    Raises:
        BiBenchError: records are of several sources, which no table or average may mix.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        runs: Sequence[Path] = (),
        against: Sequence[Record] = (),
        against_name: str = "",
        protocol: str = "bibench",
        plan: Sequence[PlanRow] | None = None,
    ) -> None:
        if len(sources := {r.source for r in records}) > 1:
            named = ", ".join(sorted(source or "runs" for source in sources))
            raise BiBenchError(f"a report is of one source, these records are of {named}; compare with --against")
        self.records, self.runs = list(records), list(runs)
        self.against, self.against_name, self.protocol = list(against), against_name, protocol
        self.plan = None if plan is None else list(plan)
        self.tables: list[tuple[str, str, str]] = []
        """Tables written so far: file name, caption, page."""
        self.figures: list[tuple[str, str, str]] = []
        """Figures likewise, with their titles."""
        self._ranks: dict[tuple[str, str, str], list[Rank]] = {}
        self._laid_out: dict[tuple[str, str], list[Layout]] = {}
        self._measured: dict[str, Measured] = {}
        self._trained: dict[bool, Coverage] = {}
        self.figure_files = False
        """Whether figures are written as files too."""

    # -- names ---------------------------------------------------------------------------------------

    @cached_property
    def compared(self) -> Sequence[Record]:
        """The records of operators and full precision: all that is counted, averaged and ranked."""
        return without_comparators(self.records)

    @cached_property
    def operators(self) -> list[str]:
        """All operators but full precision, the paper's first."""
        return sorted({r.operator for r in self.compared} - {FULL_PRECISION}, key=paper_order)

    @cached_property
    def comparators(self) -> list[str]:
        """Other compression among the records: shown beside the operators, in none of their numbers."""
        return sorted({r.operator for r in self.records if is_comparator(r.operator)}, key=order)

    @cached_property
    def _places(self) -> dict[str, int]:
        found = palette.ranks([*self.operators, *(r.operator for r in without_comparators(self.against))])
        return found | {name: len(found) + index for index, name in enumerate(self.comparators)}

    def colour(self, operator: str) -> str:
        """The operator's colour, as a token."""
        return palette.token(self._places.get(operator, 0))

    def symbol(self, operator: str) -> str:
        """The operator's symbol in scatter plots."""
        return palette.symbol(self._places.get(operator, 0))

    def title(self, operator: str) -> str:
        """The operator's name as it is printed, with its options."""
        _, bracket, options = operator.partition("[")
        known = method_of(operator)
        return known.title + bracket + options if known is not None else operator

    def operator_href(self, operator: str) -> str:
        """The page of an operator or comparator."""
        return f"operators/{self._files[operator]}.html" if operator in self._files else ""

    @cached_property
    def _files(self) -> dict[str, str]:
        from bibench.report.blocks import slug

        found: dict[str, str] = {}
        for operator in (FULL_PRECISION, *self.operators, *self.comparators):
            name = slug(operator)
            found[operator] = name if name not in found.values() else f"{name}-{len(found)}"
        return found

    # -- tracks ----------------------------------------------------------------------------------------

    @cached_property
    def tracks(self) -> list[str]:
        """The paper's six tracks, whether or not anything was measured, then any others that rank operators."""
        return [*SIX, *(name for name in TRACKS if name not in SIX and not TRACKS[name].comparators)]

    def track_title(self, name: str) -> str:
        """The track's title."""
        return TRACKS[name].title if name in TRACKS else TITLES.get(name, name)

    @cached_property
    def scores(self) -> dict[str, list[Score]]:
        """The scores of every track; none where the track or its measurements do not exist."""
        return {name: self._scored(name, self.compared) for name in self.tracks}

    @cached_property
    def against_scores(self) -> dict[str, list[Score]]:
        """The same of the records to compare with."""
        return {name: self._scored(name, self.against) for name in self.tracks} if self.against else {}

    def _scored(self, name: str, records: Sequence[Record]) -> list[Score]:
        return TRACKS[name].score(read_by(name, records), self.protocol) if name in TRACKS else []

    def headline(self, name: str) -> str:
        """The metric that stands for a track: the overall one, or its first where it has none."""
        metrics = [row.metric for row in self.scores[name] if not row.part]
        return OVERALL if OVERALL in metrics or not metrics else metrics[0]

    def overall(self, name: str) -> dict[str, Score]:
        """The headline of each operator in a track; where several recipes have one, the most complete."""
        return self._overall[name]

    @cached_property
    def _overall(self) -> dict[str, dict[str, Score]]:
        found = {}
        for name, rows in self.scores.items():
            metric, recipe = self.headline(name), self.main_recipe(name)
            own = [row for row in rows if row.metric == metric and row.recipe == recipe and not row.part]
            found[name] = {row.operator: row for row in own}
        return found

    def main_recipe(self, name: str) -> str:
        """The recipe (or study) of a track with most overall values; ties go to the first."""
        counts: dict[str, int] = defaultdict(int)
        for row in self.scores[name]:
            counts[row.recipe] += row.cells if row.value is not None and not row.part else 0
        return max(counts, key=lambda recipe: counts[recipe]) if counts else ""

    def ranks(self, name: str, recipe: str = "", metric: str = "") -> list[Rank]:
        """Ranks of a metric (the headline) under a recipe (the main one), best first: what every page shows of them."""
        key = name, recipe or self.main_recipe(name), metric or self.headline(name)
        if key not in self._ranks:
            scored = any(r.value is not None for r in self.scores[name] if (r.recipe, r.metric) == key[1:])
            self._ranks[key] = ranks_of(self._layouts(*key)) if scored else []
        return self._ranks[key]

    def lacking(self, name: str, metric: str = "") -> set[str]:
        """Operators whose average (the headline, or another metric) is over fewer cells than that of others."""
        recipe, headline = self.main_recipe(name), self.headline(name)
        metric = metric or headline
        return {
            row.operator
            for row in self.scores[name]
            if row.recipe == recipe and not row.part and metric in (row.metric, OVERALL) and row.cells < row.expected
        }

    def left_out(self, name: str) -> list[LeaveOneOut]:
        """The ranking of all tasks and without each."""
        return left_out_of(self._headlines(name))

    def critical(self, name: str) -> CriticalDifference | None:
        """Average ranks over the tasks and their critical difference."""
        return next(iter(criticals_of(self._headlines(name))), None)

    def evidence(self, *names: str) -> str:
        """What the rankings of some tracks (all that have one) rest on, if that is little."""
        ranked = [name for name in names or self.tracks if self.ranks(name)]
        return thin((self.track_title(n), evidence_of(layout)) for n in ranked for layout in self._headlines(n))

    def _headlines(self, name: str) -> list[Layout]:
        return self._layouts(name, self.main_recipe(name), self.headline(name))

    def _layouts(self, name: str, recipe: str, metric: str) -> list[Layout]:
        """What is ranked."""
        if (name, metric) not in self._laid_out:
            records = read_by(name, self.compared) if name in TRACKS else []
            made = layouts(records, name, metric=metric, protocol=self.protocol) if records else []
            self._laid_out[name, metric] = made
        return [one for one in self._laid_out[name, metric] if one.recipe == recipe]

    def only_model(self, task: str) -> str:
        """The model of a task that has only one, else an empty string."""
        models = self._models.get(task, set())
        return next(iter(models)) if len(models) == 1 else ""

    @cached_property
    def _models(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for record in self.records:
            found[record.task].add(record.model)
        return found

    @cached_property
    def accuracies(self) -> list[Accuracy]:
        """Mean accuracies over seeds of what is no setting of a study."""
        return accuracies(r for r in self.compared if not r.study)

    @cached_property
    def beside(self) -> list[Accuracy]:
        """The same of comparators, and of full precision where there are any."""
        wanted = {*self.comparators, FULL_PRECISION} if self.comparators else set()
        return accuracies(r for r in self.records if not r.study and r.operator in wanted)

    # -- where cells are -------------------------------------------------------------------------------

    @cached_property
    def groups(self) -> dict[GroupKey, Group]:
        """All cells, in order, spread over pages of a bounded size."""
        found: dict[GroupKey, Group] = {}
        ordered = sorted(self.records, key=lambda r: (r.task, r.model, r.recipe, paper_order(r.operator), r.seed))
        for record in ordered:
            key = (record.task, record.model, record.recipe, record.operator)
            group = found.setdefault(key, Group(key))
            group.cells.setdefault(record.cell, []).append(record)
        page = filled = 0
        for number, group in enumerate(found.values()):
            if filled and filled + group.size > RECORDS_PER_PAGE:
                page, filled = page + 1, 0
            group.page, group.number = page, number
            filled += group.size
        return found

    def href(self, task: str, model: str, recipe: str, operator: str) -> str:
        """Where the cells of a group are shown, or an empty string."""
        group = self.groups.get((task, model, recipe, operator))
        return group.href if group else ""

    def href_of(self, record: Record) -> str:
        """Where the record's cell is shown."""
        return self.href(record.task, record.model, record.recipe, record.operator)

    def of_kind(self, *kinds: str) -> list[Record]:
        """Records of some kinds, of operators and full precision."""
        return [r for kind in kinds for r in self._by_kind.get(kind, [])]

    @cached_property
    def _by_kind(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = defaultdict(list)
        for record in self.compared:
            found[record.kind].append(record)
        return dict(found)

    @cached_property
    def test_scores(self) -> list[Record]:
        """The tasks' own metrics on the test splits, of operators and full precision."""
        return [r for r in self.of_kind("score") if r.split == "test"]

    @property
    def coverage(self) -> Coverage:
        """Which cells of operators and full precision there are: what stands before any average."""
        return self._coverages[0]

    @property
    def coverage_of_comparators(self) -> Coverage:
        """The same of other compression."""
        return self._coverages[1]

    @cached_property
    def _coverages(self) -> tuple[Coverage, Coverage]:
        return coverages([r for r in self.records if r.kind == "score"], self.plan)

    def trained(self, studied: bool) -> Coverage:
        """Coverage of the trainings of studies, or of all others: what a page of the one or the other rests on."""
        if studied not in self._trained:
            records = [r for r in self.of_kind("score") if bool(r.study) == studied]
            operators = [r for r in self.plan or () if not is_comparator(str(r.cell.operator))]
            plan = [r for r in operators if (r.cell.study is not None) == studied]
            self._trained[studied] = coverage(records, None if self.plan is None else plan)
        return self._trained[studied]

    def measured(self, kind: str) -> Measured:
        """How many measurements of a kind there are, of those that there could be."""
        if kind not in self._measured:
            self._measured[kind] = measured(self.of_kind(kind), kind)
        return self._measured[kind]

    @cached_property
    def embedded_only(self) -> bool:
        """Whether nothing was measured on a published data set."""
        return all(r.embedded for r in self.records)

    def folder_of(self, cell: str) -> Path | None:
        """The folder of a cell below the run folders, if it is one of them and not outside."""
        place = PurePath(cell)  # of a record, which anyone may have written
        if place.is_absolute() or ".." in place.parts:
            return None
        for run in self.runs:
            try:
                if (run / place).is_dir():  # perhaps behind a link, as its records
                    return run / place
            except OSError:  # a closed folder, of which reading has told
                continue
        return None


def read_by(track: str, records: Sequence[Record]) -> Sequence[Record]:
    """What a track of the paper may read: most records are corrupted accuracies, which only one of them does."""
    if track not in SIX:
        return records
    robustness = track == "corruption_robustness"
    return [r for r in records if (r.kind == "corruption") == robustness]


def method_of(operator: str) -> type[Method] | None:
    """The class of an operator or comparator, options or not; None for one that this installation does not know."""
    name = operator.partition("[")[0]
    return method(name) if name in OPERATORS or name in COMPRESSORS else None


def model_name(model: str) -> str:
    """A model without its options."""
    return recorded(model).name


def unique(values: Iterable[str]) -> list[str]:
    """Values in the order of their first appearance."""
    return list(dict.fromkeys(values))
