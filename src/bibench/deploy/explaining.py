"""Which binarized models are slower than they could be, and the explanation of each: a headline, then its reasons.

Pure: samples, profiles and manifests in, sentences out. `bibench.deploy.reasons` has the sentences of one model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from bibench.deploy import manifest
from bibench.deploy.contenders import Contender
from bibench.deploy.reasons import Profile, by_layers, by_profile
from bibench.deploy.theory import theoretical_speedup
from bibench.operators import FULL_PRECISION

FAR = 2
"""A speed-up below theory divided by this is explained."""

Place = tuple[str, int, int]
"""Key of a contender, threads, batch size."""
Samples = Mapping[Place, Sequence[float]]


def least(theory: float | None) -> float:
    """The speed-up below which a model is explained: as fast as float, or a part of theory."""
    return max(1.0, (theory or 0.0) / FAR)


def verdict(speedup: float, theory: float | None) -> str:
    """What is odd about a binarized model's speed-up, for a note; "" if nothing."""
    if speedup < 1:
        return "slower than float"
    return "far from theory" if speedup < least(theory) else ""


def is_binarized(operator: str) -> bool:
    """Whether the operator of a record says that 1-bit layers are in its model; unknown ones ("") do not."""
    return operator not in ("", FULL_PRECISION)


def peer_of(one: Contender, contenders: Sequence[Contender]) -> str:
    """Key of the baseline that a binarized contender is compared with, of its engine if there is one; "" for none."""
    if one.baseline or not is_binarized(one.facts["operator"]):
        return ""
    peers = {other.engine: other.key for other in reversed(contenders) if other.baseline}
    return peers.get(one.engine, next(reversed(peers.values()), ""))


def explanations(
    contenders: Sequence[Contender], samples: Samples, profiles: Mapping[Place, Profile]
) -> dict[Place, list[str]]:
    """Of each binarized contender beside its baseline a headline and reasons, wherever it was profiled.

    One that is odd (`verdict`) and was profiled nowhere, as its engine tells no times of nodes, is explained by its
    layers, once.
    """
    found: dict[Place, list[str]] = {}
    for one in contenders:
        if not (peer := peer_of(one, contenders)):
            continue
        places = [place for place in samples if place[0] == one.key]
        profiled = [place for place in places if profiles.get(place)]
        theory = theoretical_speedup(one.file, one.engine)
        for place in profiled or places:
            speedup = _speedup(place, peer, samples)
            if speedup is None or not (profiled or verdict(speedup, theory)):
                continue
            found[place] = [_headline(one, place, speedup, theory), *_reasons(one, profiles.get(place))]
            if not profiled:
                break
    return found


def _speedup(place: Place, peer: str, samples: Samples) -> float | None:
    """The median of the rounds' ratios; None without a baseline in the same turns."""
    _, threads, batch = place
    ratios = [a / b for a, b in zip(samples.get((peer, threads, batch), ()), samples[place], strict=False)]
    return median(ratios) if ratios else None


def _headline(one: Contender, place: Place, speedup: float, theory: float | None) -> str:
    _, threads, batch = place
    bound = "" if theory is None else f", {theory:.2f} in theory"
    where = f"{threads} thread{'s' if threads > 1 else ''}, batch {batch}"
    return f"{one.title}, {where}: {speedup:.2f} times as fast as full precision{bound}"


def _reasons(one: Contender, profile: Profile | None) -> list[str]:
    described = manifest.read(one.file)
    return by_profile(profile, described, one.engine) if profile else by_layers(described, one.engine)
