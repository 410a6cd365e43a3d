"""Where the time of a binarized model goes, in sentences: by the profile of its nodes, else by its layers alone.

Pure: rows of a profile and a manifest in, sentences out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bibench.deploy.manifest import Manifest
from bibench.deploy.theory import at_one_bit, float_share, name, one_bit, packs, rows_of
from bibench.nn import gains

SMALL = 10.0
"""Microseconds: what a call takes however little it computes (docs/latency.md), with a margin."""
SLOWEST = 5
PATTERNS = 8
"""Longer lists of layers to keep are not printed whole."""
FLOAT, ONE_BIT, UNPACKED = "float", "1 bit", "±1"
KINDS = {
    ONE_BIT: "{1} at 1 bit ({0})",
    UNPACKED: "products of 1-bit layers ({}), as ±1 in float",
    "depthwise": "depthwise layers at 1 bit ({}): too few products per output to fill words of bits",
    "one position": "squeeze-excite and alike at 1 bit ({}): so few products that a call takes as long in float",
}
GROUPED = "layers of {1} at 1 bit ({0}): too few products per output to fill words of bits"

Profile = Sequence[Mapping[str, Any]]
"""Rows of `bibench.deploy.bundle.profiling.per_node`."""


def by_profile(profile: Profile, found: Manifest | None, engine: str) -> list[str]:
    """Shares of time by what runs, the slowest nodes with their reasons, and what to do."""
    total = _time(profile)
    if not total:
        return []
    kinds = _kinds(found, engine)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in profile:
        groups.setdefault(kinds.get(_layer(row, kinds), FLOAT).partition(":")[0], []).append(row)
    said = [*_unpacked(found, engine), "where its time goes:"]
    for kind, members in sorted(groups.items(), key=lambda group: -_time(group[1])):
        share = f"{100 * _time(members) / total:.0f} %, {_shown(_time(members))}"
        said.append(f"  {share}: {_described(kind, members, groups)}")
    said.append(f"the slowest of {len(profile)} nodes:")
    slowest = sorted(profile, key=lambda row: -float(row["microseconds"]))[:SLOWEST]
    said += [f"  {_node(row, kinds.get(_layer(row, kinds), ''))}" for row in slowest]
    small = [row for row in profile if float(row["microseconds"]) < SMALL]
    if _time(small) > 0.1 * total:
        said.append(
            f"{len(small)} of {len(profile)} nodes take less than {SMALL:g} µs each, {_shown(_time(small))} together: "
            "a call costs some microseconds however little it computes"
        )
    return said + _advice(found, engine)


def by_layers(found: Manifest | None, engine: str) -> list[str]:
    """What the layers alone explain, where the engine tells no times of nodes."""
    said = [f"engine {engine!r} tells no times of nodes, so that only the layers can be looked at"]
    if found is None:
        return [*said, "the file has no manifest, which would tell its layers"]
    said += _unpacked(found, engine)
    share = float_share(found, engine)
    if share is not None:
        said.append(f"{100 * share:.0f} % of its multiply-accumulates are computed in float")
    slow = {name(row): str(row["slow"]) for row in at_one_bit(found, engine) if row.get("slow")}
    return said + ([gains.told(slow, len(one_bit(found)))] if slow else []) + _advice(found, engine)


def _kinds(found: Manifest | None, engine: str) -> dict[str, str]:
    """By the name of a 1-bit layer its kind: why it is slow, ``1 bit``, or ``±1`` where it is computed in float."""
    if found is None:
        return {}
    packed = {name(row): str(row.get("slow") or ONE_BIT) for row in at_one_bit(found, engine)}
    return {name(row): packed.get(name(row), UNPACKED) for row in one_bit(found)}


def _unpacked(found: Manifest | None, engine: str) -> list[str]:
    """That an engine without packed bits has no 1-bit products, however few bits the model's weights have."""
    if found is None or not one_bit(found) or packs(found, engine):
        return []
    return [
        f"engine {engine!r} computes the {len(one_bit(found))} 1-bit layers of this file as ±1 in float: "
        "bibench export --engine bibench writes a file that computes with bits"
    ]


def _described(kind: str, members: Profile, kinds: Collection[str]) -> str:
    if kind == FLOAT:
        by: dict[str, float] = {}
        for row in members:
            by[str(row["op"])] = by.get(str(row["op"]), 0.0) + float(row["microseconds"])
        most = ", ".join(f"{op} {_shown(time)}" for op, time in sorted(by.items(), key=lambda of: -of[1])[:4])
        return f"nodes in float ({len(members)}): {most}{', ...' if len(by) > 4 else ''}"
    called = kind
    if kind == ONE_BIT:
        called = "other layers" if set(kinds) - {FLOAT, ONE_BIT} else "layers"
    return KINDS.get(kind, GROUPED).format(len(members), called)


def _node(row: Mapping[str, Any], kind: str) -> str:
    what = {"": f"{row['op']} in float", UNPACKED: f"{row['op']}, as ±1 in float"}.get(kind, kind)
    return f"{_shown(float(row['microseconds']))} {row['node']} ({what})"


def _advice(found: Manifest | None, engine: str) -> list[str]:
    """Which layers to keep in float, by patterns that can be pasted if they are few."""
    rows = at_one_bit(found, engine) if found else []
    slow = [name(row) for row in rows if row.get("slow")]
    if found is None or not slow:
        return []
    kept = [name(row) for row in rows_of(found) if name(row) in slow or gains.is_float(row)]
    patterns = gains.keep_patterns(kept, [name(row) for row in rows if name(row) not in slow])
    shown = str(list(patterns))
    if len(patterns) > PATTERNS:
        shown = "bibench.audit(binarized, example_inputs).keep"
    return [f"to keep in float what 1 bit makes no faster, give bibench.binarize of the float model keep={shown}"]


def _layer(row: Mapping[str, Any], layers: Collection[str]) -> str:
    """The layer of a node: of one that is called again (``layer#2``), and of several of one (``layer/Conv``), too."""
    node = str(row["node"])
    return next((part for part in (node, node.partition("#")[0], node.partition("/")[0]) if part in layers), node)


def _time(rows: Profile) -> float:
    return sum(float(row["microseconds"]) for row in rows)


def _shown(microseconds: float) -> str:
    return f"{microseconds / 1000:.2f} ms" if microseconds >= 100 else f"{microseconds:.0f} µs"
