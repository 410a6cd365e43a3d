"""Why a binarized model is slower than it could be: where its time goes by the profile, in sentences.

`explain` is pure: the rows of a profile and a manifest in, sentences out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from bibench.deploy import manifest
from bibench.deploy.contenders import Contender
from bibench.deploy.engine import ENGINES
from bibench.deploy.manifest import Manifest
from bibench.deploy.theory import at_one_bit, theoretical_speedup
from bibench.nn import gains
from bibench.operators import FULL_PRECISION

FAR = 4
"""A speed-up below this part of theory is explained: the networks of docs/deployment.md reach more than a quarter."""
SMALL = 10.0
"""Microseconds: what a call takes however little it computes (docs/latency.md), with a margin."""
SLOWEST = 5

Profile = Sequence[Mapping[str, Any]]
"""Rows of `bibench.deploy.bundle.profiling.per_node`."""


def least(theory: float | None) -> float:
    """The speed-up below which a model is explained: as fast as float, or a part of theory."""
    return max(1.0, (theory or 0.0) / FAR)


def verdict(speedup: float, theory: float | None) -> str:
    """What is odd about a speed-up, for a note; "" if nothing."""
    if speedup < 1:
        return "slower than float"
    return "far from theory" if speedup < least(theory) else ""


def peer_of(one: Contender, contenders: Sequence[Contender]) -> str:
    """Key of the baseline that a binarized contender is compared with, of its engine if there is one; "" for none."""
    if one.baseline or one.facts["operator"] in ("", FULL_PRECISION):
        return ""
    peers = {other.engine: other.key for other in reversed(contenders) if other.baseline}
    return peers.get(one.engine, next(reversed(peers.values()), ""))


Place = tuple[str, int, int]
"""Key of a contender, threads, batch size."""


def explanations(
    contenders: Sequence[Contender], samples: Mapping[Place, Sequence[float]], profiles: Mapping[Place, Profile]
) -> dict[Place, list[str]]:
    """Of each binarized contender that was profiled beside its baseline: a headline, then what `explain` says."""
    by_key, found = {one.key: one for one in contenders}, {}
    for (key, threads, batch), profile in profiles.items():
        one, mine = by_key[key], samples.get((key, threads, batch), ())
        peer = samples.get((peer_of(one, contenders), threads, batch), ())
        said = explain(profile, manifest.read(one.file)) if mine and peer else []
        if not said:
            continue
        speedup, theory = median(a / b for a, b in zip(peer, mine, strict=False)), theoretical_speedup(one.file)
        bound = "" if theory is None else f", {theory:.2f} in theory"
        head = f"{one.title}, {threads} thread(s), batch {batch}: {speedup:.2f} times as fast as full precision{bound}"
        found[key, threads, batch] = [f"{head}. Where its time goes:", *said]
    return found


def explain(profile: Profile, found: Manifest | None) -> list[str]:
    """Shares of time by what runs, the slowest nodes with their reasons, and what to do."""
    total = sum(float(row["microseconds"]) for row in profile)
    if not total:
        return []
    rows = {str(row["name"]): str(row.get("slow", "")) for row in at_one_bit(found)} if found else {}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in profile:
        groups.setdefault(_kind(row, rows), []).append(row)
    said = _unpacked(found)
    for kind, members in sorted(groups.items(), key=lambda group: -_time(group[1])):
        time = _time(members)
        said.append(f"{100 * time / total:3.0f} % {_shown(time)}: {_described(kind, members)}")
    slowest = sorted(profile, key=lambda row: -float(row["microseconds"]))[:SLOWEST]
    said.append("slowest: " + "; ".join(_node(row, rows) for row in slowest))
    small = [row for row in profile if float(row["microseconds"]) < SMALL]
    if _time(small) > 0.1 * total:
        said.append(
            f"{len(small)} of {len(profile)} nodes take less than {SMALL:g} µs each, {_shown(_time(small))} together: "
            "a call costs some microseconds however little it computes"
        )
    return said + _advice(found, rows)


def _unpacked(found: Manifest | None) -> list[str]:
    """That a file of an engine without packed bits has no 1-bit products."""
    binarized = [row for row in found.audit.get("rows", ()) if row["weight_bits"] == 1] if found else []
    if found is None or not binarized or ENGINES[found.engine].packed:
        return []
    return [
        f"engine {found.engine!r} computes the {len(binarized)} 1-bit layers as ±1 in float: bibench export "
        "--engine bibench writes a file that computes with bits"
    ]


def _kind(row: Mapping[str, Any], rows: Mapping[str, str]) -> str:
    """Kind of a slow layer, "1 bit" of another 1-bit one, "float" of any other node."""
    layer = _layer(row)
    if layer not in rows:
        return FLOAT
    return rows[layer].partition(":")[0] or ONE_BIT


FLOAT, ONE_BIT = "float", "1 bit"
REASONS = {
    "depthwise": "too few products per output to fill words of bits, so that 1 bit costs more than it saves",
    "one position": "so few products, as in squeeze-excite, that a call takes as long in float",
}


def _described(kind: str, members: Profile) -> str:
    if kind == FLOAT:
        by: dict[str, float] = {}
        for row in members:
            by[str(row["op"])] = by.get(str(row["op"]), 0.0) + float(row["microseconds"])
        most = ", ".join(f"{op} {_shown(time)}" for op, time in sorted(by.items(), key=lambda of: -of[1])[:4])
        return f"{len(members)} nodes in float ({most}{', ...' if len(by) > 4 else ''})"
    if kind == ONE_BIT:
        return f"{len(members)} other layers at 1 bit"
    return f"{len(members)} 1-bit layers, {kind}: {REASONS.get(kind, REASONS['depthwise'])}"


def _node(row: Mapping[str, Any], rows: Mapping[str, str]) -> str:
    layer = _layer(row)
    reason = rows[layer] or "1 bit" if layer in rows else f"{row['op']} in float"
    return f"{row['node']} {_shown(float(row['microseconds']))} ({reason})"


def _advice(found: Manifest | None, rows: Mapping[str, str]) -> list[str]:
    slow = [name for name, reason in rows.items() if reason]
    if found is None or not slow:
        return []
    kept = [
        str(row["name"])
        for row in found.audit["rows"]
        if row["name"] in slow or (row["weight_bits"] == 32 and str(row.get("kind", "")).lower() in gains.BINARIZABLE)
    ]
    return [
        "of the layers that 1 bit makes no faster: "
        + gains.fix(gains.keep_patterns(kept, [name for name in rows if name not in slow]))
    ]


def _layer(row: Mapping[str, Any]) -> str:
    """The layer of a node, one called again (``layer#2``) included."""
    return str(row["node"]).partition("#")[0]


def _time(rows: Profile) -> float:
    return sum(float(row["microseconds"]) for row in rows)


def _shown(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f} ms" if microseconds >= 100 else f"{microseconds:.0f} µs"
