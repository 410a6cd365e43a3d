"""Tables 2, 3 and 4 of the paper from any records: names as printed, the best of a row marked, two decimals.

sheets("2", records, "paper")      # the accuracy tracks; "3" the efficiency tracks, "4" deployability
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bibench.foundation.choice import choice, is_choice
from bibench.foundation.errors import BiBenchError
from bibench.operators import FULL_PRECISION, paper_order
from bibench.published.names import FEATURES, METRICS, OPERATORS, OVERALLS, PROVIDERS, TRACK_NAMES
from bibench.records.record import Record
from bibench.tracks import TRACKS, Score
from bibench.tracks.base import without_comparators

DIGITS = 2
YES, NO, NONE, ABSENT = "✓", "✗", "N/A", "–"


@dataclass(frozen=True)
class Line:
    """A row: its name, then texts of numbers or words; without cells it is the heading of the rows below it.

    Attributes:
        values: the numbers behind the cells, where they are numbers.
        best: which cells are the best of the row, as printed.
        lacking: which are averages that lack some of what others are over.
        heading: whether the cells are headings of the columns below.
    """

    name: str
    cells: tuple[str, ...] = ()
    values: tuple[float | None, ...] = ()
    best: frozenset[int] = frozenset()
    lacking: frozenset[int] = frozenset()
    heading: bool = False


@dataclass(frozen=True)
class Sheet:
    """The table of the paper with that `number`, with a `label` to refer to and `notes` to stand below it."""

    number: str
    title: str
    label: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def sheets(number: str, records: Sequence[Record], protocol: str) -> list[Sheet]:
    """The tables of that number, one for each source of the records.

    Raises:
        BiBenchError: no such table, or nothing in the records that it shows.
    """
    if number not in MADE:
        raise BiBenchError(f"--table {number}: expected {', '.join(MADE)} (accuracy, efficiency, deployability)")
    sources = dict.fromkeys(r.source for r in records)
    made = [MADE[number]([r for r in records if r.source == source], protocol) for source in sources]
    found = [sheet for sheet in made if sheet is not None]
    if not found:
        raise BiBenchError(f"Table {number}: none of these records has anything that it shows; see: bibench score")
    return found


def _scores(number: str, what: str, tracks: Sequence[str]) -> Callable[[Sequence[Record], str], Sheet | None]:
    """What makes a table of tracks."""

    def make(records: Sequence[Record], protocol: str) -> Sheet | None:
        scored = {name: _shown(TRACKS[name].score(records, protocol)) for name in tracks}
        operators = sorted({row.operator for rows in scored.values() for row in rows}, key=paper_order)
        lines = [line for name, rows in scored.items() for line in _section(name, rows, operators)]
        if not lines:
            return None
        source = f", of {records[0].source}" if records[0].source else ""
        embedded = (
            ", on embedded data, not comparable with published numbers" if any(r.embedded for r in records) else ""
        )
        title = f"{what}{source}, averaged by the protocol {protocol}{embedded}."
        return Sheet(
            number,
            title,
            f"tab:{what.partition(' ')[0].lower()}",
            ("", *map(printed, operators)),
            tuple(lines),
            _notes(lines, operators),
        )

    return make


def printed(operator: str) -> str:
    """The operator as the paper prints it; others by their own name."""
    return OPERATORS.get(operator, operator)


def _shown(rows: Sequence[Score]) -> list[Score]:
    """Scores that the paper's tables have: no parts, and of the metrics those of Eq. 2 to 9."""
    beyond = ("robust", "mce", "relative_mce")
    return [row for row in rows if not row.part and row.metric not in beyond]


