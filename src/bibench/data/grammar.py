"""Sentences from template grammars, with labels that are true by construction: five forms of GLUE's tasks.

Each form is a function of a random source to one `Example`. Bags of words say little about the label:
what decides is negation, order, agreement over a distance, or the comparison of two sentences. Words
have unequal frequencies, so test sentences also hold words that training showed a few times only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar

from bibench.data.text import Example

T = TypeVar("T")
Form = Callable[[Random], Example]


def draw(form: Form, sizes: Sequence[int], seed: int) -> list[list[Example]]:
    """Disjoint parts of `sizes` distinct examples; a pair counts as seen whatever its order."""
    random = Random(seed)
    seen: set[frozenset[str]] = set()
    parts: list[list[Example]] = []
    for size in sizes:
        part: list[Example] = []
        while len(part) < size:
            example = form(random)
            key = frozenset(text for text in (example.first, example.second) if text is not None)
            if key not in seen:
                seen.add(key)
                part.append(example)
        parts.append(part)
    return parts


# `Random.random` alone is promised to give the same numbers in every version of Python.


def pick(items: Sequence[T], random: Random) -> T:
    """One of `items`, all equally likely."""
    return items[int(random.random() * len(items))]


def frequent(items: Sequence[T], random: Random) -> T:
    """One of `items`, the earlier the likelier: the first tenth of them makes up a third."""
    return items[int(random.random() ** 2 * len(items))]


def chance(share: float, random: Random) -> bool:
    """True in `share` of the cases."""
    return random.random() < share


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


# -- sentiment (SST-2 form) ------------------------------------------------------------------------

GOOD = words(
    "good great funny clever moving fresh brilliant charming lovely warm sharp gripping witty honest elegant vivid "
    "superb touching inspired graceful tender rich bold dazzling delightful engaging thoughtful polished subtle "
    "memorable stirring playful sincere lively radiant inventive assured sublime nimble soulful"
)
BAD = words(
    "bad dull boring weak silly flat stale clumsy tired empty awful bland lazy messy shallow tedious crude hollow "
    "forced dreary muddled lifeless grating sloppy trite pointless feeble stilted murky vapid plodding sour wooden "
    "inept turgid listless garish leaden insipid glib"
)
ASPECTS = words(
    "film plot acting script music ending story cast dialogue direction editing humour pace camera score opening "
    "romance design sound drama"
)
DEGREES = words("very really quite rather truly so")
DENIALS = ("not", "never", "hardly", "anything but", "far from")


def _judgement(positive: bool, random: Random) -> str:
    """A clause that judges an aspect, by an adjective or by the denial of the opposite one."""
    denied = chance(0.4, random)
    word = frequent(GOOD if positive != denied else BAD, random)
    degree = f"{pick(DEGREES, random)} " if chance(0.3, random) else ""
    middle = f"{pick(DENIALS, random)} " if denied else ""
    return f"the {pick(ASPECTS, random)} is {middle}{degree}{word}"


def sentiment(random: Random) -> Example:
    """One sentence: 1 where its verdict is positive, else 0. Of two opposed clauses the main one decides."""
    positive = chance(0.5, random)
    verdict = _judgement(positive, random)
    kind = random.random()
    if kind < 0.3:
        text = verdict
    elif kind < 0.5:
        text = f"{_judgement(positive, random)} and {verdict}"
    elif kind < 0.7:
        text = f"{_judgement(not positive, random)} , but {verdict}"
    elif kind < 0.85:
        text = f"although {_judgement(not positive, random)} , {verdict}"
    else:
        text = f"{verdict} , even if {_judgement(not positive, random)}"
    return Example(text, None, float(positive))


# -- acceptability (CoLA form) ---------------------------------------------------------------------

REGULAR = words(
    "girl boy doctor artist singer farmer lawyer driver teacher pilot baker nurse author dancer sailor hunter guard "
    "clerk player writer judge priest tailor soldier painter poet actor miner butcher barber broker banker king "
    "queen prince duke knight monk chef cook guest owner neighbour cousin uncle nephew tenant tourist scholar smith"
)
IRREGULAR = {"man": "men", "woman": "women", "child": "children", "mouse": "mice", "goose": "geese", "ox": "oxen"}
NOUNS = [n for pair in zip(REGULAR, IRREGULAR, strict=False) for n in pair] + REGULAR[len(IRREGULAR) :]
PLACES = words("garden house car river tower market bridge station village office school theatre hotel forest harbour")
MANNERS = words("old young tall happy quiet famous clever tired rich kind angry polite")
VERBS = words(
    "sleep work wait stay sing laugh look talk travel read wave jump climb shout walk rest wander play paint fight"
)
AUXILIARIES = (("is", "are"), ("was", "were"), ("has been", "have been"))
SINGLE, MANY = ("this", "that", "every"), ("these", "those", "many")
TRANSITIVE = words("see like help know meet hear trust follow admire praise")


def _plural(noun: str, many: bool) -> str:
    return IRREGULAR.get(noun, f"{noun}s") if many else noun


def _verb(verb: str, many: bool) -> str:
    return verb if many else f"{verb}s"


def _phrase(many: bool, random: Random, *, wrong: bool = False) -> str:
    """A noun phrase; `wrong` gives it a determiner of the other number."""
    plural = many != wrong
    determiner = "the" if not wrong and chance(0.4, random) else pick((SINGLE, MANY)[plural], random)
    manner = f"{pick(MANNERS, random)} " if chance(0.4, random) else ""
    return f"{determiner} {manner}{_plural(frequent(NOUNS, random), many)}"


def acceptability(random: Random) -> Example:
    """One sentence: 1 where it is grammatical. Wrong ones break one agreement: of the determiner with its
    noun, or of the verb with its subject, across a phrase or clause of either number."""
    acceptable = chance(0.5, random)
    many, other = chance(0.5, random), chance(0.5, random)
    wrong_determiner = not acceptable and chance(0.4, random)
    wrong_verb = not acceptable and not wrong_determiner
    subject = _phrase(many, random, wrong=wrong_determiner)
    kind = random.random()
    if kind < 0.3:
        between = ""
    elif kind < 0.65:
        between = f" near the {_plural(frequent(PLACES, random), other)}"
    else:
        between = f" who {_verb(pick(TRANSITIVE, random), many)} the {_plural(frequent(NOUNS, random), other)}"
    many = many != wrong_verb
    verb = pick(VERBS, random)
    predicate = f"{pick(AUXILIARIES, random)[many]} {verb}ing" if chance(0.5, random) else _verb(verb, many)
    tail = f" in the {_plural(pick(PLACES, random), chance(0.5, random))}" if chance(0.5, random) else ""
    return Example(f"{subject}{between} {predicate}{tail}", None, float(acceptable))


# -- descriptions of a place (MRPC, QQP and STS-B forms) ---------------------------------------------

TOPICS = {
    "room": ("clean tidy spotless neat fresh pristine", "dirty filthy grimy dusty stained squalid"),
    "staff": ("friendly polite kind helpful courteous cordial", "rude impolite hostile surly curt brusque"),
    "food": ("tasty delicious excellent savoury appetizing exquisite", "awful disgusting bland inedible foul nasty"),
    "price": ("low cheap modest fair affordable moderate", "high steep excessive inflated exorbitant hefty"),
    "street": ("quiet calm peaceful silent tranquil serene", "noisy loud busy crowded hectic rowdy"),
}
"""What is described, with words for either of two opposite properties, the commoner first."""
WEIGHTS = {"room": 1.5, "staff": 1.0, "food": 1.5, "price": 0.75, "street": 0.75}
"""What each topic counts in the similarity."""
GOOD_SHARE = 0.75
"""Of the properties: most of what is described is praised, as in reviews."""

Description = dict[str, bool]
"""The property of each topic: the first of its two or not."""


def _description(random: Random) -> Description:
    mentioned = pick((1, 2, 2, 2, 3), random)
    topics = sorted(TOPICS, key=lambda _: random.random())[:mentioned]
    return {topic: chance(GOOD_SHARE, random) for topic in topics}


def _other(first: Description, random: Random) -> Description:
    """Another description of the same topics: each property may have changed."""
    return {topic: chance(GOOD_SHARE, random) if chance(0.7, random) else value for topic, value in first.items()}


def _told(description: Description, random: Random) -> str:
    """The topics in any order, with any of the words for each property."""
    parts = []
    for topic in sorted(description, key=lambda _: random.random()):
        words = TOPICS[topic][0 if description[topic] else 1].split()
        parts.append(f"{frequent(words, random)} {topic}")
    return " , ".join(parts)


def paraphrase(random: Random) -> Example:
    """A pair: 1 where both describe the same, 0 where they differ in one or more properties. Words and order differ."""
    same = chance(0.5, random)
    first = _description(random)
    second = dict(first)
    while not same and second == first:
        second = _other(first, random)
    return Example(_told(first, random), _told(second, random), float(same))


def similarity(random: Random) -> Example:
    """A pair and how far it agrees, from 0 to 5: the weights of the properties that are the same, as a share."""
    first = _description(random)
    second = first if chance(0.2, random) else _other(first, random)
    agreed = sum(WEIGHTS[topic] for topic in first if first[topic] == second[topic])
    return Example(_told(first, random), _told(second, random), 5 * agreed / sum(WEIGHTS[topic] for topic in first))
