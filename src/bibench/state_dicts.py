"""State dicts as others save them: inside a checkpoint of more things, and with the prefixes of wrappers before names.

`fit` finds, in what a file holds, the weights whose names are those of a model, and takes nothing else for them.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bibench.errors import CheckpointError

State = dict[str, Any]

AVERAGED = re.compile(r"(^|[._])(ema|swa|averaged?|shadow)($|[._])")
"""In the key of a checkpoint, or in a prefix: weights averaged over the training, as ``state_dict_ema``."""
WRAPPERS = frozenset({"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Under which DDP, `torch.compile`, Fabric, FSDP and activation checkpointing hold what they wrap, at any depth."""
COUNTERS = frozenset({"n_averaged"})
"""What `torch.optim.swa_utils.AveragedModel` keeps beside the model's tensors."""
DEPTH = 3
"""Of nested dictionaries: ``{"model": {"state_dict": ...}}`` has two."""


@dataclass(frozen=True)
class Fitted:
    """The weights that were found.

    Attributes:
        state: under the model's names if `exact`; else those that have most names in common with the model.
        raw: the same before `fit`'s `translate`.
        where: keys of the checkpoint that led there, as ``model.state_dict``; "" for the checkpoint itself.
        prefix: what was taken off before all names.
        exact: whether the names are the model's, no more and no fewer.
        others: where else weights with the model's names are: averaged ones beside plain ones, and the reverse.
    """

    state: State
    raw: State
    where: str = ""
    prefix: str = ""
    exact: bool = False
    others: tuple[str, ...] = ()

    @property
    def averaged(self) -> bool:
        """Whether these are averaged weights, as far as the file's keys and prefixes tell."""
        return AVERAGED.search(f"{self.where}.{self.prefix}") is not None


def fit(
    checkpoint: Mapping[str, Any],
    own: Collection[str],
    *,
    averaged: bool = False,
    translate: Callable[[State], State] = lambda state: state,
) -> Fitted:
    """The weights in a `checkpoint` whose names are `own`, after what wraps them is taken off.

    A checkpoint may be a state dict, or hold some under any keys (``state_dict``, ``model``, ``net``,
    ``state_dict_ema``, ...). Prefixes that all names share (``module.``, ``model.``, ``backbone.``, ...) are taken off
    one after the other, and the names of `WRAPPERS` wherever they are, until the names are exactly the model's.

    Args:
        averaged: whether averaged weights (EMA, SWA) are wanted where there are plain ones, too.
        translate: renames or leaves out tensors of a candidate before its names are compared.
    """
    wanted = frozenset(own)
    found = [_fitted(where, state, wanted, translate) for where, state in _candidates(checkpoint, wanted)]
    if not found:
        return Fitted({}, {})
    exact = sorted((one for one in found if one.exact), key=lambda one: one.averaged != averaged)
    if exact:
        chosen, *rest = exact
        others = tuple(one.where or one.prefix for one in rest if one.averaged != chosen.averaged)
        return Fitted(chosen.state, chosen.raw, chosen.where, chosen.prefix, True, others)
    return max(found, key=lambda one: (len(wanted & one.state.keys()), one.averaged == averaged))


def tell_choice(fitted: Fitted, source: str, *, averaged: bool = False, ask: str = "") -> None:
    """Warn where plain and averaged weights were a choice, or where only averaged ones fit and nobody asked for them.

    Args:
        ask: how the user asks for the averaged ones; "" if there is no way.

    Raises:
        CheckpointError: averaged weights are wanted, and there are none.
    """
    if averaged and fitted.exact and not fitted.averaged:
        raise CheckpointError(f"{source} holds no averaged weights (EMA, SWA) of this model; do not ask for them")
    if averaged or not (fitted.others or fitted.averaged):
        return
    if fitted.averaged:
        told = f"the weights of {fitted.where or fitted.prefix!r} were loaded, which are averaged: no plain ones fit"
    else:
        hint = f"; {ask} takes those" if ask else ""
        told = f"the plain weights were loaded, not the averaged ones of {fitted.others[0]!r}{hint}"
    warnings.warn(f"{source}: {told}", stacklevel=3)


def misfits(own: Mapping[str, Any], fitted: Fitted) -> str:
    """What of the found weights does not fit the model's state dict `own`, names and shapes; "" if all does."""
    state = fitted.state
    missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & state.keys())
        if isinstance(own[name], Tensor) and isinstance(state[name], Tensor) and own[name].shape != state[name].shape
    ]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
        if names
    ]
    if not problems:
        return ""
    told = f"{len(own) - len(missing) - len(shapes)} of {len(own)} tensors fit; {'; '.join(problems)}"
    return told + _common(state, own)


def _common(state: State, own: Mapping[str, Any]) -> str:
    """The prefix that most names share and no name of the model has, in words."""
    heads = Counter(name.partition(".")[0] for name in state if "." in name)
    (head, count), *_ = heads.most_common(1) or [("", 0)]
    if 2 * count <= len(state) or any(name.startswith(head + ".") for name in own):
        return ""
    return f"; {count} of {len(state)} names in the file begin with {head + '.'!r}"


def _candidates(checkpoint: Mapping[str, Any], wanted: Collection[str], depth: int = 0) -> Iterator[tuple[str, State]]:
    """State dicts in a checkpoint, with the keys that lead to them."""
    named = {key: value for key, value in checkpoint.items() if isinstance(key, str)}
    state = {
        key: value
        for key, value in named.items()
        if (isinstance(value, Tensor) or key.endswith("_extra_state")) and not (key in COUNTERS and key not in wanted)
    }
    if state:
        yield "", state
    if depth == DEPTH:
        return
    for key, value in named.items():
        if isinstance(value, Mapping):
            for where, found in _candidates(value, wanted, depth + 1):
                yield f"{key}.{where}".rstrip("."), found


def _fitted(where: str, state: State, wanted: frozenset[str], translate: Callable[[State], State]) -> Fitted:
    """The variant of a state dict whose names are those `wanted`, or that which has most of them."""
    best = None
    for prefix, raw in _variants(state):
        translated = translate(raw)
        one = Fitted(translated, raw, where, prefix, translated.keys() == wanted)
        if one.exact:
            return one
        if best is None or len(wanted & one.state.keys()) > len(wanted & best.state.keys()):
            best = one
    assert best is not None
    return best


def _variants(state: State) -> Iterator[tuple[str, State]]:
    """`state` as it is, and with prefixes and the names of wrappers taken off."""
    yield from _without_prefixes(state)
    bare = {".".join(part for part in name.split(".") if part not in WRAPPERS): v for name, v in state.items()}
    if bare.keys() != state.keys() and len(bare) == len(state):
        yield from _without_prefixes(bare)


def _without_prefixes(state: State) -> Iterator[tuple[str, State]]:
    prefix = ""
    yield prefix, state
    while len(heads := {name.partition(".")[0] for name in state}) == 1 and all("." in name for name in state):
        head = heads.pop() + "."
        prefix, state = prefix + head, {name.removeprefix(head): value for name, value in state.items()}
        yield prefix, state