def _section(track: str, rows: Sequence[Score], operators: Sequence[str]) -> list[Line]:
    """The rows of a track under its name, for each recipe."""
    lines = []
    recipes = dict.fromkeys(row.recipe for row in rows)
    for recipe in recipes:
        own = {(row.metric, row.operator): row for row in rows if row.recipe == recipe}
        metrics = [m for m in dict.fromkeys(m for m, _ in own) if m != "om"]
        found = [
            _line(METRICS.get((track, m)) or METRICS.get(("", m), m), [own.get((m, o)) for o in operators])
            for m in metrics
        ]
        partial = {
            n for n in range(len(operators)) if any(n in line.lacking or line.values[n] is None for line in found)
        }
        overall = _line(OVERALLS[track], [own.get(("om", o)) for o in operators], partial)
        if any(value is not None for line in (*found, overall) for value in line.values):
            unit = "%" if TRACKS[track].unit.startswith("percent") else "×"
            where = f", recipe {recipe}" if len(recipes) > 1 else ""
            lines += [Line(f"{TRACK_NAMES[track]} ({unit}){where}"), *found, overall]
    return lines


def _line(name: str, rows: Sequence[Score | None], partial: set[int] | frozenset[int] = frozenset()) -> Line:
    values = tuple(None if row is None else row.value for row in rows)
    lacking = {
        n for n, row in enumerate(rows) if row is not None and row.value is not None and row.cells < row.expected
    }
    lacking |= {n for n in partial if values[n] is not None}
    texts = tuple(ABSENT if value is None else f"{value:.{DIGITS}f}" for value in values)
    return Line(name, texts, values, best_of(values, lacking), frozenset(lacking))


def best_of(values: Sequence[float | None], lacking: set[int] | frozenset[int] = frozenset()) -> frozenset[int]:
    """Which are the largest as printed; none where one stands alone, all are alike, or averages lack cells."""
    texts = {n: f"{value:.{DIGITS}f}" for n, value in enumerate(values) if value is not None}
    if lacking or len(set(texts.values())) < 2:
        return frozenset()
    top = max(texts.values(), key=float)
    return frozenset(n for n, text in texts.items() if text == top)


def _notes(lines: Sequence[Line], operators: Sequence[str]) -> tuple[str, ...]:
    """What the marks in a table of scores mean, as far as they occur."""
    lacking = {printed(operators[n]): None for line in lines for n in line.lacking}
    absent = any(value is None for line in lines for value in line.values)
    notes = [f"{ABSENT} not measured, or it lacks a part."] if absent else []
    if lacking:
        notes.append(f"† over some of the cells alone ({', '.join(lacking)}); no best is marked in these rows.")
    return tuple(notes)


def _deployability(records: Sequence[Record], protocol: str) -> Sheet | None:
    """Table 4: what Larq and daBNN take, and what the operators of the records need; the protocol plays no part."""
    from bibench.deploy.summary import capabilities, summary

    names = sorted({r.operator for r in without_comparators(records)} - {FULL_PRECISION}, key=paper_order)
    chosen = [choice(name) for name in names if is_choice(name)]
    engines = {row.operator: row for row in capabilities(PROVIDERS)}
    libraries = [
        Line(title, (provider, *_features(engines[engine]))) for engine, (title, provider) in PROVIDERS.items()
    ]
    rows = list(summary(chosen, PROVIDERS))
    if not rows:
        return None
    algorithms = [Line(printed(r.operator), (YES if "" in r.refusals.values() else NO, *_features(r))) for r in rows]
    title = "Deployability of the operators on the libraries of the paper."
    head = Line("Algorithm", ("Deployable", *FEATURES), heading=True)
    return Sheet(
        "4", title, "tab:deployability", ("Infer. Lib.", "Provider", *FEATURES), (*libraries, head, *algorithms)
    )


def _features(row: object) -> tuple[str, ...]:
    """Granularity, form, folding, re-scaling and mean-shift of a row of `bibench.deploy.summary`."""
    granularity, form, fold = (getattr(row, name) for name in ("granularity", "form", "fold_norm"))
    marks = (_mark(getattr(row, name)) for name in ("rescaling", "mean_shift"))
    return (granularity.capitalize() or NONE, form or NONE, NONE if fold is None else _mark(fold), *marks)


def _mark(said: bool) -> str:
    return YES if said else NO


MADE: dict[str, Callable[[Sequence[Record], str], Sheet | None]] = {
    "2": _scores("2", "Accuracy tracks", ("learning_task", "neural_architecture", "corruption_robustness")),
    "3": _scores("3", "Efficiency tracks", ("training_consumption", "theoretical_complexity", "hardware_inference")),
    "4": _deployability,
}
"""The tables by their number."""
