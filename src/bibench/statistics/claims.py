"""What pages and the command line claim in words: sentences made from numbers, and from nothing else.

Each function is pure and says no more than its numbers do: nobody is first where there is one, where numbers are
printed alike, or where averages are over different cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean

from bibench.foundation.wording import counted, listed, plural, verb
from bibench.statistics.comparing import better
from bibench.statistics.coverage import Coverage
from bibench.statistics.measured import Measured
from bibench.statistics.ranking import Rank
from bibench.statistics.versus import Versus
from bibench.tracks import TRACKS
from bibench.tracks.base import PAPER

NAMED = 4
"""How many names a sentence holds; of more it gives the number."""

PARTS = {
    "learning_task": "task",
    "neural_architecture": "family",
    "corruption_robustness": "task",
    "training_consumption": "half",
    "theoretical_complexity": "half",
    "hardware_inference": "half",
}
"""What the overall metric of a track is the mean of: what its counts of cells count."""

Called = Callable[[str], str]
Said = Callable[[float], str]


@dataclass(frozen=True)
class Entry:
    """A number by its name as printed; `complete`: whether it is over all cells that the others are over."""

    name: str
    value: float
    complete: bool = True


def extremes(entries: Sequence[Entry], does: tuple[str, str], top: str, bottom: str, said: Said) -> str:
    """``A keeps most, 97 %; B and C keep least, 80 %.``; a range without names where some lack cells.

    Numbers that `said` prints alike are one: nobody can see an order between them.

    Args:
        entries: what is compared.
        does: the verb of one and of many, as in ("keeps", "keep").
        top: the words for the largest, as in "most".
        bottom: those for the smallest.
        said: how a number is printed.
    """
    if not entries:
        return ""
    ranked = [(text, list(own)) for text, own in groupby(_down(entries), key=lambda one: said(one.value))]
    (high, first), (low, last) = ranked[0], ranked[-1]
    if lacking := [one.name for one in entries if not one.complete]:
        span = high if high == low else f"from {low} to {high}"
        return f"{_upper(span)}; {named(lacking, 'of them')} {verb(len(lacking), 'lacks', 'lack')} some of the cells."
    if len(entries) == 1:
        return f"{entries[0].name} alone was measured: {high}."
    if high == low:
        return f"{'Both' if len(entries) == 2 else f'All {len(entries)}'} are alike: {high}."
    most = f"{named([one.name for one in first], 'of them')} {does[len(first) > 1]} {top}, {high}"
    return f"{most}; {named([one.name for one in last], 'of them')} {does[len(last) > 1]} {bottom}, {low}."


def kind(rows: Sequence[Rank], lacking: Collection[str] = ()) -> str:
    """What a ranking can say of its first place: one of the keys of `GLANCE`.

    Args:
        rows: of one metric under one recipe.
        lacking: operators whose average lacks cells that others have.
    """
    known = [row for row in rows if row.rank is not None]
    if len(known) < 2:
        return ("none", "alone")[len(known)]
    if any(row.operator in lacking for row in known):
        return "lacking"
    first = [row for row in known if row.rank == 1]
    if len(first) == len(known):
        return "equal"
    if known[0].best is None:
        return "open"
    near = [row for row in known if row.rank != 1 and row.operator in first[0].ties]
    return ("sure" if len(first) == 1 else "shared") if not near else "near"


GLANCE = {
    "sure": "{names} is better than all others for sure in {tracks}",
    "shared": "several share the first place in {tracks}",
    "near": "no operator is first for sure in {tracks}",
    "open": "nothing tells how sure the order is in {tracks}",
    "equal": "all scores are equal in {tracks}",
    "lacking": "averages are over different cells, so that nobody is called first, in {tracks}",
    "alone": "there is one operator in {tracks}",
    "none": "there is no overall score in {tracks}",
}


def glance(found: Sequence[tuple[str, Sequence[Rank], Collection[str]]], called: Called) -> str:
    """All tracks in a sentence or two, from the title, ranking and lacking operators of each."""
    groups: dict[tuple[str, str], list[str]] = {}
    for title, rows, lacking in found:
        what = kind(rows, lacking)
        first = called(next(row.operator for row in rows if row.rank == 1)) if what == "sure" else ""
        groups.setdefault((what, first), []).append(title.lower())
    parts = [
        GLANCE[what].format(names=name, tracks=listed(tracks, "or" if what == "none" else "and"))
        for (what, name), tracks in sorted(groups.items(), key=lambda group: list(GLANCE).index(group[0][0]))
    ]
    return _upper("; ".join(parts)) + "." if parts else ""


def best(rows: Sequence[Rank], called: Called, lacking: Collection[str] = ()) -> str:
    """Who has the first rank, and from whom that operator is told apart, as far as the numbers say."""
    known = [row for row in rows if row.rank is not None]
    what, first = kind(rows, lacking), [row for row in known if row.rank == 1]
    if what == "none":
        return "No rank can be given: no operator has a score."
    if what == "alone":
        return f"{called(first[0].operator)} is the only operator with a score; there is nothing to compare it with."
    if what == "lacking":
        names = [called(row.operator) for row in known if row.operator in lacking]
        return f"Averages of {named(names, 'operators')} lack cells that others have, so that nobody is called first."
    if what == "equal":
        return f"All {len(known)} operators have the same score."
    text = f"{listed([called(row.operator) for row in first])} {verb(len(first), 'has', 'share')} the highest score"
    if what == "open":
        return f"{text}; nothing tells how sure the order is."
    if what in ("sure", "shared"):
        return f"{text}, and {verb(len(first), 'is', 'are')} told apart from all others."
    near = [called(row.operator) for row in known if row.rank != 1 and row.operator in first[0].ties]
    if len(near) == len(known) - len(first):
        return f"{text}, but no other operator can be told from {verb(len(first), 'it', 'them')}."
    return f"{text}, but cannot be told from {named(near, f'of the other {len(known) - len(first)} operators')}."


def span(rows: Sequence[Rank], digits: int, unit: str) -> str:
    """``Scores are from 70.8 to 81.8 (percent of full precision).``; nothing without any."""
    values = [row.value for row in rows if row.value is not None]
    if not values:
        return ""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    if len(values) == 1:
        return f"The score is {low} ({unit})."
    return f"All scores are {low} ({unit})." if low == high else f"Scores are from {low} to {high} ({unit})."


def certain(rows: Sequence[Rank], called: Called) -> str:
    """Whose rank is certain, and whose is least so, of those that were compared."""
    known = [row for row in rows if row.rank is not None and row.best is not None and row.worst is not None]
    if not known:
        return "Nothing was compared."
    if len(known) == 1:
        return "There is one operator."
    width = {row.operator: (row.worst or 0) - (row.best or 0) for row in known}
    sure = [called(o) for o, wide in width.items() if not wide]
    if len(sure) == len(known):
        return "Every rank is certain."
    widths = {wide for wide in width.values() if wide}
    if not sure and widths == {len(known) - 1}:
        return f"No two operators are told apart: every rank from 1 to {len(known)} remains possible for each."
    text = f"{named(sure, f'of {len(known)} operators')} {verb(len(sure), 'has', 'have')} a rank for certain"
    if len(widths) == 1:  # nobody is less certain than another
        return f"{text}; the others do not." if sure else "No rank is certain, and all are about equally open."
    least = [called(o) for o, wide in width.items() if wide == max(widths)]
    who = listed(least, "or") if len(least) <= NAMED else counted(len(least), "operator")
    return f"{text}; the rank of {who} is least certain." if sure else f"The rank of {who} is least certain."


def left_out(firsts: Sequence[frozenset[str]], moved: Sequence[str], called: Called) -> str:
    """What leaving out each task does to the order: `firsts` with all tasks, then without each; who `moved`."""
    if not moved:
        return "Leaving out any one task leaves the order as it is."
    if len(set(firsts)) == 1:
        stay = listed([called(o) for o in sorted(firsts[0])])
        move = f"{named([called(o) for o in moved], 'operators')} {verb(len(moved), 'moves', 'move')}"
        return f"{stay} {verb(len(firsts[0]), 'stays', 'stay')} first, whichever task is left out; {move}."
    who = listed([called(o) for o in sorted(frozenset().union(*firsts))], "or")
    return f"Who is first depends on which task is left out: {who}."


TRAINING, STUDY = "", "Runs of the study: "


def trained(found: Coverage, what: str = TRAINING) -> str:
    """How many cells have a result, before any average: complete, out of date, or incomplete."""
    if not found.expected:
        return "No training has a test score among these records."
    if found.complete:
        return f"{what}{found.line}."
    if found.done == found.expected:  # of an earlier state of the code or of the settings
        return f"Out of date: {what.lower()}{found.line}. To train these cells again: bibench run SUITE --rerun stale."
    return f"Incomplete: {what.lower()}{found.line}. Averages over incomplete cells say so."


def measurements(found: Measured, called: Called) -> str:
    """``174 of 198 latencies: ReActNet lacks 24.``; nothing where there are none."""
    if not found.expected:
        return ""
    lack = [f"{called(o)} lacks {expected - done}" for o, (done, expected) in found.operators.items()]
    if len(lack) > NAMED:
        lack = [f"{len(lack)} operators lack some"]
    return f"{found.line}{f': {listed(lack)}' if lack else ''}."


def all_measured(found: Sequence[Measured], called: Called) -> str:
    """``Measured: 6 of 6 latencies; 1 of 2 ratios of training times: BNN lacks 1.``; nothing without any."""
    said = [text.removesuffix(".") for one in found if (text := measurements(one, called))]
    return f"Measured: {'; '.join(said)}." if said else ""


def incomplete(lacking: int, places: int) -> str:
    """How many of the task × operator of a page lack some of their cells."""
    if not lacking:
        return "Every operator has a result for every cell of every task." if places else "There is no cell."
    return f"{lacking} of {counted(places, 'task × operator')} {verb(lacking, 'is', 'are')} incomplete."


def kept(shares: Sequence[float], places: int) -> str:
    """``keeps 84 % of full precision on average over 5 of 6 task × model pairs``, from the share at each."""
    if not shares:
        return ""
    over = f"{len(shares)} of " if len(shares) < places else ""
    average = f" on average over {over}{counted(places, 'task × model')}" if places > 1 else ""
    return f"keeps {fmean(shares):.0f} % of full precision{average}"


def average_rank(ranks: Sequence[tuple[str, float]], blocks: int, unit: str) -> str:
    """Who has the smallest average rank, from names and average ranks; that all are alike, where they are."""
    over = f"over {counted(blocks, unit)}"
    shown = [(name, f"{rank:.2f}") for name, rank in sorted(ranks, key=lambda one: one[1])]
    if not shown:
        return ""
    first = [name for name, text in shown if text == shown[0][1]]
    if len(first) == len(shown):
        return f"All average ranks {over} are alike: {shown[0][1]}."
    return (
        f"{named(first, 'operators')} {verb(len(first), 'has', 'share')} the best average rank {over}, {shown[0][1]}."
    )


def without_test(note: str) -> str:
    """Why there is no critical difference, from the note of it."""
    return f"There is {note}." if note.startswith("no ") else f"{_upper(note)}."


def apart(gaps: Sequence[float], binary: Sequence[float], other: str) -> str:
    """How far the scores of common cells are from others' on average, in points; `binary`: of operators alone."""
    low = fmean(gaps)
    text = f"Over {counted(len(gaps), 'common cell')} ours are {abs(low):.1f} points "
    text += f"{'above' if low >= 0 else 'below'} {other} on average"
    if f"{abs(low):.1f}" == "0.0":
        text = f"Over {counted(len(gaps), 'common cell')} ours are those of {other} on average, to 0.1 points"
    if len(gaps) == 1:
        text = text.replace(" ours are", " ours is").removesuffix(" on average")
    return text + (f" ({fmean(binary):+.1f} for binarized ones)." if binary and len(binary) < len(gaps) else ".")


