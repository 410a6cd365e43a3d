"""Entailment between quantified sentences (RTE and MNLI form), decided by checking every possible world.

A sentence says that every, some, no or not every NOUN VERB. Kinds of things and of actions form chains
(every poodle is a dog; whoever strolls walks). A premise entails a hypothesis if that is true in every
world in which the premise is, contradicts it if it is true in none of them, and else is neutral. In all
worlds there is at least one thing of each kind, as everyday language takes for granted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random

from bibench.data.grammar import frequent, pick
from bibench.data.text import Example

ENTAILMENT, NEUTRAL, CONTRADICTION = 0.0, 1.0, 2.0

KINDS = (
    ("dog", "poodle"),
    ("cat", "siamese"),
    ("bird", "sparrow"),
    ("fish", "trout"),
    ("horse", "pony"),
    ("artist", "painter"),
    ("musician", "pianist"),
    ("athlete", "runner"),
    ("doctor", "surgeon"),
    ("worker", "miner"),
    ("child", "toddler"),
    ("soldier", "sniper"),
)
"""(kind, a kind of it)"""
ACTIONS = (
    ("walks", "strolls"),
    ("eats", "nibbles"),
    ("speaks", "whispers"),
    ("sleeps", "naps"),
    ("works", "toils"),
    ("cries", "sobs"),
    ("laughs", "giggles"),
    ("jumps", "hops"),
)
QUANTIFIERS = ("every", "some", "no", "not every")
PLACES = ("in the park", "at home", "by the lake", "on the hill", "in the yard", "near the road")

Pair = tuple[int, int]
"""Row of a table, and 0 for the wider or 1 for the narrower term."""


def _relation(first: Pair, second: Pair) -> str:
    """How the extension of `first` lies to that of `second`."""
    if first[0] != second[0]:
        return "unrelated"
    return {0: "equal", -1: "wider", 1: "narrower"}[first[1] - second[1]]


def _allowed(relation: str) -> Sequence[tuple[bool, bool]]:
    """Which combinations of (in the first, in the second) one thing can have."""
    both = [(a, b) for a in (False, True) for b in (False, True)]
    return {
        "equal": [c for c in both if c[0] == c[1]],
        "wider": [c for c in both if c[0] or not c[1]],
        "narrower": [c for c in both if c[1] or not c[0]],
        "unrelated": both,
    }[relation]


def _holds(quantifier: str, nouns: int, verbs: int, world: int) -> bool:
    """Whether "`quantifier` NOUN VERB" is true; all three are sets of sorts, as bits."""
    counterexamples, examples = world & nouns & ~verbs, world & nouns & verbs
    return {
        "every": not counterexamples,
        "some": bool(examples),
        "no": not examples,
        "not every": bool(counterexamples),
    }[quantifier]


@cache
def judge(premise: str, hypothesis: str, nouns: str, verbs: str) -> float:
    """The label of two quantifiers whose nouns and verbs lie to each other as said, over all worlds."""
    # A sort of thing is (first noun, second noun, first verb, second verb); a world is a set of sorts.
    sorts = [(*n, *v) for n in _allowed(nouns) for v in _allowed(verbs)]
    noun1, noun2, verb1, verb2 = (sum(1 << i for i, sort in enumerate(sorts) if sort[axis]) for axis in range(4))
    verdicts = {
        _holds(hypothesis, noun2, verb2, world)
        for world in range(1 << len(sorts))
        if world & noun1 and world & noun2 and _holds(premise, noun1, verb1, world)
    }
    if verdicts == {True}:
        return ENTAILMENT
    return CONTRADICTION if verdicts == {False} else NEUTRAL


def _related(first: Pair, table: Sequence[tuple[str, str]], random: Random) -> Pair:
    kind = random.random()
    if kind < 0.4:
        return first
    if kind < 0.9:
        return first[0], 1 - first[1]
    return pick(range(len(table)), random), pick((0, 1), random)


def _pair(random: Random) -> Example:
    noun: Pair = (frequent(range(len(KINDS)), random), pick((0, 1), random))
    verb: Pair = (frequent(range(len(ACTIONS)), random), pick((0, 1), random))
    noun2, verb2 = _related(noun, KINDS, random), _related(verb, ACTIONS, random)
    premise, hypothesis = pick(QUANTIFIERS, random), pick(QUANTIFIERS, random)
    label = judge(premise, hypothesis, _relation(noun, noun2), _relation(verb, verb2))
    # One place for both sentences: it narrows the nouns of both alike and leaves the label as it is.
    place = pick(PLACES, random)
    return Example(
        f"{premise} {KINDS[noun[0]][noun[1]]} {place} {ACTIONS[verb[0]][verb[1]]}",
        f"{hypothesis} {KINDS[noun2[0]][noun2[1]]} {place} {ACTIONS[verb2[0]][verb2[1]]}",
        label,
    )


def entailment(random: Random) -> Example:
    """A pair: 0 entailment, 1 neutral, 2 contradiction, equally often."""
    wanted = pick((ENTAILMENT, NEUTRAL, CONTRADICTION), random)
    while (example := _pair(random)).label != wanted:
        pass
    return example
