"""The compact letter display: known displays, and that letters say exactly who is apart."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from bibench.statistics.letters import letters


def display(names: str, apart: str) -> list[str]:
    """Letters in the order of names, for pairs such as ``ac bd``."""
    return list(letters(names, [(pair[0], pair[1]) for pair in apart.split()]).values())


def test_known_displays() -> None:
    assert display("", "") == []
    assert display("x", "") == ["a"]
    assert display("xyz", "") == ["a", "a", "a"]
    assert display("xyz", "xy xz yz") == ["a", "b", "c"]
    assert display("xyz", "xz") == ["a", "ab", "b"]
    assert display("xyz", "yz") == ["ab", "a", "b"]
    assert display("wxyz", "wy wz xz") == ["a", "ab", "bc", "c"]


def test_the_worked_example_of_chick_weights_by_feed() -> None:
    """Pairwise Wilcoxon tests of R's `chickwts`, as its package cld prints them."""
    feeds = ["casein", "horsebean", "linseed", "meatmeal", "soybean", "sunflower"]
    shown = dict(zip(feeds, ("a", "b", "bc", "ac", "c", "a"), strict=True))
    apart = [(f, g) for f, g in combinations(feeds, 2) if not set(shown[f]) & set(shown[g])]
    found = letters(feeds, apart)
    assert {f: {g for g in feeds if set(found[f]) & set(found[g])} for f in feeds} == {
        f: {g for g in feeds if set(shown[f]) & set(shown[g])} for f in feeds
    }
    assert len(set("".join(found.values()))) == 3
    assert [len(found[feed]) for feed in feeds] == [1, 1, 2, 2, 1, 1]


def test_letters_go_on_after_z() -> None:
    names = list(range(60))
    found = letters(names, combinations(names, 2))
    assert (found[0], found[25], found[26], found[51], found[52]) == ("a", "z", "A", "Z", "(53)")


@given(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.sampled_from([*combinations(range(9), 2)]))))
)
def test_letters_are_shared_if_and_only_if_not_apart(drawn: tuple[int, set[tuple[int, int]]]) -> None:
    count, pairs = drawn
    apart = {(a, b) for a, b in pairs if b < count}
    found = letters(range(count), apart)
    for a, b in combinations(range(count), 2):
        assert bool(set(found[a]) & set(found[b])) == ((a, b) not in apart)
    members = {x: {m for m in range(count) if x in found[m]} for x in set("".join(found.values()))}
    for letter, own in members.items():  # as few as there are largest sets
        assert not any(own <= other for name, other in members.items() if name != letter)
    assert "a" in found[0] and all(found.values())