def averaged_alike(other: str, protocol: str) -> str:
    """Of which protocol numbers beside others' are: those of the paper are printed under one of two."""
    text = f"Both sides are averaged here by the protocol {protocol}."
    if protocol == PAPER or other != "the paper":
        return text
    return f"{text} The averages that the paper prints are of the protocol {PAPER}: bibench report --protocol {PAPER}."


def wins(places: Sequence[tuple[int | None, bool]]) -> str:
    """In how many of its places an operator has the best score: (rank, whether others share it) of each.

    Places without a second operator are none.
    """
    alone, shared = (sum(rank == 1 and both == also for rank, also in places) for both in (False, True))
    text = f"It has the best score in {alone} of {counted(len(places), 'task × model')}"
    if not places:
        return "There is nothing to compare it with"
    return text + (f", and shares it in {shared}" if shared else "")


def answer(row: Versus) -> str:
    """Whether one operator is better than the other, from the overall row: one sentence, and what it rests on.

    Differences and intervals are of the operator that is ahead, whichever was named first.
    """
    ahead, behind, gap = _ahead(row)
    digits, size = places(row), _size(row, gap)
    cells, seeds = counted(row.cells, "cell"), f"{from_to(*row.seeds)} {plural('seed', row.seeds[1])}"
    trained = row.track not in SEEDLESS
    rests = f"{cells}, {seeds}" if trained else cells
    bounds = f"{100 * row.level:g} % interval {_ends_ahead(row)}, " if row.low is not None else ""
    by = f"by a factor of {_factor(gap):.{digits}f}" if row.ratio else f"by {size}"
    above = f"{ahead} scores {size} {_side(row)} {behind}"
    if _alike(row):
        above = f"{row.operator} and {row.other} score the same to {counted(digits, 'digit')}"
    if trained and row.seeds[1] < 2:
        return f"One seed: {above} on {cells}; another seed may say otherwise.{_of_tasks(row)}"
    if row.better:
        text = f"{ahead} is better than {behind} {by} ({bounds}{rests})."
    elif row.p is None:
        text = f"Nothing tells how sure it is: {above} ({rests})."
    else:
        text = f"{row.operator} and {row.other} are not told apart: {above} ({bounds}{rests})."
    return text + (f" {PAIR_OF_SEEDS}" if trained and row.over == "seeds" and row.seeds[0] <= 2 else "")


