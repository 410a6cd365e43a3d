"""Which (operator, model) to deploy: the Pareto set over accuracy, latency and size, with its evidence.

Pure: records and wishes in, advice out. Nothing is extrapolated: a latency counts for the task, model, operator
and device it was measured with, and for no other; what was not measured is said.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bibench.foundation.errors import BiBenchError
from bibench.foundation.wording import counted, verb
from bibench.operators import FULL_PRECISION, paper_order
from bibench.recommend.candidates import Advice, Candidate, Wishes, dominates, lacks
from bibench.recommend.shares import front_shares
from bibench.recommend.slips import require_no_slip
from bibench.records.accuracies import is_score
from bibench.records.flags import contracts_broken, others_than_marked, stale_cells
from bibench.records.record import Record, distinct
from bibench.statistics import CellMean, cells
from bibench.tracks.base import is_ratio, without_comparators

Sizes = Mapping[tuple[str, str, str], tuple[float, str]]
"""(task, model, operator) → bytes, and where the number comes from."""


def recommend(records: Sequence[Record], wishes: Wishes, *, sizes: Sizes | None = None, seed: int = 0) -> Advice:
    """The Pareto set of what fulfils the wishes: nothing else is at least as good in accuracy, latency and size.

    `sizes` complete the sizes that the records lack. Full precision is a candidate like any other.

    Args:
        records: the records it is computed from, such as `bibench.records.read` gives.
        wishes: what is asked for.
        seed: of the random draws.

    Raises:
        BiBenchError: no record is of the task, or none of what is asked for.
    """
    records, left_out = _usable(records, wishes.task)
    scored = [r for r in records if r.kind == "score" and r.split == "test" and not r.study]
    known = sorted({r.task for r in scored})
    if not known:
        raise BiBenchError(
            f"--task {wishes.task}: there is no score of any task; give the run folder of the trained cells, too"
        )
    if wishes.task not in known:
        close = difflib.get_close_matches(wishes.task, known, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise BiBenchError(f"--task {wishes.task}: no score of it; these tasks have some: {', '.join(known)}.{hint}")
    of_task = [r for r in scored if r.task == wishes.task]
    scored = without_comparators(of_task)
    if not scored:
        raise BiBenchError(f"--task {wishes.task}: only comparators have a score of it, which are no candidates")
    latencies = [r for r in records if r.kind == "latency" and r.metric == "latency_ms"]
    require_no_slip(wishes, latencies)
    sizes_of, files = _counted(records, sizes or {}), _files(records)
    found = [
        made
        for cell in cells(scored)
        for made in _candidates(
            cell, scored, latencies, sizes_of.get((cell.task, cell.model, cell.operator)), files, wishes
        )
    ]
    fitting = [c for c in found if not c.broken and not lacks(c, wishes)]
    front = [c for c in fitting if not any(dominates(o, c) for o in fitting)]
    shares = front_shares(found, scored, wishes, seed)
    judged = [replace(c, verdict=_verdict(c, front, wishes), front=shares.get(n)) for n, c in enumerate(found)]
    lists = {v: tuple(c for c in judged if c.verdict == v) for v in ("recommended", "dominated", "excluded", "unknown")}
    recommended = tuple(sorted(lists.pop("recommended"), key=lambda c: -(c.accuracy or 0)))
    said = _said(wishes, recommended, judged, latencies)
    if apart := {r.operator for r in of_task} - {r.operator for r in scored}:
        said.append(f"Other compression is no candidate: {', '.join(sorted(apart))}.")
    said += left_out
    return Advice(wishes, scored[0].metric, recommended, **lists, said=tuple(said))


def _usable(records: Sequence[Record], task: str) -> tuple[list[Record], list[str]]:
    """Each measurement once, what nothing can be without its number; sentences on what that is of the task."""
    latest, displaced = distinct(records)
    usable, impossible = [], []
    for r in latest:
        problem = "" if r.value is None else _impossible(r)
        usable.append(replace(r, value=None, status="failed", reason=problem) if problem else r)
        impossible += [f"{r.cell}: {problem}"] if problem and r.task == task else []
    said = []
    if again := sum(r.task == task for r in displaced):
        said.append(f"{again} number{'s were' if again > 1 else ' was'} measured again; the latest counts.")
    if impossible:
        said.append(f"Left out as impossible: {len(impossible)}, the first is {impossible[0]}.")
    return usable, said


def _impossible(r: Record) -> str:
    """Why the number cannot be one, or an empty string."""
    if r.kind == "score" and not is_score(r.value):
        return f"a score of {r.value:g}, expected -1 to 1"
    if r.metric == "latency_ms" and not is_ratio(r.value):
        return f"a latency of {r.value:g} ms"
    if r.metric == "storage" and not (r.value or 0) > 0:
        return f"a size of {r.value:g} bytes"
    return ""


def _candidates(
    cell: CellMean,
    scored: Sequence[Record],
    latencies: Sequence[Record],
    size: tuple[float, str] | None,
    files: Mapping[tuple[str, str, str, str], tuple[float, str]],
    wishes: Wishes,
) -> list[Candidate]:
    """One per latency on the device (engine, threads), or one without; its size is that of the file, where known."""
    names = cell.task, cell.model, cell.operator
    place = cell.model, cell.operator, cell.recipe, cell.source
    own = [r for r in scored if (r.model, r.operator, r.recipe, r.source) == place]
    measured = [r for r in latencies if (r.task, r.model, r.operator) == (cell.task, cell.model, cell.operator)]
    there: Sequence[Record | None] = ()
    if wishes.device:
        there = _newest([r for r in measured if _asked_for(r, wishes) and r.value is not None])
    return [
        _candidate(cell, own, r, measured, size if r is None else files.get((*names, r.engine), size), wishes)
        for r in there or [None]
    ]


def _asked_for(r: Record, wishes: Wishes) -> bool:
    return (
        r.device.casefold() == wishes.device.casefold()
        and (wishes.threads is None or r.threads == wishes.threads)
        and (not wishes.engine or r.engine == wishes.engine)
        and r.batch_size in (None, 1)
    )


def _newest(found: Sequence[Record]) -> list[Record]:
    """The latest measurement with each engine and number of threads."""
    return list({(r.engine, r.threads): r for r in sorted(found, key=lambda r: r.started)}.values())


def _counted(records: Sequence[Record], sizes: Sizes) -> Sizes:
    """Sizes by task, model and operator: the newest of the records, then `sizes`."""
    found = sorted((r for r in records if r.kind == "complexity" and r.metric == "storage"), key=lambda r: r.started)
    own = {(r.task, r.model, r.operator): (r.value, f"counted, {r.cell}") for r in found if r.value is not None}
    return {**sizes, **own}


def _files(records: Sequence[Record]) -> dict[tuple[str, str, str, str], tuple[float, str]]:
    """Bytes of exported files by task, model, operator and engine, the newest of each."""
    found = sorted((r for r in records if r.kind == "latency" and r.metric == "storage"), key=lambda r: r.started)
    return {
        (r.task, r.model, r.operator, r.engine): (
            r.value,
            ", ".join(filter(None, (f"the file that {r.engine} runs", r.cell))),
        )
        for r in found
        if r.value is not None
    }


def _candidate(
    cell: CellMean,
    own: Sequence[Record],
    latency: Record | None,
    measured: Sequence[Record],
    size: tuple[float, str] | None,
    wishes: Wishes,
) -> Candidate:
    evidence, missing = [_accuracy_evidence(cell, own)], []
    ms = latency.value if latency is not None else None
    if latency is not None:
        evidence.append(_latency_evidence(latency))
    elif wishes.device:
        missing.append(_no_latency(measured, wishes))
    if size is not None:
        evidence.append(f"size: {size[0]:,.0f} bytes, {size[1]}")
    else:
        missing.append("size: not counted (bibench measure complexity)")
    if cell.mean is None:
        missing.append("accuracy: no seed has a score")
    megabytes = size[0] / 1e6 if size is not None else None
    broken, excess = _broken(cell, ms, megabytes, wishes)
    return Candidate(
        model=cell.model,
        operator=cell.operator,
        recipe=cell.recipe,
        engine=latency.engine if latency is not None else "",
        threads=latency.threads if latency is not None else None,
        accuracy=cell.mean,
        accuracy_error=cell.std_error,
        accuracy_low=cell.low,
        accuracy_high=cell.high,
        seeds=cell.seeds,
        latency_ms=ms,
        latency_low=latency.low if latency is not None else None,
        latency_high=latency.high if latency is not None else None,
        latency_samples=latency.samples if latency is not None else None,
        megabytes=megabytes,
        verdict="",
        front=None,
        excess=excess,
        evidence=tuple(evidence),
        missing=tuple(missing),
        broken=tuple(broken),
        caution=tuple(_cautions(cell, own, latency, wishes)),
        source=cell.source,
    )


def _broken(cell: CellMean, ms: float | None, megabytes: float | None, wishes: Wishes) -> tuple[list[str], float]:
    """The limits that are not kept, each a sentence, and by what share of its limit the worst one is missed."""
    limits = [
        ("latency", "ms", ms, wishes.max_ms, 1),
        ("size", "MB", megabytes, wishes.max_mb, 1),
        (cell.metric, "%", cell.mean, wishes.min_accuracy, -1),
    ]
    broken, excess = [], 0.0
    for what, unit, value, limit, sign in limits:
        if value is not None and limit is not None and sign * (value - limit) > 0:
            broken.append(f"{what} {value:.3g} {unit} is {'above' if sign > 0 else 'below'} {limit:g} {unit}")
            excess = max(excess, sign * (value - limit) / limit)
    return broken, excess


def _accuracy_evidence(cell: CellMean, own: Sequence[Record]) -> str:
    seeds = ", ".join(str(r.seed) for r in own if r.value is not None)
    if any(r.source for r in own):
        return f"{cell.metric}: the paper's {cell.task} {cell.model}, one printed number"
    return f"{cell.metric}: {cell.task}/{cell.model}/{cell.operator}/{cell.recipe}, seeds {seeds or 'none'}"


def _latency_evidence(r: Record) -> str:
    parts = [
        f"latency: {r.device}",
        r.engine,
        counted(r.threads, "thread") if r.threads else "",
        f"batch {r.batch_size or 1}",
    ]
    parts.append(f"median of {r.samples}" if r.samples else "")
    parts.append(f"measured with {r.model} as {r.task} uses it")
    published = bool(r.source)
    parts.append("the paper, which does not state the size of the input" if published else f"on {r.started[:10]}")
    return ", ".join(filter(None, parts))


def _no_latency(measured: Sequence[Record], wishes: Wishes) -> str:
    """What latencies there are instead; they are named and not used."""
    asked = [wishes.device, wishes.engine, counted(wishes.threads, "thread") if wishes.threads else ""]
    lacking = f"latency: none on {', '.join(filter(None, asked))}"
    on_device = [r for r in measured if r.device.casefold() == wishes.device.casefold()]
    if on_device:
        failed = [f"{r.status}: {r.reason}" for r in on_device if r.value is None and _asked_for(r, wishes)]
        others = sorted({f"{r.engine} {counted(r.threads or 1, 'thread')}" for r in on_device if r.value is not None})
        return "; ".join(filter(None, (lacking, *failed, f"there is {', '.join(others)}" if others else "")))
    devices = sorted({r.device for r in measured if r.value is not None})
    return lacking + (f"; this model and operator were measured on {', '.join(devices)}" if devices else "")


def _cautions(cell: CellMean, own: Sequence[Record], latency: Record | None, wishes: Wishes) -> list[str]:
    found = []
    if cell.seeds == 1:
        found.append("one seed: the spread of accuracy is unknown")
    if wishes.min_accuracy is not None and cell.low is not None and cell.low < wishes.min_accuracy <= (cell.mean or 0):
        found.append(f"the interval of {cell.metric} reaches below {wishes.min_accuracy:g} %")
    high = latency.high if latency is not None else None
    if wishes.max_ms is not None and high is not None and high > wishes.max_ms:
        found.append(f"the upper quartile of latency, {high:.3g} ms, is above {wishes.max_ms:g} ms")
    found += ["breaks contracts"] if contracts_broken(own) else []
    found += ["stale: trained by other code than today's"] if stale_cells(own) else []
    flags = sorted({flag for r in own for flag in others_than_marked(r.flags).split(", ") if flag})
    found += [f"flagged {', '.join(flags)}"] if flags else []
    if latency is not None and latency.flags:
        found.append(f"latency flagged {latency.flags.replace(',', ', ')}")
    found += ["open division: the recipe was changed"] if any(r.division == "open" for r in own) else []
    found += ["embedded data"] if cell.embedded else []
    return found


def _verdict(c: Candidate, front: Sequence[Candidate], wishes: Wishes) -> str:
    if c.broken:
        return "excluded"
    if lacks(c, wishes):
        return "unknown"
    return "recommended" if any(c is f for f in front) else "dominated"


def _said(
    wishes: Wishes, recommended: Sequence[Candidate], judged: Sequence[Candidate], latencies: Sequence[Record]
) -> list[str]:
    """What the lists mean, in sentences."""
    count = {v: sum(c.verdict == v for c in judged) for v in ("dominated", "excluded", "unknown")}
    said = []
    if recommended:
        number, rest = len(recommended), count["dominated"]
        each = verb(number, "is recommended: it", "are recommended: each")
        more = f" {rest} more {verb(rest, 'qualifies and is', 'qualify and are')} dominated." if rest else ""
        said.append(
            f"{number} of {counted(len(judged), 'candidate')} {each} is better than every other in accuracy, latency "
            f"or size.{more}"
        )
    else:
        broken, unknown = count["excluded"], count["unknown"]
        said.append(
            f"Nothing qualifies: of {counted(len(judged), 'candidate')} {broken} {verb(broken, 'breaks', 'break')} a "
            f"limit and {unknown} {verb(unknown, 'lacks', 'lack')} a measurement."
        )
    limits = [("limit on latency", "latency "), ("limit on size", "size ")]
    of_limits = [(name, [c for c in judged if any(b.startswith(what) for b in c.broken)]) for name, what in limits]
    below = [c for c in judged if wishes.min_accuracy is not None and any(" is below " in b for b in c.broken)]
    said += [_excluded(name, found) for name, found in [*of_limits, ("minimum accuracy", below)] if found]
    if unsure := sum(c.verdict == "excluded" and lacks(c, wishes) for c in judged):
        said.append(
            f"{unsure} of those that break a limit {verb(unsure, 'lacks', 'lack')} a measurement that was asked for, "
            "and cannot be a nearest miss."
        )
    if wishes.device and not any(r.device.casefold() == wishes.device.casefold() for r in latencies):
        devices = sorted({r.device for r in latencies if r.value is not None})
        said.append(
            f"No latency was measured on {wishes.device}; "
            + (
                f"there are some of: {', '.join(devices)}. None of them stands in for it."
                if devices
                else "nor on any device."
            )
        )
    if not any(c.operator == FULL_PRECISION for c in judged):
        said.append("Full precision is not among the candidates: it has no score.")
    return said


def _excluded(limit: str, found: Sequence[Candidate]) -> str:
    """How many a limit excludes, and how many of these no other limit does."""
    alone = sum(len(c.broken) == 1 for c in found)
    if len(found) == 1:
        return f"The {limit} excludes 1{', and is the only one that does' if alone else ''}."
    return f"The {limit} excludes {len(found)}, {alone or 'none'} of them alone."


def in_order(found: Sequence[Candidate]) -> list[Candidate]:
    """By model, then operators in the paper's order.

    Args:
        found: the candidates.
    """
    return sorted(found, key=lambda c: (c.model, paper_order(c.operator), c.engine, c.threads or 0))