def places(row: Versus) -> int:
    """How many decimals a difference is printed with."""
    return max(TRACKS[row.track].digits, 2 if row.ratio else 0)


def _size(row: Versus, gap: float) -> str:
    """``5.7 points`` of percent, ``0.07`` of times, ``1.13 times`` of ratios of geometric means."""
    if row.ratio:
        return f"{_factor(gap):.{places(row)}f} times"
    points = " points" if TRACKS[row.track].unit.startswith("percent") else ""
    return f"{abs(gap):.{places(row)}f}{points}"


def _side(row: Versus) -> str:
    """Where the operator that is ahead stands: below the other where less is better."""
    if row.ratio:
        return "those of"
    return "above" if better(row.metric) > 0 else "(less is better) below"


def _alike(row: Versus) -> bool:
    """Whether nobody sees a difference in the numbers as printed."""
    if row.ratio:
        return f"{row.difference:.{places(row)}f}" == f"{1:.{places(row)}f}"
    return f"{abs(row.difference):.{places(row)}f}" == f"{0:.{places(row)}f}"


SEEDLESS = ("theoretical_complexity", "hardware_inference")
"""Tracks that measure without training."""
PAIR_OF_SEEDS = "Some of it rests on two seeds or fewer, whose interval may be far off: train more."


def _of_tasks(row: Versus) -> str:
    """What one seed of several tasks says of other tasks of the kind."""
    if row.over != "tasks" or row.low is None:
        return ""
    told = f"{row.better} is better" if row.better else "they are not told apart"
    return f" Over {counted(row.tasks, 'task')} {told} ({100 * row.level:g} % interval {_ends_ahead(row)})."


def _ends_ahead(row: Versus) -> str:
    """The interval of the difference that the sentence states."""
    if _ahead(row)[0] == row.operator:
        return ends(row, places(row))
    low, high = row.low or 0.0, row.high or 0.0
    turned = (1 / high, 1 / low) if row.ratio else (-high, -low)
    return ends(replace(row, low=turned[0], high=turned[1]), places(row))


def _ahead(row: Versus) -> tuple[str, str, float]:
    """The operator with the better score, the other, and the difference (the logarithm of a ratio)."""
    gap = math.log(row.difference) if row.ratio and row.difference > 0 else row.difference
    merit = better(row.metric) * gap
    return (row.operator, row.other, gap) if merit >= 0 else (row.other, row.operator, gap)


def _factor(logarithm: float) -> float:
    return math.exp(abs(logarithm))


def ends(row: Versus, digits: int) -> str:
    """The interval of a difference, as the operators were named; empty without one."""
    if row.low is None or row.high is None:
        return ""
    return f"{signed(row.low, digits, row.ratio)} to {signed(row.high, digits, row.ratio)}"


def signed(value: float, digits: int, ratio: bool = False) -> str:
    """``+1.2`` of a difference, ``1.20`` of a ratio."""
    return f"{value:.{digits}f}" if ratio else f"{value:+.{digits}f}".replace("-", "−")


def from_to(low: int, high: int) -> str:
    """``3``, or ``1 to 3``."""
    return str(low) if low == high else f"{low} to {high}"


def named(names: Sequence[str], of: str) -> str:
    """The names, or their number where they are many: ``6 of the other 7 operators``."""
    return listed(names) if len(names) <= NAMED else f"{len(names)} {of}"


def _down(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda one: -one.value)


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
